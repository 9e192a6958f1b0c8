"""The features of training clips on disk: computed once, memory-mapped, shared by trainings."""

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.atomic import atomic_write
from embedkit.audio.decode import decode
from embedkit.audio.features import front_end
from embedkit.audio.segments import cut, in_batches, stack
from embedkit.config import FeatureSpec, SegmentSpec, difference
from embedkit.datasets import Clip
from embedkit.errors import AudioError, DatasetError, UsageError
from embedkit.processes import WorkerPool
from embedkit.progress import Track, untracked

BATCH = 64  # segments whose features are computed at a time
SHARD = 64  # clips, at least
SHARDS = 64  # of one computation, at most: each that is open takes a file descriptor
FORMAT = 3  # of the cache; another front-end code that gives other values needs another

Failure = tuple[str, str, str]
Key = tuple[str, int, int]  # path, size and time of change: another file of that name is another


class Features:
    """Features of the segments of some clips, in a cache's memory-mapped shards.

    Attributes:
        clip: int64 [segments], the index of the clip in the list that was asked for.
        seconds: float64 [segments], their real duration: a clip's last one may be padded.
        failures: clips that gave no features, or not all: (path, kind, message).
    """

    def __init__(
        self,
        shards: Sequence[np.memmap[Any, np.dtype[np.float32]]],
        shard: NDArray[np.int64],
        row: NDArray[np.int64],
        clip: NDArray[np.int64],
        seconds: NDArray[np.float64],
        failures: list[Failure],
    ) -> None:
        self._shards = shards
        self._shard, self._row = shard, row  # where each segment stands
        self.clip, self.seconds = clip, seconds
        self.failures = failures

    def __len__(self) -> int:
        return len(self.clip)

    def where(self, keep: NDArray[np.bool_]) -> "Features":
        """The features of some of the segments, bool [segments]."""
        place = self._shard[keep], self._row[keep]
        return Features(self._shards, *place, self.clip[keep], self.seconds[keep], self.failures)

    def mostly_sound(self, segment_s: float) -> "Features":
        """The features without slivers at the clips' ends, for segments of this length."""
        first = np.searchsorted(self.clip, self.clip)  # a clip's segments stand together
        numbers = np.arange(len(self)) - first
        return self.where(scoring.mostly_sound(numbers, self.seconds, segment_s))

    def rows(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """The features [n, 1, frames, bands] of the segments of these numbers [n]."""
        shard, row = self._shard[segments], self._row[segments]
        values = np.empty((len(segments), *self._shards[0].shape[1:]), np.float32)
        for number in np.unique(shard):
            here = shard == number
            values[here] = self._shards[number][row[here]]
        return values

    def prefetch(self, segments: NDArray[np.int64]) -> None:
        """Ask the system to read the features of these segments from the disk, without waiting."""
        size = self._shards[0][0].nbytes
        for shard, row in zip(self._shard[segments], self._row[segments], strict=True):
            start = row * size // mmap.PAGESIZE * mmap.PAGESIZE
            length = int((row + 1) * size - start)
            pages: mmap.mmap = self._shards[shard].base
            pages.madvise(mmap.MADV_WILLNEED, int(start), length)

    def in_batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All features in order, `size` segments at a time."""
        for start in range(0, len(self), size):
            yield self.rows(np.arange(start, min(start + size, len(self))))

    def mean_and_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each band [bands] over all segments and frames."""
        bands = self._shards[0].shape[-1]
        total, squares, count = np.zeros(bands), np.zeros(bands), 0
        for batch in self.in_batches(1024):
            frames = batch.reshape(-1, bands).astype(np.float64)
            total += frames.sum(axis=0)
            squares += np.square(frames).sum(axis=0)
            count += len(frames)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-8))
        return mean.astype(np.float32), deviation.astype(np.float32)


@dataclass(frozen=True)
class Cached:
    """Where the features of a clip are, and what was wrong with the clip."""

    shard: Path
    shape: tuple[int, ...]  # of the shard
    first: int
    rows: int
    last_s: float  # real duration of the last one
    kind: str
    message: str


def compute_features(
    clips: Sequence[Clip],
    cache: Path,
    features: FeatureSpec,
    segments: SegmentSpec,
    *,
    workers: int = 1,
    track: Track = untracked,
) -> Features:
    """Compute the features that a cache does not hold yet, and open those of the clips.

    A cache grows by shards, each a file of float32 values and its index, renamed when it is
    complete. Trainings on other clips, folds or hops may share it; a file that has changed is
    computed again.

    Args:
        clips: their audio is decoded once.
        cache: the folder.
        features: settings of the front-end.
        segments: how the clips are cut.
        workers: number of processes; the features do not depend on it.
        track: shows the progress over shards.

    Returns:
        the features.

    Raises:
        DatasetError: not one clip can be decoded.
        UsageError: the cache was made with other settings.
    """
    folder = cache / f"hop-{segments.hop_s:g}s"
    folder.mkdir(parents=True, exist_ok=True)
    keys = [file_key(clip.path) for clip in clips]
    with FileLock(cache / ".lock"):  # another training that needs the same waits, and finds it
        _check_settings(cache, features, segments)
        known = _read(folder)
        # A clip that gave nothing is tried again: its disk or its permissions may have come back.
        missing = list(
            dict.fromkeys(key for key in keys if key not in known or not known[key].rows)
        )
        size = max(SHARD, math.ceil(len(missing) / SHARDS))
        shares = [missing[start : start + size] for start in range(0, len(missing), size)]
        write = partial(_write_shard, folder, features, segments)
        if shares:
            with mapper(workers) as mapped:
                for _ in track(mapped(write, shares), "Features", len(shares)):
                    pass
            known = _read(folder)
    return _open([known[key] for key in keys], [clip.path for clip in clips], segments.duration_s)


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`map` in this process, or over several."""
    if workers == 1:
        yield map
        return
    with WorkerPool(workers) as pool:
        yield pool.map


def _check_settings(cache: Path, features: FeatureSpec, segments: SegmentSpec) -> None:
    path = cache / "settings.json"
    asked = {
        "format": {"number": FORMAT},
        "features": features.to_dict(),
        "segments": {"duration_s": segments.duration_s},
    }
    if not path.exists():
        with atomic_write(path) as file:
            file.write(json.dumps(asked, indent=2).encode())
    try:
        odd = difference(json.loads(path.read_bytes()), asked)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not the settings of a feature cache: {error}") from error
    if odd:
        raise UsageError(
            f"{cache}: a feature cache with other settings: {odd}; name another folder, or remove"
            " this one"
        )


def file_key(path: Path) -> Key:
    """The key of a file; another file of its name has another key."""
    try:
        status = path.stat()
    except OSError:
        return os.path.abspath(path), 0, 0  # decode says why
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


def _write_shard(
    folder: Path, features: FeatureSpec, segments: SegmentSpec, keys: list[Key]
) -> None:
    name = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    rate = features.sample_rate
    compute = front_end(features)
    clips: list[tuple[Any, ...]] = []
    shape: tuple[int, ...] = (0,)
    with atomic_write(folder / f"{name}.f32") as file:
        for key in keys:
            rows, last_s, kind, message = 0, 0.0, "", ""
            try:
                for batch in in_batches(cut(decode(Path(key[0]), rate), segments, rate), BATCH):
                    values = compute(stack(batch))
                    file.write(values.tobytes())
                    shape = values.shape[1:]
                    rows += len(batch)
                    last_s = batch[-1].end_s - batch[-1].start_s
            except AudioError as error:
                kind, message = str(error.kind), str(error)
            clips.append((*key, rows, last_s, kind, message))
    with atomic_write(folder / f"{name}.json") as file:
        file.write(json.dumps({"shape": shape, "clips": clips}).encode())


def _read(folder: Path) -> dict[Key, Cached]:
    known = {}
    for path in sorted(folder.glob("*.json")):
        shard = path.with_suffix(".f32")
        try:
            index = json.loads(path.read_bytes())
            shape = (sum(clip[3] for clip in index["clips"]), *index["shape"])
            if shard.stat().st_size != 4 * math.prod(shape):
                continue  # cut by hand or by a full disk: computed again
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            continue
        first = 0
        for *key, rows, last_s, kind, message in index["clips"]:
            if rows or tuple(key) not in known:
                known[tuple(key)] = Cached(shard, shape, first, rows, last_s, kind, message)
            first += rows
    return known


def _open(cached: Sequence[Cached], paths: Sequence[Path], segment_s: float) -> Features:
    failures = [
        (str(path), clip.kind, clip.message)
        for path, clip in zip(paths, cached, strict=True)
        if clip.kind
    ]
    shapes = {clip.shard: clip.shape for clip in cached if clip.rows}
    if not shapes:
        found, kind, message = failures[0]
        raise DatasetError(f"none of {len(paths)} clips can be decoded; {found}: {kind}: {message}")
    number = {path: index for index, path in enumerate(shapes)}
    counts = [clip.rows for clip in cached]
    there = [clip for clip in cached if clip.rows]
    seconds = np.full(sum(counts), segment_s)
    seconds[np.cumsum([clip.rows for clip in there]) - 1] = [clip.last_s for clip in there]
    return Features(
        shards=[np.memmap(path, np.float32, "r", shape=shape) for path, shape in shapes.items()],
        shard=np.repeat([number.get(clip.shard, -1) for clip in cached], counts),
        row=np.concatenate([clip.first + np.arange(clip.rows) for clip in cached]),
        clip=np.repeat(np.arange(len(cached)), counts),
        seconds=seconds,
        failures=failures,
    )
