"""Scenes that nobody has heard before: made in batches, on the device that learns from them."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedkit.errors import UsageError
from embedkit.recipe import DistilSpec
from embedkit.training import effects
from embedkit.training.pool import FULL_SCALE, Pool

OCTAVES = 1.0  # of speed, down or up
EVENT_START_S, EVENT_LENGTH_S = (0.0, 0.7), (0.05, 0.65)  # of a cut sound
BESIDE_DB = (-18.0, 0.0)  # of another sound beside the first
EQUALISER_KNOTS, EQUALISER_DB = 8, 10.0
DECAY_S, DIRECT, RINGING_S = (0.02, 0.15), (3.0, 20.0), 0.5  # of rooms
NOISE_KNOTS, NOISE_DB = 4, 15.0
SNR_DB = (0.0, 50.0)
LEVEL_DB = (-45.0, -8.0)  # RMS below full scale

Chances = NDArray[np.float64]


class FreshScenes:
    """Draws scenes: one to three sounds at other speeds, cut, filtered, in rooms and noise.

    A scene is a segment and what surrounds it. The segment is what counts for the place of its
    sounds, for their levels beside each other, and for its own level.
    """

    def __init__(
        self,
        pool: Pool,
        chances: Chances,
        spec: DistilSpec,
        *,
        sample_rate: int,
        segment: int,
        around: int = 0,
        device: str = "cpu",
    ) -> None:
        """Prepare to draw.

        Args:
            pool: the sounds.
            chances: how likely each clip is drawn [clips].
            spec: how likely everything else is.
            sample_rate: sample rate of the sounds in Hz.
            segment: samples of a segment.
            around: samples before it, and samples after it.
            device: where scenes are made.
        """
        self.spec, self.sample_rate = spec, sample_rate
        self.length = segment + 2 * around
        self.heard = slice(around, around + segment)
        self.device = torch.device(device)
        samples = torch.from_numpy(pool.open())
        self.samples = samples.to(self.device) if _fits(samples, self.device) else samples
        self.starts = torch.from_numpy(pool.starts[:-1]).to(self.device)
        self.lengths = torch.from_numpy(pool.lengths).to(self.device)
        self.chances = self._up_to(chances)

    def of(self, chances: Chances) -> "FreshScenes":
        """Scenes with other chances of clips [clips]; the sounds are held in memory once."""
        other = copy(self)
        other.chances = self._up_to(chances)
        return other

    def _up_to(self, chances: Chances) -> Tensor:
        return torch.from_numpy(np.cumsum(chances / chances.sum())).to(self.device).float()

    def draw(self, seed: int, count: int) -> Tensor:
        """Draw scenes; the same seed gives the same scenes.

        Args:
            seed: seed of all draws.
            count: number of scenes.

        Returns:
            float32 [count, around + segment + around].
        """
        draw, spec = Draw(seed, self.device), self.spec
        scenes = self._mixed(count, draw)
        for share, effect in (
            (spec.equaliser, self._equalised),
            (spec.reverberation, self._in_a_room),
            (spec.noise, self._in_noise),
        ):
            _change_some(scenes, share, effect, draw)
        level = draw.between(*LEVEL_DB, count)
        return effects.at_level(scenes, level, self.heard).clamp(-1, 1)

    def _mixed(self, count: int, draw: "Draw") -> Tensor:
        """One to three sounds in each scene, the first at a level of 1."""
        second = draw.some(count, self.spec.second)
        third = second[draw.some(len(second), self.spec.third)]
        owners = torch.cat([torch.arange(count, device=self.device), second, third])
        clips = torch.searchsorted(self.chances, draw.between(0, 1, len(owners)), right=True)
        sounds = self.excerpts(clips.clamp(max=len(self.starts) - 1), draw)
        sounds = effects.at_level(sounds, torch.zeros(len(owners), device=self.device), self.heard)
        _change_some(sounds, self.spec.cut, self._cut, draw)
        beside = draw.between(*BESIDE_DB, len(owners) - count)
        sounds[count:] *= effects.gain(beside)[:, None]
        return sounds[:count].index_add(0, owners[count:], sounds[count:])

    def _cut(self, sounds: Tensor, draw: "Draw") -> Tensor:
        start = draw.between(*EVENT_START_S, len(sounds)) + self.heard.start / self.sample_rate
        length = draw.between(*EVENT_LENGTH_S, len(sounds))
        return effects.cut_event(sounds, start, length, self.sample_rate)

    def _equalised(self, scenes: Tensor, draw: "Draw") -> Tensor:
        curve = draw.between(-EQUALISER_DB, EQUALISER_DB, len(scenes), EQUALISER_KNOTS)
        return effects.equalise(scenes, curve)

    def _in_a_room(self, scenes: Tensor, draw: "Draw") -> Tensor:
        decay_s = draw.between(*DECAY_S, len(scenes))
        direct = draw.between(*DIRECT, len(scenes))
        noise = draw.normal(len(scenes), round(RINGING_S * self.sample_rate))
        return effects.reverberate(scenes, effects.room(decay_s, direct, noise, self.sample_rate))

    def _in_noise(self, scenes: Tensor, draw: "Draw") -> Tensor:
        colour = draw.between(-NOISE_DB, NOISE_DB, len(scenes), NOISE_KNOTS)
        noise = effects.equalise(draw.normal(*scenes.shape), colour)
        return effects.add_noise(scenes, noise, draw.between(*SNR_DB, len(scenes)), self.heard)

    def excerpts(self, clips: Tensor, draw: "Draw") -> Tensor:
        """A piece of each of some clips, drawn at random, at another speed.

        The segment lies within the clip, or a clip that is shorter lies within the segment. Around
        both is what the clip has there, and else silence.

        Args:
            clips: numbers of the clips [n].
            draw: the draws of the batch.

        Returns:
            float32 [n, samples].
        """
        fast = draw.some(len(clips), self.spec.speed)
        speed = torch.ones(len(clips), device=self.device)
        speed[fast] = torch.exp2(draw.between(-OCTAVES, OCTAVES, len(fast)))
        segment = self.heard.stop - self.heard.start
        free = self.lengths[clips] - ((segment - 1) * speed + 1)
        first = (free * draw.between(0, 1, len(clips))).round()
        steps = torch.arange(self.length, device=self.device) - self.heard.start
        place = first[:, None] + steps * speed[:, None]
        whole = place.floor()
        number, last = whole.long(), (self.lengths[clips] - 1)[:, None]
        there = (number >= 0) & (number <= last)
        left = self._read(clips, number.clamp(min=0).minimum(last))
        right = self._read(clips, (number + 1).clamp(min=0).minimum(last))
        return torch.lerp(left, right, place - whole) * there

    def _read(self, clips: Tensor, number: Tensor) -> Tensor:
        """Samples of clips [n] by their numbers [n, samples]."""
        where = self.starts[clips][:, None] + number
        found = self.samples[where.to(self.samples.device)].to(self.device)
        return found.float() / FULL_SCALE


class Draw:
    """Everything that is drawn for one batch, from one seed."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers that are all equally likely.

        Args:
            low: the lowest.
            high: the highest.
            shape: shape of the result.

        Returns:
            float32 of this shape.
        """
        drawn = torch.rand(shape, generator=self._generator, device=self._device)
        return low + (high - low) * drawn

    def normal(self, *shape: int) -> Tensor:
        """Numbers of mean 0 and deviation 1."""
        return torch.randn(shape, generator=self._generator, device=self._device)

    def some(self, count: int, share: float) -> Tensor:
        """Draw which of some things are taken.

        Args:
            count: number of things.
            share: the chance of each.

        Returns:
            numbers of those that are taken [n].
        """
        return (self.between(0, 1, count) < share).nonzero()[:, 0]


def _change_some(
    sounds: Tensor, share: float, effect: Callable[[Tensor, Draw], Tensor], draw: Draw
) -> None:
    """Apply an effect to each of some sounds [n, samples] with a chance, in place."""
    rows = draw.some(len(sounds), share)
    if len(rows):
        sounds[rows] = effect(sounds[rows], draw)


def kind(name: str) -> str:
    """The kind of a clip: the name of its first folder; empty if it is in none."""
    return name.rpartition("/")[0].partition("/")[0]


def package(name: str) -> str:
    """The package of a clip: the names of its first two folders."""
    return "/".join(name.split("/")[:-1][:2])


def chances(
    names: Sequence[str], lengths: NDArray[np.int64], kinds: Mapping[str, float], least: int
) -> Chances:
    """How likely clips are drawn: first a kind, then one of its packages, then one of its clips.

    Args:
        names: names of the clips: kind/package/..., or less.
        lengths: length of each clip in samples; an empty clip is never drawn.
        kinds: how likely top folders are; clips of others are not drawn. Empty: in proportion to
            the root of their duration. Packages are drawn in proportion to the root of theirs.
        least: samples that a shorter clip counts beside others of its package.

    Returns:
        float64 [clips], whose sum is 1.

    Raises:
        UsageError: there is nothing to draw.
    """
    tops = np.array([kind(name) for name in names])
    counted = np.where(lengths > 0, np.maximum(lengths, least), 0)
    chance: Chances = counted.astype(np.float64)
    packages = np.array([package(name) for name in names])
    chance *= _share(packages, lengths) / np.maximum(_sums(packages, chance), 1)
    wanted = [kinds.get(top, 0.0) for top in tops] if kinds else _share(tops, lengths)
    sums = _sums(tops, chance)
    chance *= np.divide(wanted, sums, out=np.zeros(len(sums)), where=sums > 0)
    if not chance.any():
        raise UsageError(f"no sounds in {', '.join(kinds) or 'any folder'}")
    normalised: Chances = chance / chance.sum()
    return normalised


def _sums(groups: NDArray[np.str_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the sum over its group."""
    _, number = np.unique(groups, return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(number, values).astype(np.float64)[number]
    return sums


def _share(groups: NDArray[np.str_], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each row the root of its group's length."""
    root: NDArray[np.float64] = np.sqrt(_sums(groups, lengths.astype(np.float64)))
    return root


def _fits(samples: Tensor, device: torch.device) -> bool:
    """Whether a GPU has room for all samples, and for as much again for the training."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 2 * samples.nbytes < free
