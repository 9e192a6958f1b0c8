"""Figures of merit: numpy in, numbers out."""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata
from sklearn.metrics import average_precision_score, roc_curve

from embedkit.errors import EmbedkitWarning

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

QUERIES = 1000  # of retrieval: each costs a look at all clips


class Measured(NamedTuple):
    """A figure and its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def accuracy(truth: Integers, predicted: Integers) -> float:
    """Share of clips whose predicted class is the true one.

    Args:
        truth: number of the true class of each clip [clips].
        predicted: number of the predicted class [clips].

    Returns:
        the share, in [0, 1].
    """
    return float(np.mean(truth == predicted))


def weighted_auc(targets: Floats, scores: Floats) -> float:
    """Area under the ROC curve per class, averaged by the classes' prevalence (paper, section 3.2).

    Args:
        targets: 0 or 1, [clips, classes]; where it is NaN, a clip is left out for the class.
        scores: [clips, classes].

    Returns:
        In [0, 1]; NaN if no class has both positive and negative clips.
    """
    return _mean(_aucs(targets, scores), np.nansum(targets, axis=0))


def macro_auc(targets: Floats, scores: Floats) -> float:
    """Area under the ROC curve per class, plain mean.

    Args:
        targets: as for `weighted_auc`.
        scores: as for `weighted_auc`.

    Returns:
        in [0, 1]; NaN if no class has both positive and negative clips.
    """
    return _mean(_aucs(targets, scores), np.ones(targets.shape[1]))


def d_prime(targets: Floats, scores: Floats) -> float:
    """Separation of two unit normal distributions that have the macro AUC (Hershey et al., 2017).

    d' = sqrt(2) x the normal quantile of the AUC.

    Args:
        targets: as for `weighted_auc`.
        scores: as for `weighted_auc`.

    Returns:
        d'; NaN if the AUC is.
    """
    return float(np.sqrt(2) * norm.ppf(macro_auc(targets, scores)))


def mean_average_precision(targets: Floats, scores: Floats) -> float:
    """Average precision per class, plain mean (mAP).

    Args:
        targets: as for `weighted_auc`.
        scores: as for `weighted_auc`.

    Returns:
        in [0, 1]; NaN if no class has both positive and negative clips.
    """
    values = np.full(targets.shape[1], np.nan)
    for index in np.flatnonzero(_defined(targets)):
        known = ~np.isnan(targets[:, index])
        values[index] = average_precision_score(targets[known, index], scores[known, index])
    return _mean(values, np.ones(targets.shape[1]))


def retrieval(vectors: Floats, targets: Floats, k: int = 5, seed: int = 0) -> tuple[float, float]:
    """How well each clip finds its like among the others, by cosine.

    If there are more than 1,000 clips, 1,000 drawn at random are the queries.

    Args:
        vectors: [clips, D].
        targets: [clips, classes]; clips that share a label with the query are relevant, and a label
            that is NaN is shared with no clip.
        k: number of neighbours that precision looks at.
        seed: seed of the draw.

    Returns:
        mean average precision, and precision at k, over the queries that have a relevant clip; NaN
        if none has.
    """
    found = [
        (average_precision_score(relevant, scores), at_k)
        for _, relevant, scores, at_k in _searches(vectors, targets, k, seed)
    ]
    if not found:
        return float("nan"), float("nan")
    precisions, shares = np.mean(found, axis=0)
    return float(precisions), float(shares)


def retrieved(vectors: Floats, targets: Floats, seed: int = 0) -> NDArray[np.float64]:
    """The average precision of each clip as a query, whose mean `retrieval` gives.

    Args:
        vectors: as for `retrieval`.
        targets: as for `retrieval`.
        seed: as for `retrieval`.

    Returns:
        float64 [clips]; NaN where a clip was not drawn, or has no relevant clip.
    """
    values = np.full(len(vectors), np.nan)
    for query, relevant, scores, _ in _searches(vectors, targets, 1, seed):
        values[query] = average_precision_score(relevant, scores)
    return values


def _searches(
    vectors: Floats, targets: Floats, k: int, seed: int
) -> Iterator[tuple[int, NDArray[np.bool_], Floats, float]]:
    """Each query, which of the others are relevant, their similarities, and precision at k."""
    targets = np.nan_to_num(targets)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    drawn = np.random.default_rng(seed).permutation(len(unit))[:QUERIES]
    for query in drawn:
        others = np.arange(len(unit)) != query
        relevant = targets[others] @ targets[query] > 0
        if not relevant.any():
            continue
        scores = (unit @ unit[query])[others]
        yield int(query), relevant, scores, relevant[np.argsort(-scores, kind="stable")[:k]].mean()


def equal_error_rate(same: NDArray[np.bool_], scores: Floats) -> tuple[float, float]:
    """The share of mistakes where as many different pairs are accepted as same pairs rejected.

    Args:
        same: which pairs should be accepted [n].
        scores: their scores [n]; high ones are accepted.

    Returns:
        that share, between two thresholds by linear interpolation, and the threshold.
    """
    accepted_wrongly, accepted_rightly, thresholds = roc_curve(
        same, scores, drop_intermediate=False
    )
    gap = accepted_wrongly - (1 - accepted_rightly)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    error = accepted_wrongly[after - 1] + share * np.diff(accepted_wrongly)[after - 1]
    return float(error), float(thresholds[after])


def share_interval(right: Floats, owners: Sequence[str] | None = None) -> tuple[float, float]:
    """95 % interval of the share of what is right, by `wilson`.

    Args:
        right: 1 or 0 for each clip [n], or for each segment.
        owners: for segments, the name of the clip of each [n]. Segments of one clip are no
            independent evidence: they count as many as there are clips, or fewer where a few clips
            have most of the segments (Kish's effective sample size).

    Returns:
        the lower and the upper end.
    """
    numbers = np.arange(len(right))
    if owners is not None:
        _, numbers = np.unique(np.asarray(owners, str), return_inverse=True)
    counts = np.bincount(numbers)
    return wilson(float(np.mean(right)), counts.sum() ** 2 / np.square(counts).sum())


def wilson(share: float, count: float) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, 1927).

    It is never a single point: 66 of 66 say no more than at least 94.5 %. It agrees with scipy's
    `binomtest`, but takes counts that are not whole numbers.

    Args:
        share: the share that was found, in [0, 1].
        count: the number of observations.

    Returns:
        the lower and the upper end.
    """
    squared = norm.ppf(0.975) ** 2 / count
    centre = share + squared / 2
    half = np.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = (centre - half) / (1 + squared), (centre + half) / (1 + squared)
    return max(0.0, float(low)), min(1.0, float(high))


def mcnemar(first: Floats, second: Floats) -> float:
    """How likely two equally good systems differ as much as these (McNemar's exact test).

    Args:
        first: 1 for each clip that the first system names right, else 0 [n].
        second: the same for the second system, on the same clips [n].

    Returns:
        the two-sided p; 1 where they are right on the same clips.
    """
    alone = int(np.sum(first > second)), int(np.sum(second > first))
    return float(binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else 1.0


def resampled_weighted_auc(
    targets: Floats, scores: Floats, resamples: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """`weighted_auc` of clips drawn with replacement, [resamples].

    With one seed the same clips are drawn for every system, so that the difference of two systems'
    arrays is a paired bootstrap.

    Args:
        targets: 0 or 1, [clips, classes].
        scores: [clips, classes].
        resamples: number of draws.
        seed: seed of the draws.

    Returns:
        float64 [resamples]; NaN where a resample leaves the figure undefined. A class that a
            resample lacks is left out.
    """
    count = len(targets)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    times = np.zeros((resamples, count))  # how often each clip was drawn
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    total, weights = np.zeros(resamples), np.zeros(resamples)
    for truth, values in zip(targets.T, scores.T, strict=True):
        order = np.argsort(values, kind="stable")
        _, first = np.unique(values[order], return_index=True)  # equal scores win half
        there = times[:, order]
        positive = np.add.reduceat(there * (truth[order] == 1), first, axis=1)
        negative = np.add.reduceat(there * (truth[order] == 0), first, axis=1)
        wins = (positive * (np.cumsum(negative, axis=1) - negative / 2)).sum(axis=1)
        positives = positive.sum(axis=1)
        defined = (pairs := positives * negative.sum(axis=1)) > 0
        total[defined] += positives[defined] * wins[defined] / pairs[defined]
        weights[defined] += positives[defined]
    found = np.full(resamples, np.nan)
    np.divide(total, weights, out=found, where=weights > 0)
    return found


def _aucs(targets: Floats, scores: Floats) -> NDArray[np.float64]:
    """The area under each class's ROC curve, NaN where it is not defined.

    By ranks (Mann and Whitney, 1947), for all classes at once.
    """
    known = ~np.isnan(targets)
    positive = np.nansum(targets, axis=0)
    pairs = positive * (known.sum(axis=0) - positive)
    ranks = rankdata(np.where(known, scores, np.nan), axis=0, nan_policy="omit")
    wins = np.nansum(ranks * targets, axis=0) - positive * (positive + 1) / 2
    aucs = np.full(len(pairs), np.nan)
    np.divide(wins, pairs, out=aucs, where=_defined(targets))
    return aucs


def _defined(targets: Floats) -> NDArray[np.bool_]:
    """Which classes have both positive and negative clips; warns about the others."""
    defined = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    if not defined.all():
        warnings.warn(
            f"{int((~defined).sum())} of {len(defined)} classes have no positive or no negative"
            " clip and are left out",
            EmbedkitWarning,
            stacklevel=4,
        )
    found: NDArray[np.bool_] = defined
    return found


def _mean(per_class: NDArray[np.float64], weights: Floats) -> float:
    defined = ~np.isnan(per_class)
    if not defined.any():
        return float("nan")
    return float(np.average(per_class[defined], weights=weights[defined]))
