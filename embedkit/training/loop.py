"""The training loop: the paper's recipe, the best checkpoint by validation, resumable."""

import io
import json
import logging
import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer, lr_scheduler

from embedkit import metrics
from embedkit.checkpoint import CONFIG, ModelConfig, load_config
from embedkit.config import Activation, FeatureSpec, ModelSpec, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest, split_validation
from embedkit.datasets.manifest import targets
from embedkit.errors import DatasetError, EmbedkitError, ModelFolderError, UsageError
from embedkit.files import atomic_write
from embedkit.models import build_model
from embedkit.models.extractor import Extractor, check_device
from embedkit.progress import Track, untracked
from embedkit.training.augment import mix, spec_augment
from embedkit.training.features import Features, compute_features

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
SCRATCH = "training"  # features and state of a training under way, inside the model folder

History = list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training gave.

    Attributes:
        history: the figures of each epoch, as in metrics.jsonl.
        best_epoch: the epoch whose weights were kept.
        failures: clips that could not be used, or not to their end: (path, kind, message).
    """

    history: History
    best_epoch: int
    failures: list[tuple[str, str, str]]


def train(
    manifest: Manifest,
    folder: Path,
    *,
    model: ModelSpec,
    features: FeatureSpec,
    segments: SegmentSpec,
    spec: TrainSpec,
    device: str = "cpu",
    resume: bool = False,
    track: Track = untracked,
) -> Trained:
    """Train an extractor and write its model folder.

    The folder always holds the best model so far, by validation loss (cross-entropy of the clips'
    mean scores), and metrics.jsonl. Every epoch leaves a state from which `resume` continues; the
    result is the same as without an interruption.

    Args:
        manifest: the training clips, and those of the held-out fold if the recipe names one.
        folder: gets config.json, model.safetensors, metrics.jsonl.
        model: the network; its number of classes is that of the manifest's labels.
        features: the front-end.
        segments: how clips are cut.
        spec: the recipe.
        device: where torch computes.
        resume: continue an interrupted training with the same settings.
        track: shows the progress.

    Raises:
        UsageError: the folder has a model or a training already, or one with other settings.
        DatasetError: too few clips, or none that can be decoded.
    """
    if spec.hold_out_fold:
        manifest = manifest.without_fold(spec.hold_out_fold)
    labels = manifest.labels
    if len(labels) < 2 and not manifest.several_labels:
        raise DatasetError(f"training needs at least 2 labels, found: {', '.join(labels)}")
    config = ModelConfig(
        model=replace(model, classes=len(labels)),
        features=features,
        segments=segments,
        training=spec,
        activation=Activation.SIGMOID if manifest.several_labels else Activation.SOFTMAX,
        labels=labels,
    )
    check_device(device)
    with torch.device("meta"):  # refuse what cannot be built before the work begins
        build_model(config.model, config.feature_shape)
    scratch = folder / SCRATCH
    _check_folder(folder, config, resume)
    if resume and (folder / CONFIG).exists() and not scratch.exists():
        history = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
        return Trained(history=history, best_epoch=_best(history), failures=[])
    training, validation = split_validation(manifest, spec.validation, spec.seed)
    training_segments = replace(segments, hop_s=spec.segment_hop_s)
    # From here on the folder holds a training: what is refused above leaves it as it was.
    with atomic_write(scratch / CONFIG) as file:
        file.write(json.dumps(config.to_dict()).encode())

    sets = [
        compute_features(part.clips, scratch / f"{name}.f32", features, cut, track)
        for name, part, cut in (
            ("training", training, training_segments),
            ("validation", validation, segments),
        )
    ]
    if len(sets[0].values) < 2:
        raise DatasetError("training needs at least 2 segments of 1 s")
    torch.manual_seed(spec.seed)
    mean, std = (torch.from_numpy(values) for values in sets[0].mean_and_std())
    trainer = _Trainer(
        Extractor(config, mean, std).to(device),
        sets,
        [targets(training.clips, labels), targets(validation.clips, labels)],
        folder,
    )
    trainer.restore()
    log.info(
        "%d training and %d validation clips (%d and %d segments), %d labels, %s",
        len(training.clips),
        len(validation.clips),
        len(sets[0].values),
        len(sets[1].values),
        len(labels),
        "several labels a clip: sigmoid"
        if manifest.several_labels
        else "one label a clip: softmax",
    )
    for epoch in range(len(trainer.history) + 1, spec.epochs + 1):
        trainer.run_epoch(epoch, track)
    # Renamed first: half of a removed state must not look like a training to resume.
    shutil.rmtree(scratch.rename(folder / f".{SCRATCH}.done"))
    return Trained(
        history=trainer.history,
        best_epoch=_best(trainer.history),
        failures=sets[0].failures + sets[1].failures,
    )


def _check_folder(folder: Path, config: ModelConfig, resume: bool) -> None:
    """Refuse to overwrite a model, or to resume one with other settings."""
    known = next((path for path in (folder / SCRATCH, folder) if (path / CONFIG).exists()), None)
    if known is None:
        return
    if not resume:
        raise UsageError(
            f"{folder}: holds a model or an unfinished training; resume it or choose another folder"
        )
    found, asked = load_config(known).to_dict(), config.to_dict()
    for group, values in asked.items():
        if found[group] == values or group == "embedkit_version":
            continue
        if isinstance(values, dict):
            name = next(name for name in values if values[name] != found[group][name])
            raise UsageError(
                f"{folder}: cannot resume: {group}.{name} is {found[group][name]!r} there,"
                f" {values[name]!r} was asked for"
            )
        raise UsageError(f"{folder}: cannot resume: the {group} differ from those there")


class _Trainer:
    """The state of a training: it moves on by an epoch at a time, and to disk and back."""

    def __init__(
        self,
        extractor: Extractor,
        sets: list[Features],
        clip_targets: list[NDArray[np.float32]],
        folder: Path,
    ) -> None:
        self.extractor = extractor
        self.spec = extractor.config.training
        self.training, self.validation = sets
        self.targets, self.validation_targets = clip_targets
        self.folder = folder
        self.history: History = []
        self.augment = spec_augment(self.spec)
        self.steps = math.ceil(len(self.training.values) / self.spec.batch_size)
        self.optimizer = Adam(
            extractor.network.parameters(),
            lr=self.spec.learning_rate,
            betas=(self.spec.beta1, self.spec.beta2),
            weight_decay=self.spec.weight_decay,
        )
        self.schedule = make_schedule(self.optimizer, self.spec, self.steps)

    @property
    def device(self) -> torch.device:
        return self.extractor.mean.device

    def run_epoch(self, epoch: int, track: Track) -> None:
        started = time.monotonic()
        # Seeded by the epoch, so that a resumed training draws what an uninterrupted one does.
        torch.manual_seed(hash((self.spec.seed, epoch)))
        learning_rate = self.optimizer.param_groups[0]["lr"]
        # Nearly equal batches: a last one of a single segment would break batch normalisation.
        batches = torch.randperm(len(self.training.values)).tensor_split(self.steps)
        self.extractor.train()
        total = 0.0
        for batch in track(batches, f"Epoch {epoch}/{self.spec.epochs}", self.steps):
            total += self._step(batch.sort().values.numpy()) * len(batch)
        record = {
            "epoch": epoch,
            "learning_rate": learning_rate,
            "train_loss": total / len(self.training.values),
            **self._validate(),
            "seconds": round(time.monotonic() - started, 2),
        }
        self.history.append(record)
        log.info(
            "epoch %d/%d: training loss %.3f, validation loss %.3f, %s, %.0f s",
            epoch,
            self.spec.epochs,
            record["train_loss"],
            record["validation_loss"],
            f"accuracy {record['validation_accuracy']:.3f}"
            if "validation_accuracy" in record
            else f"mAP {record.get('validation_map', math.nan):.3f}",
            record["seconds"],
        )
        self._save(best=_best(self.history) == epoch)

    def _step(self, batch: NDArray[np.int64]) -> float:
        features = torch.from_numpy(self.training.values[batch]).to(self.device)
        wanted = torch.from_numpy(self.targets[self.training.clip[batch]]).to(self.device)
        features = self.augment(self.extractor.normalise(features))
        if self.spec.mixup:
            features, wanted = mix(features, wanted, self.spec.mixup)
        loss = self._loss(self.extractor.network(features), wanted)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise EmbedkitError(
                f"the training diverged (loss {value}): try a lower learning rate than"
                f" {self.spec.learning_rate}"
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return value

    def _loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        if self.extractor.config.activation is Activation.SOFTMAX:
            return F.cross_entropy(logits, wanted)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        self.extractor.eval()
        segment_scores = []
        for start in range(0, len(self.validation.values), self.spec.batch_size):
            batch = self.validation.values[start : start + self.spec.batch_size]
            features = torch.from_numpy(batch).to(self.device)
            logits = self.extractor.network(self.extractor.normalise(features))
            segment_scores.append(self.extractor.activate(logits).double().cpu().numpy())
        # A clip's score is the mean of its segments' (paper, section 3.2).
        clips, owner = np.unique(self.validation.clip, return_inverse=True)
        scores = np.zeros((len(clips), segment_scores[0].shape[1]))
        np.add.at(scores, owner, np.concatenate(segment_scores))
        scores /= np.bincount(owner)[:, None]
        return validation_figures(
            self.validation_targets[clips], scores, self.extractor.config.activation
        )

    def _save(self, best: bool) -> None:
        # The model goes first: if the state is lost, the epoch is repeated and gives the same one.
        if best:
            self.extractor.save(self.folder)
        with atomic_write(self.folder / METRICS) as file:
            file.write("".join(json.dumps(record) + "\n" for record in self.history).encode())
        state = {
            "network": self.extractor.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with atomic_write(self.folder / SCRATCH / "state.pt") as file:
            file.write(buffer.getbuffer())

    def restore(self) -> None:
        """Go on where an interrupted training left a state, if it did."""
        path = self.folder / SCRATCH / "state.pt"
        if not path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            self.extractor.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.history = state["history"]
        except Exception as error:  # unpickling garbage raises nearly anything
            raise ModelFolderError(
                f"{path}: not a training's state ({type(error).__name__}); remove"
                f" {path.parent} to begin anew"
            ) from error
        log.info("resuming after epoch %d", len(self.history))


def make_schedule(optimizer: Optimizer, spec: TrainSpec, steps: int) -> lr_scheduler.LRScheduler:
    """The learning rate by optimiser step, for `steps` of them an epoch."""
    total = steps * spec.epochs
    if spec.schedule is Schedule.HALVING:
        return lr_scheduler.StepLR(optimizer, spec.halve_every * steps, gamma=0.5)
    if spec.schedule is Schedule.ONE_CYCLE:
        # The betas stay the recipe's.
        return lr_scheduler.OneCycleLR(
            optimizer, spec.learning_rate, total_steps=total + 1, cycle_momentum=False
        )
    if spec.schedule is Schedule.COSINE:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


def validation_figures(
    wanted: NDArray[np.float32], scores: NDArray[np.float64], activation: Activation
) -> dict[str, float]:
    """Loss, mAP and, for one label a clip, accuracy of clip scores [clips, classes]."""
    likely = np.clip(scores, 1e-7, 1 - 1e-7)
    figures = {}
    if activation is Activation.SOFTMAX:
        loss = -(wanted * np.log(likely)).sum(axis=1).mean()
        figures["validation_accuracy"] = metrics.accuracy(
            wanted.argmax(axis=1), scores.argmax(axis=1)
        )
    else:
        loss = -(wanted * np.log(likely) + (1 - wanted) * np.log(1 - likely)).mean()
    # A random tenth need not hold every class: its figure is over those it holds.
    held = (wanted.sum(axis=0) > 0) & (wanted.sum(axis=0) < len(wanted))
    if held.any():
        figures["validation_map"] = metrics.mean_average_precision(wanted[:, held], scores[:, held])
    return {"validation_loss": float(loss), **figures}


def _best(history: History) -> int:
    return int(min(history, key=lambda record: record["validation_loss"])["epoch"])
