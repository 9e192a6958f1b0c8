"""Evaluates and applies a classifier on the clips, or the segments, of an embedding folder."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from embedkit import metrics
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.method import Method
from embedkit.classifiers.splits import Indices
from embedkit.labels.join import Labelled, Unit
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Figures of what thresholds let through, all float64 [n]; NaN where one lets nothing through.

    Attributes:
        thresholds: a score that is as high is let through.
        precision: share of what is let through that is right.
        recall: share of what is there that is let through.
        f1: their harmonic mean.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of held-out vectors, each by a classifier that was fitted without it.

    Attributes:
        clips: names of the held-out clips [n]; for segments, the names of their clips.
        labels: the classes.
        several_labels: whether a clip may have more than one label.
        targets: float32 [n, classes]; NaN where a vector is left out for a label.
        scores: float64 [n, classes].
    """

    clips: list[str]
    labels: tuple[str, ...]
    several_labels: bool
    targets: NDArray[np.float32]
    scores: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.float64]:
        """1 for each vector [n] whose highest score is its label."""
        right: NDArray[np.bool_] = self.scores.argmax(axis=1) == self.targets.argmax(axis=1)
        return right.astype(np.float64)

    def figures(self) -> dict[str, float | int | tuple[float, float]]:
        """AUCs, mAP and, where clips have one label, accuracy with its 95 % interval."""
        clips = len(set(self.clips))
        figures: dict[str, float | int | tuple[float, float]] = {"clips": clips}
        if clips < len(self.clips):
            figures["segments"] = len(self.clips)
        if not self.several_labels:
            figures["correct"] = int(self.correct.sum())
            figures["accuracy"] = float(self.correct.mean())
            figures["accuracy_interval"] = metrics.share_interval(self.correct, self.clips)
        figures["weighted_auc"] = metrics.weighted_auc(self.targets, self.scores)
        figures["macro_auc"] = metrics.macro_auc(self.targets, self.scores)
        figures["map"] = metrics.mean_average_precision(self.targets, self.scores)
        return figures

    def per_class(self) -> dict[str, dict[str, float | int]]:
        """Vectors, AUC, average precision and, where clips have one label, recall of each label."""
        counted = "segments" if len(set(self.clips)) < len(self.clips) else "clips"
        rows: dict[str, dict[str, float | int]] = {}
        for index, label in enumerate(self.labels):
            known = ~np.isnan(self.targets[:, index])
            truth, scores = self.targets[known][:, [index]], self.scores[known][:, [index]]
            row: dict[str, float | int] = {counted: int(truth.sum())}
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

    def over_thresholds(self) -> Curves:
        """Precision, recall and F1 of all labels together, over a hundred thresholds."""
        known = ~np.isnan(self.targets)
        truth, scores = self.targets[known] > 0, self.scores[known]
        thresholds = np.linspace(0, 1, 101)[1:]
        said = len(scores) - np.searchsorted(np.sort(scores), thresholds)
        right = truth.sum() - np.searchsorted(np.sort(scores[truth]), thresholds)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Curves(
                thresholds=thresholds,
                precision=right / said,
                recall=right / truth.sum(),
                f1=2 * right / (said + truth.sum()),
            )

    def confusion(self) -> NDArray[np.int64]:
        """Vectors by true (rows) and predicted (columns) class [classes, classes]."""
        counts: NDArray[np.int64] = confusion_matrix(
            self.targets.argmax(axis=1),
            self.scores.argmax(axis=1),
            labels=np.arange(len(self.labels)),
        )
        return counts


def evaluate(
    data: Labelled,
    splits: Iterable[tuple[Indices, Indices]],
    method: Method,
    track: Track = untracked,
    show: Callable[[Classifier, Indices], object] = lambda classifier, held: None,
) -> Evaluation:
    """Fit on one side of each split and score the other.

    Args:
        data: the labelled vectors.
        splits: for each split the rows to fit on, and those that are held out.
        method: the method to fit.
        track: shows the progress.
        show: is given each classifier with the rows that were held out.

    Returns:
        the scores of what all splits together hold out.
    """
    held, scores = [], []
    for rows, others in splits:
        held.append(others)
        fitted = Classifier.fit(data, rows, method, fingerprint="", track=track)
        scores.append(fitted.scores(data.vectors[others]))
        show(fitted, others)
    order = np.concatenate(held)
    return Evaluation(
        clips=[data.clips[index] for index in order],
        labels=data.labels,
        several_labels=data.several_labels,
        targets=data.targets[order],
        scores=np.concatenate(scores),
    )


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores of some clips, or segments, all of one length n.

    Attributes:
        clips: names of their clips.
        start_s, end_s: for segments, seconds within the clip, float64 [n]; None for whole clips.
        scores: float64 [n, classes].
    """

    clips: list[str]
    start_s: NDArray[np.float64] | None
    end_s: NDArray[np.float64] | None
    scores: NDArray[np.float64]


def predict(
    table: EmbeddingTable, classifier: Classifier, unit: Unit = Unit.CLIP
) -> Iterator[Predictions]:
    """Scores of all clips or segments of an embedding folder, some thousand at a time.

    Args:
        table: the embedding folder.
        classifier: gives the scores.
        unit: clips or segments.

    Yields:
        the scores.

    Raises:
        EmbedkitError: the classifier was fitted on vectors of another extractor, or of another
            size.
    """
    classifier.check(table)
    if unit is Unit.CLIP:
        for clips, vectors in table.clip_batches():
            yield Predictions(
                clips=clips, start_s=None, end_s=None, scores=classifier.scores(vectors)
            )
        return
    for rows in table.batches():
        yield Predictions(
            clips=rows.clips.tolist(),
            start_s=rows.start_s,
            end_s=rows.end_s,
            scores=classifier.scores(rows.embeddings),
        )
