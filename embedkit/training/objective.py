"""What a training teaches, and how what was learned is measured: labels, or another's vectors."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from embedkit import metrics, scoring
from embedkit.config import Activation, Loss, TargetSpec
from embedkit.training.features import Features

FAR = 8.0  # deviations from the mean, beyond which a target is an outlier and is cut off


class Objective(Protocol):
    """What the outputs of a network should be.

    Attributes:
        training, validation: features of the segments.
    """

    training: Features
    validation: Features

    def wanted(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """The targets of training segments, by number [n]: float32 [n, outputs]."""

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Loss of the outputs of one head, summed over segments.

        Args:
            outputs: [B, outputs].
            wanted: [B, outputs].

        Returns:
            a scalar.
        """

    def chances(self, clips: NDArray[np.int64]) -> NDArray[np.float64]:
        """How likely balanced sampling draws each of these training clips, by number [n]."""

    def figures(self, outputs: Iterable[Tensor]) -> dict[str, float]:
        """Validation loss and other figures of the activated outputs of all validation segments.

        Args:
            outputs: float32 [B, outputs], batch after batch.
        """


class Classification:
    """The labels of a segment's clip."""

    def __init__(
        self,
        sets: Sequence[Features],
        clip_targets: Sequence[NDArray[np.float32]],
        activation: Activation,
    ) -> None:
        """Take the labels of training and validation clips.

        Args:
            sets: features of the training and the validation clips.
            clip_targets: labels of the clips of each set [clips, classes].
            activation: turns outputs into scores.
        """
        self.training, self.validation = sets
        self._targets, self._validation_targets = clip_targets
        self._activation = activation

    def wanted(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """1 for each label of the clip, else 0."""
        return self._targets[self.training.clip[segments]]

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy; the mean over classes where each class is decided by itself.

        Args:
            outputs: [B, classes].
            wanted: [B, classes].

        Returns:
            the sum over segments.
        """
        if self._activation is Activation.SOFTMAX:
            return F.cross_entropy(outputs, wanted, reduction="sum")
        loss = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="sum")
        return loss / wanted.shape[1]

    def chances(self, clips: NDArray[np.int64]) -> NDArray[np.float64]:
        """Makes every label equally likely."""
        wanted = self._targets[clips].astype(np.float64)
        chance: NDArray[np.float64] = wanted @ (1 / np.maximum(wanted.sum(axis=0), 1))
        return chance

    def figures(self, outputs: Iterable[Tensor]) -> dict[str, float]:
        """Figures of clips, scored as `evaluate` scores them."""
        clips, owner = np.unique(self.validation.clip, return_inverse=True)
        total = scoring.no_sums(len(clips), self._targets.shape[1])
        start = 0
        for batch in outputs:
            here = slice(start, start + len(batch))
            scoring.add(total, batch.cpu().numpy(), self.validation.seconds[here], owner[here])
            start = here.stop
        wanted = self._validation_targets[clips]
        return validation_figures(wanted, scoring.means(total), self._activation)


class Distillation:
    """The vectors that other extractors have for a segment, side by side and standardised."""

    def __init__(
        self,
        sets: Sequence[Features],
        vectors: Sequence[Sequence[NDArray[np.floating]]],
        targets: Sequence[TargetSpec],
        groups: NDArray[np.int64],
    ) -> None:
        """Take the vectors of training and validation segments.

        Args:
            sets: features of the training and the validation segments.
            vectors: for each set and target, the vectors of its segments [segments, D].
            targets: settings of the targets.
            groups: number of each training clip's group [clips]; for balanced sampling all groups
                are equally likely, and so are the segments of a group.
        """
        self.training, self.validation = sets
        self._targets = targets
        self._vectors, self._validation_vectors = vectors
        self._groups = groups
        self._scales = [_mean_and_deviation(values) for values in self._vectors]
        ends = np.cumsum([target.size for target in targets]).tolist()
        self._parts = [slice(*ends_of) for ends_of in pairwise([0, *ends])]

    def wanted(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """The standardised vectors of all targets."""
        return self._standardised(self._vectors, segments)

    def _standardised(
        self, vectors: Sequence[NDArray[np.floating]], segments: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        parts = [
            ((values[segments].astype(np.float32) - mean) / deviation).clip(-FAR, FAR)
            for values, (mean, deviation) in zip(vectors, self._scales, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Mean over targets by weight: mean squared error, or 1 - cosine.

        Args:
            outputs: [B, outputs].
            wanted: [B, outputs].

        Returns:
            the sum over segments.
        """
        losses = [
            target.weight * _loss(target.loss, outputs[:, part], wanted[:, part])
            for target, part in zip(self._targets, self._parts, strict=True)
        ]
        return torch.stack(losses).sum() / sum(target.weight for target in self._targets)

    def chances(self, clips: NDArray[np.int64]) -> NDArray[np.float64]:
        """Makes every group equally likely."""
        segments = np.bincount(self.training.clip, minlength=len(self._groups))
        of_group = np.bincount(self._groups, segments)
        chance: NDArray[np.float64] = segments[clips] / of_group[self._groups[clips]]
        return chance

    def figures(self, outputs: Iterable[Tensor]) -> dict[str, float]:
        """Loss, and for each target the share of its variance that the outputs explain (R2)."""
        loss, start = 0.0, 0
        residual = np.zeros(len(self._targets))
        moments = [np.zeros((2, target.size)) for target in self._targets]
        for batch in outputs:
            segments = np.arange(start, start + len(batch))
            start += len(batch)
            wanted = self._standardised(self._validation_vectors, segments)
            found = batch.cpu()
            loss += float(self.loss(found, torch.from_numpy(wanted)))
            missed = np.square(found.numpy() - wanted, dtype=np.float64)
            for number, part in enumerate(self._parts):
                residual[number] += missed[:, part].sum()
                there = wanted[:, part]
                moments[number] += there.sum(axis=0), np.square(there).sum(axis=0)
        figures = {"validation_loss": loss / start}
        for target, left, (total, squares) in zip(self._targets, residual, moments, strict=True):
            variance = float((squares - total**2 / start).sum())
            figures[f"validation_r2_{target.name}"] = (
                1 - float(left) / variance if variance else 0.0
            )
        return figures


def _mean_and_deviation(values: NDArray[np.floating]) -> tuple[NDArray[np.float32], ...]:
    mean = values.mean(axis=0, dtype=np.float64)
    deviation = values.std(axis=0, dtype=np.float64)
    # A number that never changes is wanted as 0.
    deviation[deviation < 1e-6 * max(1e-30, deviation.max())] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def _loss(kind: Loss, outputs: Tensor, wanted: Tensor) -> Tensor:
    if kind is Loss.COSINE:
        return (1 - F.cosine_similarity(outputs, wanted, dim=1)).sum()
    return F.mse_loss(outputs, wanted, reduction="sum") / wanted.shape[1]


def validation_figures(
    wanted: NDArray[np.float32], scores: NDArray[np.float64], activation: Activation
) -> dict[str, float]:
    """Loss, mAP and, where clips have one label, accuracy of clip scores.

    Args:
        wanted: labels of the clips [clips, classes].
        scores: scores of the clips [clips, classes].
        activation: turns outputs into scores.

    Returns:
        figures by name.
    """
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
