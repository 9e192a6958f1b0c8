"""Fit, evaluate and apply a classifier to the clips of an embedding folder."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from embedkit import metrics
from embedkit.backends.labels import Labelled
from embedkit.backends.logistic import LogisticClassifier
from embedkit.backends.splits import Indices
from embedkit.errors import EmbedkitError
from embedkit.store import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of held-out clips, each by a classifier that was fitted without it.

    Attributes:
        clips: the held-out clips [n].
        labels: the classes.
        several_labels: whether a clip may have more than one.
        targets: float32 [n, classes].
        scores: float64 [n, classes].
    """

    clips: list[str]
    labels: tuple[str, ...]
    several_labels: bool
    targets: NDArray[np.float32]
    scores: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.float64]:
        """1 for each clip [n] whose highest score is its label."""
        right: NDArray[np.bool_] = self.scores.argmax(axis=1) == self.targets.argmax(axis=1)
        return right.astype(np.float64)

    def figures(self) -> dict[str, float | int | tuple[float, float]]:
        """AUCs, mAP, and where clips have one label accuracy with its 95 % interval."""
        figures: dict[str, float | int | tuple[float, float]] = {"clips": len(self.clips)}
        if not self.several_labels:
            figures["correct"] = int(self.correct.sum())
            figures["accuracy"] = float(self.correct.mean())
            figures["accuracy_interval"] = metrics.interval(self.correct)
        figures["weighted_auc"] = metrics.weighted_auc(self.targets, self.scores)
        figures["macro_auc"] = metrics.macro_auc(self.targets, self.scores)
        figures["map"] = metrics.mean_average_precision(self.targets, self.scores)
        return figures

    def per_class(self) -> dict[str, dict[str, float | int]]:
        """For each label its clips, AUC, average precision and, with one label a clip, recall."""
        rows: dict[str, dict[str, float | int]] = {}
        for index, label in enumerate(self.labels):
            truth, scores = self.targets[:, [index]], self.scores[:, [index]]
            row: dict[str, float | int] = {"clips": int(truth.sum())}
            if 0 < truth.sum() < len(truth):
                row["auc"] = metrics.macro_auc(truth, scores)
                row["ap"] = metrics.mean_average_precision(truth, scores)
            else:
                row["auc"] = row["ap"] = float("nan")
            if not self.several_labels:
                mine = truth[:, 0] > 0
                row["recall"] = float(self.correct[mine].mean()) if mine.any() else float("nan")
            rows[label] = row
        return rows

    def confusion(self) -> NDArray[np.int64]:
        """Clips by true (rows) and predicted (columns) class [classes, classes]."""
        counts: NDArray[np.int64] = confusion_matrix(
            self.targets.argmax(axis=1),
            self.scores.argmax(axis=1),
            labels=np.arange(len(self.labels)),
        )
        return counts


def fit(data: Labelled, rows: Indices, *, fingerprint: str, c: float) -> LogisticClassifier:
    """Fit a classifier on some of the clips."""
    return LogisticClassifier.fit(
        data.vectors[rows],
        data.targets[rows],
        labels=data.labels,
        several_labels=data.several_labels,
        fingerprint=fingerprint,
        c=c,
    )


def evaluate(data: Labelled, splits: Iterable[tuple[Indices, Indices]], *, c: float) -> Evaluation:
    """Fit on one side of each split and score the other; held-out clips of all splits together."""
    held, scores = [], []
    for rows, others in splits:
        held.append(others)
        scores.append(fit(data, rows, fingerprint="", c=c).scores(data.vectors[others]))
    order = np.concatenate(held)
    return Evaluation(
        clips=[data.clips[index] for index in order],
        labels=data.labels,
        several_labels=data.several_labels,
        targets=data.targets[order],
        scores=np.concatenate(scores),
    )


def predict(
    table: EmbeddingTable, classifier: LogisticClassifier
) -> tuple[list[str], NDArray[np.float64]]:
    """Scores of all clips of an embedding folder.

    Returns:
        clip names [n] and scores [n, classes].

    Raises:
        EmbedkitError: the classifier was fitted on vectors of another extractor.
    """
    if classifier.fingerprint != table.provenance.fingerprint:
        raise EmbedkitError(
            f"{table.folder}: its vectors are of extractor {table.provenance.fingerprint[:12]}, the"
            f" classifier was fitted on those of {classifier.fingerprint[:12]}; extract with that"
            " model, or fit anew"
        )
    clips, vectors = table.clip_vectors()
    return clips, classifier.scores(vectors)
