"""A training from a labelled collection to a model folder, which can be resumed."""

import csv
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from embedkit.atomic import atomic_write
from embedkit.checkpoint import (
    CALIBRATION_SEGMENTS,
    ModelConfig,
    fingerprint,
    load_config,
    save_calibration,
)
from embedkit.config import (
    Activation,
    FeatureSpec,
    ModelSpec,
    SegmentSpec,
    TrainSpec,
    difference,
)
from embedkit.datasets import Manifest, split_validation
from embedkit.datasets.manifest import targets
from embedkit.errors import DatasetError, UsageError, require
from embedkit.labels.stretches import Rule
from embedkit.memory import room_for
from embedkit.models.build import build_model
from embedkit.models.module import ExtractorModule, check_device
from embedkit.progress import untracked
from embedkit.training.features import Features, compute_features
from embedkit.training.folder import SCRATCH, History, begin, check_folder, finish, read_history
from embedkit.training.marked import MarkedClassification
from embedkit.training.objective import Classification, Objective
from embedkit.training.parallel import join
from embedkit.training.running import Running
from embedkit.training.trainer import Trainer, best

log = logging.getLogger(__name__)

LEFT_OUT = "left_out.csv"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training gave.

    Attributes:
        history: the figures of each epoch, as in metrics.jsonl; where segments are heard once, of
            each checkpoint.
        best_epoch: the epoch whose weights were kept, from 1 on.
        clips: number of clips to train and to validate with.
        failures: clips that could not be used, or not to their end: (path, kind, message).
    """

    history: History
    best_epoch: int
    clips: int
    failures: list[tuple[str, str, str]]


def train(
    manifest: Manifest,
    folder: Path,
    *,
    model: ModelSpec,
    features: FeatureSpec,
    segments: SegmentSpec,
    spec: TrainSpec,
    init: Path | None = None,
    rule: Rule | None = None,
    **running: Unpack[Running],
) -> Trained:
    """Train an extractor and write its model folder.

    The folder always holds the best model so far, by validation loss (cross-entropy of the clips'
    mean scores of the whole embedding), and metrics.jsonl. Every epoch leaves a state from which
    `resume` continues; the result is the same as without an interruption. At the end a picture of
    the curves, a model card, and a sample of the training segments to quantise for join it.

    Under torchrun the processes share every batch and average their gradients; batch
    normalisation's statistics are of each process's own share.

    Args:
        manifest: the training clips, and those of the held-out fold if the recipe names one.
        folder: gets config.json, model.safetensors, metrics.jsonl.
        model: the network; its number of classes is that of the manifest's labels.
        features: the front-end.
        segments: how clips are cut.
        spec: the recipe.
        init: a model folder to begin with instead of random weights: its features' statistics, and
            its network without the heads. `model`, `features` and `segments` must be its own;
            dropout and classes may differ.
        rule: which segment has which label, where labels have times.
        running: how it runs; see `Running`.

    Returns:
        what the training gave.

    Raises:
        UsageError: the folder has a model or a training already, or one with other settings; or
            `init` is another network.
        ModelFolderError: `init` is not a model folder.
        DatasetError: there are too few clips, or none that can be decoded.
        EmbedkitError: the training diverged, or there is too little memory for its batches.
    """
    if spec.hold_out_fold:
        manifest = manifest.without_fold(spec.hold_out_fold)
    labels = manifest.labels
    several = manifest.several_labels or manifest.is_marked
    if len(labels) < 2 and not several:
        raise DatasetError(f"training needs at least 2 labels, found: {', '.join(labels)}")
    begun = None if init is None else check_init(init, model, features, segments)
    config = ModelConfig(
        model=replace(model, classes=len(labels)),
        features=features,
        segments=segments,
        training=spec,
        activation=Activation.SIGMOID if several else Activation.SOFTMAX,
        labels=labels,
        init=fingerprint(init) if init else "",
        size=begun.size if begun else None,
    )
    log.info(
        "%d labels, %s",
        len(labels),
        "several a clip: sigmoid" if several else "one a clip: softmax",
    )

    def objective(sets: Sequence[Features], parts: Sequence[Manifest]) -> Objective:
        if manifest.is_marked:
            hops = (spec.segment_hop_s, segments.hop_s)
            return MarkedClassification(sets, parts, labels, rule or Rule(), hops)
        wanted = [targets(part.clips, labels) for part in parts]
        return Classification(sets, wanted, config.activation)

    return run_training(config, manifest, objective, folder, init=init, rule=rule, **running)


def run_training(
    config: ModelConfig,
    manifest: Manifest,
    objective: Callable[[Sequence[Features], Sequence[Manifest]], Objective],
    folder: Path,
    *,
    init: Path | None = None,
    rule: Rule | None = None,
    **running: Unpack[Running],
) -> Trained:
    """Run a training of any objective.

    Args:
        config: settings of the model.
        manifest: the clips.
        objective: makes the objective of the features of training and validation clips, and of
            these.
        folder: the model folder; for this and the following see `train`.
        init: as for `train`.
        rule: as for `train`.
        running: as for `train`.

    Returns:
        what the training gave.

    Raises:
        UsageError: as for `train`, or a batch is too small for the processes.
        DatasetError: there are too few segments for the processes.
    """
    spec, segments = config.training, config.segments
    assert isinstance(spec, TrainSpec)
    device, resume = running.get("device", "cpu"), running.get("resume", False)
    tensorboard, track = running.get("tensorboard", False), running.get("track", untracked)
    export = running.get("export", True)
    check_device(device)
    with torch.device("meta"):  # refuse what cannot be built before the work begins
        build_model(config.model, config.feature_shape)
    if tensorboard:
        require("tensorboard", "tensorboard")
    if check_folder(folder, config, resume):
        history = read_history(folder)
        return Trained(
            history=history, best_epoch=best(history), clips=len(manifest.clips), failures=[]
        )
    parts = split_validation(manifest, spec.validation, spec.seed)
    cuts = (replace(segments, hop_s=spec.segment_hop_s), segments)
    ranks, own_device = join(device)
    if spec.batch_size < 2 * ranks.count:
        raise UsageError(
            f"batches of {spec.batch_size} for {ranks.count} processes: must be at least 2 segments"
            " for each"
        )
    ranks.wait()  # until all have looked at the folder
    if ranks.rank == 0:
        begin(folder, config, parts, rule)
        if manifest.left_out:
            _list_left_out(folder / LEFT_OUT, manifest.left_out)
    sets = []
    for part, cut in zip(parts, cuts, strict=True):
        compute = partial(
            compute_features,
            part.clips,
            running.get("cache") or folder / SCRATCH / "features",
            config.features,
            cut,
        )
        if ranks.rank == 0:
            compute(workers=running.get("workers", 1), track=track)
        ranks.wait()  # until the first process has computed what all open
        sets.append(compute())
    # Validation scores whole clips, as `evaluate` does; a sliver alone would teach silence.
    sets[0] = sets[0].mostly_sound(segments.duration_s)
    goal = objective(sets, parts)
    training, validation = goal.training, goal.validation
    if len(training) < 2 * ranks.count:
        raise DatasetError(
            f"{len(training)} training segments: training needs at least 2 for each process"
        )
    torch.manual_seed(spec.seed)
    trainer = Trainer(
        _make_extractor(config, training, init).to(own_device),
        goal,
        folder,
        ranks,
        tensorboard=tensorboard,
    )
    trainer.restore()
    counts = {
        "training clips": len(parts[0].clips),
        "validation clips": len(parts[1].clips),
        "training segments": len(training),
        "validation segments": len(validation),
    }
    log.info("%d training and %d validation clips (%d and %d segments)", *counts.values())
    with room_for(spec.batch_size, own_device):
        for epoch in range(len(trainer.history) + 1, spec.epochs + 1):
            trainer.run_epoch(epoch, track)
    ranks.wait()
    history = read_history(folder)
    if ranks.rank == 0:
        spread = np.linspace(0, len(training) - 1, CALIBRATION_SEGMENTS).astype(np.int64)
        save_calibration(folder, training.rows(np.unique(spread)))
        kept = history[best(history) - 1]
        finish(folder, trainer.extractor, manifest, counts, history, kept, export=export)
    ranks.wait()  # until the folder is what it will be
    return Trained(
        history=history,
        best_epoch=best(history),
        clips=len(manifest.clips),
        failures=training.failures + validation.failures,
    )


def _make_extractor(config: ModelConfig, training: Features, init: Path | None) -> ExtractorModule:
    mean, std = (torch.from_numpy(values) for values in training.mean_and_std())
    extractor = ExtractorModule(config, mean, std)
    if init is not None:
        extractor.begin_with(ExtractorModule.load(init))
    return extractor


def check_init(
    folder: Path, model: ModelSpec, features: FeatureSpec, segments: SegmentSpec
) -> ModelConfig:
    """The settings of a model folder with which a training may begin.

    Args:
        folder: the model folder.
        model: the network of the training.
        features: the front-end of the training.
        segments: the segments of the training.

    Returns:
        the settings.

    Raises:
        ModelFolderError: it is no model folder.
        UsageError: its network, front-end or segments differ.
    """
    config = load_config(folder)
    own = config.model
    model = replace(model, classes=own.classes, dropout=own.dropout)  # these two are free
    asked = {"model": model, "features": features, "segments": segments}
    there = {name: getattr(config, name).to_dict() for name in asked}
    if odd := difference(there, {name: spec.to_dict() for name, spec in asked.items()}):
        raise UsageError(f"{folder}: cannot begin with another network: {odd}")
    return config


def _list_left_out(path: Path, left_out: Sequence[tuple[str, str]]) -> None:
    """Name the clips that the data set lists and that are not there."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("clip", "reason"), *left_out])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "replace"))
    log.info("%s lists the %d clips that are left out", path, len(left_out))
