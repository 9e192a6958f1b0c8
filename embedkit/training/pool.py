"""All sounds of a folder in a row, decoded once, so that any excerpt of them is at hand."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.audio.decode import decode
from embedkit.audio.files import clip_name
from embedkit.errors import AudioError, DatasetError
from embedkit.progress import Track, untracked
from embedkit.training.features import file_key, mapper

Failure = tuple[str, str, str]
Decoded = tuple[NDArray[np.int16], str, str]  # samples, kind, message

FULL_SCALE = 32767  # of the 16-bit samples
SOUNDS = "sounds.i16"  # what the file is called in a cache


@dataclass(frozen=True)
class Pool:
    """Clips one after the other in a file of 16-bit samples.

    Attributes:
        path: the file.
        names: names of the clips.
        starts: where each clip begins, and where the last one ends: int64 [clips + 1].
        failures: clips that gave no samples, or not all: (clip, kind, message).
    """

    path: Path
    names: tuple[str, ...]
    starts: NDArray[np.int64]
    failures: list[Failure]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each clip."""
        return np.diff(self.starts)

    def open(self) -> "np.memmap[Any, np.dtype[np.int16]]":
        """All samples; what is written to them stays in memory."""
        return np.memmap(self.path, np.int16, "c")


def gather(
    root: Path,
    paths: Sequence[Path],
    path: Path,
    sample_rate: int,
    *,
    workers: int = 1,
    track: Track = untracked,
) -> Pool:
    """Decode clips into a file, unless it holds them already.

    Args:
        root: folder of audio.
        paths: the clips in it.
        path: the file of samples; its index is written beside it.
        sample_rate: sample rate of the samples in Hz.
        workers: number of processes.
        track: shows the progress over clips.

    Returns:
        the sounds.

    Raises:
        DatasetError: not one clip can be decoded.
    """
    names = [clip_name(source, root) for source in paths]
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [sample_rate, *(list(file_key(source)) for source in paths)]
    index = path.with_suffix(".json")
    with FileLock(path.with_suffix(".lock")):  # another run on the same sounds waits, and finds it
        found = _read(index, path, keys)
        if found is None:
            found = []
            read = partial(_samples, sample_rate=sample_rate)
            with atomic_write(path) as file, mapper(workers) as mapped:
                decoded: Iterable[Decoded] = mapped(read, paths)
                for samples, kind, message in track(decoded, "Decoding", len(paths)):
                    file.write(samples.tobytes())
                    found.append((len(samples), kind, message))
            with atomic_write(index) as file:
                file.write(json.dumps({"keys": keys, "clips": found}).encode())
    if not any(length for length, _, _ in found):
        _, kind, message = found[0]
        raise DatasetError(
            f"{root}: none of {len(paths)} clips can be decoded; {names[0]}: {kind}: {message}"
        )
    return Pool(
        path,
        tuple(names),
        np.cumsum([0, *(length for length, _, _ in found)]).astype(np.int64),
        [
            (name, kind, message)
            for name, (_, kind, message) in zip(names, found, strict=True)
            if kind
        ],
    )


def _read(index: Path, path: Path, keys: Sequence[Any]) -> list[tuple[int, str, str]] | None:
    """What is known about the clips, if the file holds these and is complete."""
    try:
        known = json.loads(index.read_bytes())
        found = [(int(length), str(kind), str(message)) for length, kind, message in known["clips"]]
        whole = path.stat().st_size == 2 * sum(length for length, _, _ in found)
        return found if whole and known["keys"] == keys else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _samples(path: Path, sample_rate: int) -> Decoded:
    blocks, kind, message = [np.empty(0, np.int16)], "", ""
    try:
        for block in decode(path, sample_rate):
            blocks.append((block.clip(-1, 1) * FULL_SCALE).astype(np.int16))
    except AudioError as error:
        kind, message = str(error.kind), str(error)
    return np.concatenate(blocks), kind, message
