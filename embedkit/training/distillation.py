"""Distillation: a network learns to give the vectors that other extractors have for a sound."""

import fnmatch
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.files import clip_name, find_audio
from embedkit.checkpoint import ModelConfig
from embedkit.config import (
    Activation,
    FeatureSpec,
    Loss,
    ModelSpec,
    SegmentSpec,
    TargetSpec,
    TrainSpec,
)
from embedkit.datasets import Clip, Manifest
from embedkit.datasets.targets import Targets, read_targets
from embedkit.errors import DatasetError, UsageError
from embedkit.training.features import Features
from embedkit.training.loop import Trained, run_training
from embedkit.training.objective import Distillation
from embedkit.training.running import Running

log = logging.getLogger(__name__)

NEAR = 0.25  # of a segment's length: how far from it a target's segment may begin


def distil(
    root: Path,
    targets: Sequence[Path],
    folder: Path,
    *,
    model: ModelSpec,
    features: FeatureSpec,
    segments: SegmentSpec,
    spec: TrainSpec,
    loss: Loss = Loss.MSE,
    weights: Sequence[float] = (),
    hold_out: Sequence[str] = (),
    **running: Unpack[Running],
) -> Trained:
    """Train an extractor to give vectors from which those of others follow, and write its folder.

    A linear head on the embedding, and on each of its prefixes that is an embedding of its own,
    gives the targets' vectors side by side, with each number standardised over the training
    segments.

    Args:
        root: folder of audio.
        targets: for each extractor an embedding folder, or Parquet with its columns; see
            `datasets.targets`. A segment is used if each of them has a vector that begins within a
            quarter of a segment of it.
        folder: the model folder; for this, and for what is not named here, see `training.train`.
        model: the network; its number of classes is that of the targets' numbers.
        features: the front-end.
        segments: how clips are cut.
        spec: the recipe. Balanced sampling makes the folders in `root` equally likely.
        loss: the loss between a target and what the head gives for it.
        weights: weights of the targets' losses, in their order; by default all are the same.
        hold_out: patterns of the names of clips to validate with; by default `spec` says how many.
        running: as for `train`.

    Returns:
        what the training gave.

    Raises:
        UsageError: as for `train`, or there are not as many weights as targets.
        DatasetError: targets cannot be read, or fit none of the audio.
    """
    if weights and len(weights) != len(targets):
        raise UsageError(f"{len(weights)} weights for {len(targets)} targets")
    paths = find_audio(root).paths
    names = [clip_name(path, root) for path in paths]
    read = [read_targets(path, names) for path in targets]
    config = ModelConfig(
        model=replace(model, classes=sum(found.vectors.shape[1] for found in read)),
        features=features,
        segments=segments,
        training=spec,
        activation=Activation.NONE,
        targets=tuple(
            TargetSpec(name=name, size=found.vectors.shape[1], weight=weight, loss=loss)
            for name, found, weight in zip(
                _names(read), read, weights or [1.0] * len(read), strict=True
            )
        ),
    )
    everywhere = set.intersection(*(set(found.clip.tolist()) for found in read))
    if not everywhere:
        raise DatasetError(f"{root}: not one clip has vectors in all targets")
    log.info("%d of %d clips have vectors in all targets", len(everywhere), len(paths))
    number = {paths[index]: index for index in everywhere}
    manifest = Manifest(
        tuple(as_clip(path, names[index], hold_out) for path, index in sorted(number.items())),
        several_labels=False,
        source=f"{root.name} with {', '.join(target.name for target in config.targets)}",
    )
    if hold_out and len({clip.split for clip in manifest.clips}) < 2:
        raise DatasetError(f"{', '.join(hold_out)}: fits all clips with vectors, or none of them")

    def objective(sets: Sequence[Features], parts: Sequence[Manifest]) -> Distillation:
        hops = spec.segment_hop_s, segments.hop_s
        joined = []
        for found, part, hop_s in zip(sets, parts, hops, strict=True):
            clips = np.array([number[clip.path] for clip in part.clips])
            heard = found.mostly_sound(segments.duration_s)
            joined.append(_join(heard, clips, hop_s, read, NEAR * segments.duration_s))
        folders = [names[number[clip.path]].partition("/")[0] for clip in parts[0].clips]
        _, groups = np.unique(folders, return_inverse=True)
        (training, vectors), (validation, validation_vectors) = joined
        return Distillation(
            (training, validation), (vectors, validation_vectors), config.targets, groups
        )

    return run_training(config, manifest, objective, folder, **running)


def _names(targets: Sequence[Targets]) -> list[str]:
    """A name for each; if two are the same, the second gets a number."""
    seen: Counter[str] = Counter()
    names = []
    for target in targets:
        seen[target.name] += 1
        again = seen[target.name]
        names.append(target.name if again == 1 else f"{target.name}-{again}")
    return names


def as_clip(path: Path, name: str, hold_out: Sequence[str]) -> Clip:
    """A clip without labels, held out if its name fits one of the patterns.

    Args:
        path: the file.
        name: name of the clip.
        hold_out: the patterns.

    Returns:
        the clip.
    """
    if not hold_out:
        return Clip(path=path, labels=())
    held = any(fnmatch.fnmatchcase(name, pattern) for pattern in hold_out)
    return Clip(path=path, labels=(), split="validation" if held else "train")


def _join(
    features: Features,
    clips: NDArray[np.int64],
    hop_s: float,
    targets: Sequence[Targets],
    within_s: float,
) -> tuple[Features, list[NDArray[np.floating]]]:
    """The segments that have a vector in every target, and these [segments, D]."""
    first = np.searchsorted(features.clip, features.clip)  # a clip's segments stand together
    start_s = np.float64(hop_s) * (np.arange(len(features)) - first)
    rows = [target.find(clips[features.clip], start_s, within_s) for target in targets]
    keep = np.all([row >= 0 for row in rows], axis=0)
    if not keep.any():
        raise DatasetError(
            f"no segment of {len(clips)} clips has vectors in all targets: their segments begin"
            f" elsewhere than ours, every {hop_s:g} s"
        )
    if not keep.all():
        log.info("%d of %d segments have no vector in some target", (~keep).sum(), len(keep))
    found = [target.vectors[row[keep]] for target, row in zip(targets, rows, strict=True)]
    return features.where(keep), found
