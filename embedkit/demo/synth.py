"""A labelled sound collection made from nothing, so that the demo needs no download.

The classes differ in temporal pattern and timbre. Pitch, level, spectral tilt, reverberation and
background noise vary so widely within each class that the loudness and the average spectrum of a
clip say little about its label, while every second of it carries the pattern.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import oaconvolve, sawtooth
from scipy.signal.windows import hann, tukey

from embedkit.atomic import atomic_write
from embedkit.config import SAMPLE_RATES
from embedkit.errors import UsageError
from embedkit.progress import Track, untracked

T = TypeVar("T")
Signal = NDArray[np.float64]

# The packs from which the clips' traits are dealt; the costly ones to encode are the rarer.
FORMATS = ("flac", "flac", "mp3", "ogg", "wav", "wav")
CHANNELS = (1, 1, 2)
PEAK = 0.7  # headroom: lossy codecs overshoot, and the decoded peak shall stay below 1


def _rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))


@dataclass(frozen=True)
class _Studio:
    """The building blocks of the sound sources, for a clip of `samples` samples."""

    rng: np.random.Generator
    samples: int
    sample_rate: int

    def draw(self, low: float, high: float) -> float:
        """Log-uniform: pitches, tempi and decays are heard on a logarithmic scale."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def time(self, seconds: float | None = None) -> Signal:
        """Time axis in seconds, of the whole clip by default."""
        samples = self.samples if seconds is None else int(seconds * self.sample_rate)
        return np.arange(samples) / self.sample_rate

    def wander(self, per_second: float) -> Signal:
        """A random curve over the clip, of about unit variance and `per_second` knots."""
        position = self.time() * per_second
        knots = self.rng.standard_normal(int(position[-1]) + 2)
        return np.interp(position, np.arange(knots.size), knots)

    def tone(self, frequency: Signal, amplitudes: Sequence[float] = (1.0,)) -> Signal:
        """A harmonic tone that follows `frequency` in Hz, its partials silent above Nyquist."""
        phase = 2 * np.pi * np.cumsum(frequency) / self.sample_rate
        tone = np.zeros(frequency.size)
        for k, amplitude in enumerate(amplitudes, start=1):
            tone += amplitude * np.sin(k * phase) * (k * frequency < self.sample_rate / 2)
        return tone

    def ring(self, modes: ArrayLike, decays_s: ArrayLike) -> Signal:
        """A struck body: one sine per mode (Hz), each falling by 1/e in its decay time."""
        frequency, decay = np.broadcast_arrays(np.atleast_1d(modes), decays_s)
        time = self.time(6 * decay.max())
        ring = np.zeros(time.size)
        for f, d in zip(frequency, decay, strict=True):
            ring += np.exp(-time / d) * np.sin(2 * np.pi * f * time) * (f < self.sample_rate / 2)
        return ring

    def tilt(self, size: int, slope_db: float) -> Signal:
        """Gain per bin of an rfft of `size`, in dB per octave; flat below 60 Hz to bound it."""
        frequency = np.maximum(rfftfreq(size, 1 / self.sample_rate), 60).astype(np.float32)
        return np.asarray((frequency / 1000) ** (slope_db * math.log2(10) / 20))

    def noise(self, samples: int, slope_db: float) -> Signal:
        """Noise of unit RMS: a slope of 0 is white, -3 pink, -6 brown."""
        size = next_fast_len(samples, real=True)
        gain = self.tilt(size, slope_db)
        # Drawn as a spectrum, and in single precision, for speed.
        spectrum = self.rng.standard_normal((gain.size, 2), dtype=np.float32).view(np.complex64)
        noise = np.asarray(irfft(gain * spectrum[:, 0], size), dtype=np.float64)[:samples]
        return noise / _rms(noise)

    def burst(self, decay_s: float, slope_db: float) -> Signal:
        """Noise that falls by 1/e in `decay_s`."""
        envelope = np.exp(-self.time(6 * decay_s) / decay_s)
        return envelope * self.noise(envelope.size, slope_db)

    def scatter(self, per_second: float, spread: float, grain: Callable[[], Signal]) -> Signal:
        """Grains over the clip, their intervals' deviation / mean being `spread` (1: Poisson)."""
        lead = int(self.sample_rate / per_second)  # the clip begins in the midst of it
        clip = np.zeros(lead + self.samples)
        count = int(2 * per_second * clip.size / self.sample_rate) + 20
        intervals = self.rng.gamma(spread**-2, spread**2 / per_second, count)
        intervals[0] = self.rng.uniform() / per_second
        onsets = (np.cumsum(intervals) * self.sample_rate).astype(int)
        for onset in onsets[onsets < clip.size]:
            piece = self.rng.uniform(0.5, 1) * grain()[: clip.size - onset]
            clip[onset : onset + piece.size] += piece
        return clip[lead:]


def _bell(studio: _Studio) -> Signal:
    ratios = np.array([0.5, 1, 1.19, 1.5, 2, 2.74, 3.76]) * studio.rng.uniform(0.98, 1.02, 7)
    strike = studio.ring(studio.draw(400, 1600) * ratios, studio.draw(0.12, 0.35) / ratios**0.5)
    return studio.scatter(studio.draw(2, 4), 0.1, lambda: strike)


def _bird(studio: _Studio) -> Signal:
    pitch, bend, turns = studio.draw(1500, 4500), studio.draw(0.15, 0.35), studio.draw(0.8, 2)
    length_s = studio.draw(0.06, 0.12)

    def syllable() -> Signal:
        time = studio.time(length_s * studio.draw(0.8, 1.2))
        curve = np.sin(2 * np.pi * (turns * time / length_s + studio.rng.uniform()))
        return hann(time.size) * studio.tone(pitch * (1 + bend * curve), (1, 0.2))

    return studio.scatter(studio.draw(4, 8), 0.2, syllable)


def _bubbles(studio: _Studio) -> Signal:
    pitch = studio.draw(400, 1800)

    def bubble() -> Signal:
        decay_s, start = studio.draw(0.015, 0.04), pitch * studio.draw(0.6, 1.7)
        time = studio.time(5 * decay_s) / decay_s
        return np.exp(-time) * studio.tone(start * (1 + studio.draw(0.1, 0.3) * time))

    return studio.scatter(studio.draw(9, 18), 0.5, bubble)


def _clock(studio: _Studio) -> Signal:
    modes = np.array([studio.draw(800, 5000) for _ in range(3)])
    tick = studio.ring(modes, studio.draw(0.004, 0.012))
    tock = studio.ring(modes * studio.draw(0.6, 0.85), studio.draw(0.004, 0.012))
    sounds = cycle((tick, tock))
    return studio.scatter(studio.draw(3, 7), 0.02, lambda: next(sounds))


def _cricket(studio: _Studio) -> Signal:
    pulses = np.maximum(np.sin(2 * np.pi * studio.draw(25, 45) * studio.time()), 0)
    phase = 2 * np.pi * (studio.draw(2, 4) * studio.time() + studio.rng.uniform())
    chirps = np.clip(5 * (np.sin(phase) + studio.rng.uniform(0, 0.6)), 0, 1)
    return chirps * pulses * studio.tone(np.full(studio.samples, studio.draw(2000, 5000)), (1, 0.1))


def _drumroll(studio: _Studio) -> Signal:
    skin = studio.draw(0.3, 1) * studio.ring(
        studio.draw(150, 500) * np.array([1, 1.59, 2.14]), 0.02
    )
    slope_db = studio.rng.uniform(-5, -1)
    return studio.scatter(studio.draw(13, 22), 0.08, lambda: skin + studio.burst(0.02, slope_db))


def _engine(studio: _Studio) -> Signal:
    revolutions = studio.draw(35, 90) * 2 ** (0.4 * studio.wander(2))
    strokes = np.cumsum(revolutions) / studio.sample_rate
    cylinders = studio.rng.uniform(0.4, 1, 4)[strokes.astype(int) % 4]
    exhaust = studio.ring([studio.draw(90, 1500) for _ in range(4)], studio.draw(0.003, 0.008))
    pressure = np.diff(cylinders * np.exp(-20 * (strokes % 1)), prepend=0)
    return np.asarray(oaconvolve(pressure, exhaust))[: studio.samples]


def _footsteps(studio: _Studio) -> Signal:
    gap, slope_db = np.zeros(studio.time(studio.draw(0.07, 0.14)).size), studio.rng.uniform(-6, -1)

    def step() -> Signal:
        heel, toe = studio.burst(0.02, slope_db), studio.burst(0.04, slope_db + 3)
        step = np.concatenate([gap, studio.draw(0.3, 0.6) * toe])
        step[: heel.size] += heel
        return step

    return studio.scatter(studio.draw(1.6, 2.8), 0.08, step)


def _phone(studio: _Studio) -> Signal:
    time = studio.time(studio.draw(0.3, 0.5))
    high = np.sin(2 * np.pi * studio.draw(12, 22) * time) > 0
    pitch = studio.draw(600, 2400) * np.where(high, studio.draw(1.2, 1.4), 1)
    ring = tukey(time.size, 0.1) * studio.tone(pitch, (1, 0.6, 0.6, 0.4, 0.4))
    return studio.scatter(1 / (time[-1] * studio.draw(1.2, 1.5)), 0.01, lambda: ring)


def _rain(studio: _Studio) -> Signal:
    pitch = studio.draw(1000, 4000)
    drops = [studio.ring(pitch * studio.draw(0.4, 2), studio.draw(0.001, 0.003)) for _ in range(20)]

    def drop() -> Signal:
        return drops[studio.rng.integers(20)] * studio.rng.lognormal()

    patter = studio.scatter(studio.draw(80, 250), 1, drop)
    hiss = studio.noise(studio.samples, studio.rng.uniform(-4, 0))
    return patter + studio.draw(0.2, 0.6) * _rms(patter) * hiss


def _siren(studio: _Studio) -> Signal:
    phase = 2 * np.pi * (studio.draw(1, 2.5) * studio.time() + studio.rng.uniform())
    octaves = studio.draw(0.35, 0.65) * sawtooth(phase, studio.rng.uniform(0.4, 0.6))
    return studio.tone(studio.draw(500, 2000) * 2**octaves, (1, 0.5, 0.4, 0.2))


def _wind(studio: _Studio) -> Signal:
    # A noise band of constant width around a wandering whistle: noise modulates a tone.
    whistle = studio.tone(studio.draw(250, 1800) * 2 ** (0.35 * studio.wander(3)))
    rumble = 0.1 * studio.noise(studio.samples, -6)
    gusts = np.exp(0.5 * studio.wander(3))
    return gusts * (studio.wander(studio.draw(80, 250)) * whistle + rumble)


_SOURCES: dict[str, Callable[[_Studio], Signal]] = {
    "bell": _bell,
    "bird": _bird,
    "bubbles": _bubbles,
    "clock": _clock,
    "cricket": _cricket,
    "drumroll": _drumroll,
    "engine": _engine,
    "footsteps": _footsteps,
    "phone": _phone,
    "rain": _rain,
    "siren": _siren,
    "wind": _wind,
}
CLASSES: tuple[str, ...] = tuple(sorted(_SOURCES))


def synthesise_clip(
    label: str, rng: np.random.Generator, duration_s: float, sample_rate: int
) -> NDArray[np.float32]:
    """A clip of class `label`, as if recorded in some room with some background noise.

    Args:
        label: one of CLASSES.
        rng: decides everything that varies within the class.
        duration_s: at least 1 s, since anything shorter may miss the pattern of the class.
        sample_rate: in Hz.

    Returns:
        Mono float32 [round(duration_s * sample_rate)] with a peak of at most 1.

    Raises:
        UsageError: there is no such class, or the duration is below 1 s.
    """
    if label not in _SOURCES:
        raise UsageError(f"unknown class {label!r}, expected one of {', '.join(CLASSES)}")
    if duration_s < 1:
        raise UsageError(f"a clip lasts at least 1 s, not {duration_s} s")
    studio = _Studio(rng, round(duration_s * sample_rate), sample_rate)
    clip = _SOURCES[label](studio)
    tail = studio.burst(studio.draw(0.02, 0.08), -3)
    size = next_fast_len(clip.size + tail.size, real=True)
    room = 1 + rng.uniform(0, 0.6) / np.linalg.norm(tail) * rfft(tail, size)
    microphone = studio.tilt(size, rng.uniform(-3, 3))
    clip = np.asarray(irfft(microphone * room * rfft(clip, size), size))[: clip.size]
    background = studio.noise(clip.size, rng.uniform(-7, 0))
    clip = clip / _rms(clip) + background / studio.draw(2, 30)  # 6 to 30 dB below
    level = min(studio.draw(0.008, 0.08), PEAK / np.abs(clip).max())  # -42 to -22 dB
    return np.asarray(level * clip, dtype=np.float32)


class _Plan(NamedTuple):
    path: Path
    label: str
    fold: int
    sample_rate: int
    channels: int
    seed: np.random.SeedSequence


def _dealt(rng: np.random.Generator, values: Sequence[T]) -> Iterator[T]:
    """Deal one shuffled pack after the other: balanced, yet in step with nothing else."""
    while True:
        yield from (values[k] for k in rng.permutation(len(values)))


def _plans(clips_per_class: int, folds: int, seed: int) -> Iterator[_Plan]:
    for number, label in enumerate(CLASSES):
        # The seeds depend on the label and on the clip's number alone, so that a clip stays the
        # same when the collection grows.
        seeds = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(label.encode()),))
        rng = np.random.default_rng(seeds)
        traits = zip(
            seeds.spawn(clips_per_class),
            _dealt(rng, FORMATS),
            _dealt(rng, SAMPLE_RATES),
            _dealt(rng, CHANNELS),
            strict=False,
        )
        for k, (clip_seed, suffix, sample_rate, channels) in enumerate(traits):
            path = Path(label, f"{label}-{k:02d}.{suffix}")
            yield _Plan(path, label, (number + k) % folds, sample_rate, channels, clip_seed)


def write_collection(
    root: Path,
    *,
    clips_per_class: int = 22,
    folds: int = 4,
    seed: int = 0,
    track: Track = untracked,
) -> Path:
    """Write clips of 2 to 8 s, named `root/<class>/<class>-<nn>.<suffix>`, and a list of them.

    Args:
        root: folder, made if it is missing.
        clips_per_class: at least `folds`.
        folds: parts over which the clips of each class are spread evenly.
        seed: the same seed gives the same sounds; a larger collection starts with the smaller one.
        track: told of every clip.

    Returns:
        The path of the list, `root/clips.csv`, with the columns path (relative to `root`, POSIX),
        label and fold (0 .. folds - 1).

    Raises:
        UsageError: there are fewer clips per class than folds.
    """
    if not 1 <= folds <= clips_per_class:
        raise UsageError(f"{clips_per_class} clips per class do not fill {folds} folds")
    plans = list(_plans(clips_per_class, folds, seed))
    for plan in track(plans, "synthesise clips", len(plans)):
        rng = np.random.default_rng(plan.seed)
        audio = synthesise_clip(plan.label, rng, 2 + 6 * rng.beta(1, 3), plan.sample_rate)
        if plan.channels == 2:
            audio = np.outer(audio, rng.permutation((1, rng.uniform(0.3, 1))))
        with atomic_write(root / plan.path) as file:
            soundfile.write(file, audio, plan.sample_rate, format=plan.path.suffix[1:])
    with atomic_write(root / "clips.csv") as file:
        rows = [f"{plan.path.as_posix()},{plan.label},{plan.fold}" for plan in plans]
        file.write("\n".join(["path,label,fold", *rows, ""]).encode())
    return root / "clips.csv"
