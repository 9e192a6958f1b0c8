"""Figures of merit: numpy in, numbers out."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, roc_auc_score

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def accuracy(truth: Integers, predicted: Integers) -> float:
    """Share of clips whose predicted class is the true one; both [clips]."""
    return float(np.mean(truth == predicted))


def weighted_auc(targets: Floats, scores: Floats) -> float:
    """Area under the ROC curve per class, averaged by the classes' prevalence (paper, section 3.2).

    Args:
        targets: 0 or 1, [clips, classes].
        scores: [clips, classes].

    Returns:
        In [0, 1]; NaN if no class has both positive and negative clips.
    """
    per_class = _per_class(roc_auc_score, targets, scores)
    return _mean(per_class, targets.sum(axis=0))


def macro_auc(targets: Floats, scores: Floats) -> float:
    """Area under the ROC curve per class, plain mean; arguments as weighted_auc."""
    return _mean(_per_class(roc_auc_score, targets, scores), np.ones(targets.shape[1]))


def mean_average_precision(targets: Floats, scores: Floats) -> float:
    """Average precision per class, plain mean (mAP); arguments as weighted_auc."""
    return _mean(_per_class(average_precision_score, targets, scores), np.ones(targets.shape[1]))


def retrieval(vectors: Floats, labels: Integers, k: int = 5) -> tuple[float, float]:
    """Each clip as a query among the others, by cosine.

    Args:
        vectors: [clips, D].
        labels: [clips]; clips of the query's label are relevant.
        k: how many neighbours precision looks at.

    Returns:
        mean average precision and precision at k over the queries that have a relevant clip;
        NaN if none has.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    precisions, at_k = [], []
    for query in range(len(labels)):
        others = np.arange(len(labels)) != query
        relevant = labels[others] == labels[query]
        if not relevant.any():
            continue
        scores = similarity[query, others]
        precisions.append(average_precision_score(relevant, scores))
        at_k.append(relevant[np.argsort(-scores, kind="stable")[:k]].mean())
    if not precisions:
        return float("nan"), float("nan")
    return float(np.mean(precisions)), float(np.mean(at_k))


def interval(values: Floats, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap percentile interval of the mean of `values` [clips] over clips."""
    if len(values) < 2 or np.ptp(values) == 0:
        mean = float(np.mean(values))
        return mean, mean  # every resample is the same
    found = bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=9999,
        batch=max(1, 10_000_000 // len(values)),  # 80 MB at a time
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _per_class(
    figure: Callable[[Floats, Floats], float], targets: Floats, scores: Floats
) -> NDArray[np.float64]:
    """The figure of each class, NaN where all clips are positive or none is."""
    positive = targets.sum(axis=0)
    defined = (positive > 0) & (positive < len(targets))
    if not defined.all():
        warnings.warn(
            f"{int((~defined).sum())} of {len(defined)} classes have no positive or no negative"
            " clip and are left out",
            stacklevel=3,
        )
    return np.array(
        [
            figure(targets[:, index], scores[:, index]) if defined[index] else np.nan
            for index in range(targets.shape[1])
        ]
    )


def _mean(per_class: NDArray[np.float64], weights: Floats) -> float:
    defined = ~np.isnan(per_class)
    if not defined.any():
        return float("nan")
    return float(np.average(per_class[defined], weights=weights[defined]))
