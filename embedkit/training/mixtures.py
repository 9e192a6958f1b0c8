"""Sounds mixed from others: a network that learns from a teacher needs variety more than truth.

A teacher has a vector for any scene, so that a student learns the teacher's function on far more
sounds than a collection holds (consistent teaching: Beyer et al., 2022).
"""

import fnmatch
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.audio.decode import Samples
from embedkit.audio.files import find_audio
from embedkit.config import SAMPLE_RATES
from embedkit.errors import DatasetError, UsageError, require
from embedkit.processes import WorkerPool
from embedkit.progress import Track, untracked
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.training.pool import FULL_SCALE, Failure, Pool, gather

SCENE_S, SCENES = 1.0, 10  # a file holds ten scenes, each as long as a segment
LAYERS = (0.4, 0.45, 0.15)  # how likely one, two and three sounds are in a scene
SPEED = 1.0  # octaves down or up
BESIDE_DB = (-12.0, 6.0)  # of another sound beside the first
PEAK_DB = (-30.0, -1.0)  # of a scene, below full scale
SILENT = 1e-4  # RMS below which there is nothing to hear
FOLDER = 1000  # files


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What a run made.

    Attributes:
        files: number of files that are there now.
        clips: number of clips that they are made of.
        failures: clips that could not be used: (clip, kind, message).
    """

    files: int
    clips: int
    failures: list[Failure]


@dataclass(frozen=True)
class Sounds:
    """The sounds that scenes are made of.

    Attributes:
        pool: the clips.
        chance: how likely each clip is drawn [clips].
    """

    pool: Pool
    chance: NDArray[np.float64]


def mix(
    root: Path,
    out: Path,
    *,
    hours: float,
    sample_rate: int = 16000,
    weights: Sequence[tuple[str, float]] = (),
    seed: int = 0,
    workers: int = 1,
    track: Track = untracked,
) -> Mixed:
    """Write FLAC files of ten one-second scenes: excerpts sped up or down, filtered, and mixed.

    The same call gives the same files; it goes on where it was interrupted.

    Args:
        root: folder of audio.
        out: gets `000/000000.flac` and so on.
        hours: hours of audio to make.
        sample_rate: sample rate of the files in Hz.
        weights: patterns of clip names, and how much more likely their clips are drawn; the first
            that fits counts. Without one a clip's chance is in proportion to the root of its
            length.
        seed: seed of all draws.
        workers: number of processes; the files do not depend on it.
        track: shows the progress.

    Returns:
        what was made.

    Raises:
        UsageError: audiomentations is not installed, an option is out of range, or `out` is in
            `root`.
        DatasetError: no clip can be decoded.
    """
    require("audiomentations", "mix")
    require("librosa.core.notation", "mix")  # which the processes load late
    if hours <= 0 or any(weight < 0 for _, weight in weights):
        raise UsageError("hours must be above 0, and weights must not be negative")
    if sample_rate not in SAMPLE_RATES:
        raise UsageError(f"{sample_rate} Hz: must be one of {', '.join(map(str, SAMPLE_RATES))}")
    if out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{out}: is in {root}, and the next run would mix its own mixtures")
    count = math.ceil(hours * 3600 / (SCENE_S * SCENES))
    missing = [number for number in range(count) if not _path(out, number).exists()]
    with scratch_folder() as scratch:
        with into_scratch():
            sounds, failures = _gather(root, scratch / "sounds", sample_rate, weights, track)
        write = partial(_write, sounds, out, sample_rate, seed)
        pool = WorkerPool(workers)
        try:
            for _ in track(pool.map(write, missing, chunksize=8), "Mixing", len(missing)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return Mixed(files=count, clips=len(sounds.chance), failures=failures)


def _gather(
    root: Path,
    path: Path,
    sample_rate: int,
    weights: Sequence[tuple[str, float]],
    track: Track,
) -> tuple[Sounds, list[Failure]]:
    """Decode every clip once."""
    pool = gather(root, find_audio(root).paths, path, sample_rate, track=track)
    chance = np.array([
        next((value for glob, value in weights if fnmatch.fnmatch(name, glob)), 1.0)
        for name in pool.names
    ]) * np.sqrt(pool.lengths)  # fmt: skip
    if not chance.any():
        raise DatasetError(f"{root}: none of {len(chance)} clips has a weight")
    return Sounds(pool, chance / chance.sum()), pool.failures


def _path(out: Path, number: int) -> Path:
    return out / f"{number // FOLDER:03d}" / f"{number:06d}.flac"


def _write(sounds: Sounds, out: Path, sample_rate: int, seed: int, number: int) -> None:
    rng = np.random.default_rng((seed, number))
    # audiomentations draws from the global generators.
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    scenes = list(_scenes(sounds, sample_rate, rng))
    with atomic_write(_path(out, number)) as file:
        soundfile.write(file, np.concatenate(scenes), sample_rate, format="FLAC")


def _scenes(sounds: Sounds, sample_rate: int, rng: np.random.Generator) -> Iterator[Samples]:
    samples, colour = sounds.pool.open(), _colours()
    for _ in range(SCENES):
        scene = np.zeros(round(SCENE_S * sample_rate), np.float32)
        for layer in range(1 + int(rng.choice(len(LAYERS), p=LAYERS))):
            sound = colour(draw_excerpt(sounds, samples, sample_rate, rng), sample_rate)
            level = rms(sound)
            if level > SILENT:
                gain_db = rng.uniform(*BESIDE_DB) if layer else 0.0
                scene += sound * (10 ** (gain_db / 20) / level)
        peak = float(np.abs(scene).max())
        yield scene * (10 ** (rng.uniform(*PEAK_DB) / 20) / peak) if peak else scene


def draw_excerpt(
    sounds: Sounds, samples: NDArray[np.int16], sample_rate: int, rng: np.random.Generator
) -> Samples:
    """A piece of a clip drawn at random, as long as a scene, at another speed.

    A clip that is shorter lies somewhere in silence.

    Args:
        sounds: the clips.
        samples: samples of all clips.
        sample_rate: in Hz.
        rng: decides all draws.

    Returns:
        float32 [samples].
    """
    clip = rng.choice(len(sounds.chance), p=sounds.chance)
    ratio = 2 ** rng.uniform(-SPEED, SPEED)
    size = round(SCENE_S * sample_rate)
    wanted = math.ceil(size * ratio)
    first, last = sounds.pool.starts[clip], sounds.pool.starts[clip + 1]
    start = first + int(rng.integers(max(1, last - first - wanted + 1)))
    piece = samples[start : min(last, start + wanted)].astype(np.float32) / FULL_SCALE
    piece = soxr.resample(piece, sample_rate * ratio, sample_rate, "MQ")[:size]
    excerpt = np.zeros(size, np.float32)
    place = int(rng.integers(size - len(piece) + 1))
    excerpt[place : place + len(piece)] = piece
    return excerpt


def rms(sound: Samples) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(sound))))


def _colours() -> Any:
    """What rooms, microphones, distance and codecs do to a sound: at most two of these effects."""
    from audiomentations import (
        AddColorNoise,
        AirAbsorption,
        BandPassFilter,
        HighPassFilter,
        LowPassFilter,
        PitchShift,
        Reverse,
        SevenBandParametricEQ,
        SomeOf,
        TanhDistortion,
    )

    return SomeOf(
        (0, 2),
        [
            AddColorNoise(min_snr_db=5, max_snr_db=40, p=1),
            AirAbsorption(min_distance=10, max_distance=100, p=1),
            BandPassFilter(min_center_freq=200, max_center_freq=4000, p=1),
            HighPassFilter(min_cutoff_freq=20, max_cutoff_freq=1000, p=1),
            LowPassFilter(min_cutoff_freq=800, max_cutoff_freq=7000, p=1),
            PitchShift(min_semitones=-6, max_semitones=6, p=1),
            Reverse(p=1),
            SevenBandParametricEQ(min_gain_db=-9, max_gain_db=9, p=1),
            TanhDistortion(min_distortion=0.01, max_distortion=0.4, p=1),
        ],
    )
