"""The features of all training clips in one memory-mapped file, so that RAM does not limit them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.audio.features import LogMel
from embedkit.audio.segments import cut, in_batches, stack
from embedkit.config import FeatureSpec, SegmentSpec
from embedkit.datasets import Clip
from embedkit.errors import AudioError, DatasetError, UsageError
from embedkit.files import atomic_write
from embedkit.progress import Track, untracked

BATCH = 64  # segments whose features are computed at a time


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of segments and the clip that each belongs to.

    Attributes:
        values: float32 [segments, 1, frames, bands], memory-mapped, copied on write.
        clip: int64 [segments], the index of the clip in the list they were made from.
        failures: clips that gave no features, or not all: (path, kind, message).
    """

    values: NDArray[np.float32]
    clip: NDArray[np.int64]
    failures: list[tuple[str, str, str]]

    def mean_and_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each band [bands] over all segments and frames."""
        bands = self.values.shape[-1]
        total, squares, count = np.zeros(bands), np.zeros(bands), 0
        for start in range(0, len(self.values), 1024):
            frames = self.values[start : start + 1024].reshape(-1, bands).astype(np.float64)
            total += frames.sum(axis=0)
            squares += np.square(frames).sum(axis=0)
            count += len(frames)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-8))
        return mean.astype(np.float32), deviation.astype(np.float32)


def compute_features(
    clips: Sequence[Clip],
    path: Path,
    features: FeatureSpec,
    segments: SegmentSpec,
    track: Track = untracked,
) -> Features:
    """Compute the features of clips into `path`, or open what an interrupted run computed.

    Args:
        clips: their audio is decoded once, in order.
        path: of the file of float32 values; its index goes beside it.
        features: of the model.
        segments: how the clips are cut.
        track: shows the progress over clips.

    Raises:
        DatasetError: not one clip can be decoded.
        UsageError: the interrupted run had other clips or settings.
    """
    settings = {
        "features": features.to_dict(),
        "segments": segments.to_dict(),
        "clips": [[str(clip.path), *clip.labels] for clip in clips],
    }
    index_path = path.with_suffix(".json")
    if not index_path.exists():
        written = _write(clips, path, features, segments, track)
        if not written["clip"]:
            found, kind, message = written["failures"][0]
            raise DatasetError(
                f"none of {len(clips)} clips can be decoded; {found}: {kind}: {message}"
            )
        with atomic_write(index_path) as file:
            file.write(json.dumps({"settings": settings, **written}).encode())
    index = json.loads(index_path.read_bytes())
    if index["settings"] != settings:
        raise UsageError(f"{path.parent}: the training there began with other clips")
    values = np.memmap(path, np.float32, mode="c", shape=(len(index["clip"]), *index["shape"]))
    return Features(
        values=values,
        clip=np.array(index["clip"], np.int64),
        failures=[tuple(failure) for failure in index["failures"]],
    )


def _write(
    clips: Sequence[Clip], path: Path, features: FeatureSpec, segments: SegmentSpec, track: Track
) -> dict[str, Any]:
    logmel = LogMel(features)
    owners: list[int] = []
    failures: list[tuple[str, str, str]] = []
    shape: tuple[int, ...] = ()
    rate = features.sample_rate
    with path.open("wb") as file, torch.inference_mode():
        for number, clip in enumerate(track(clips, "Features", len(clips))):
            whole = (
                segment
                for segment in cut(decode(clip.path, rate), segments, rate)
                # A sliver at a clip's end is mostly padding and would teach silence.
                if not segment.index or segment.end_s - segment.start_s >= segments.duration_s / 2
            )
            try:
                for batch in in_batches(whole, BATCH):
                    values = logmel(torch.from_numpy(stack(batch))).numpy()
                    values.tofile(file)
                    shape = values.shape[1:]
                    owners += [number] * len(batch)
            except AudioError as error:
                failures.append((str(clip.path), str(error.kind), str(error)))
    return {"clip": owners, "shape": shape, "failures": failures}
