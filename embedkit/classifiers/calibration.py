"""How likely a score is right, and how much of a sound a collection has."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from embedkit.metrics import Measured, wilson

PRECISIONS = (0.9, 0.95, 0.99)
MOST_BINS = 10
RESAMPLES = 1000
STEPS = 100  # of Newton's method, at most
CLOSEST = 1e-9  # of a score to 0 and 1: beyond, its logit says no more

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Halves of a collection by score: the lower half, the lower half of the rest, and so on.

    The few high scores, among which detections are, so get as many bins as all others (Navine et
    al., 2024, arXiv 2402.15360).

    Attributes:
        edges: scores [bins - 1], rising; a score that equals an edge is above it.
        counts: number of scores of the collection in each bin, int64 [bins].
    """

    edges: Floats
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Floats, per_bin: int) -> Self:
        """Make the bins of scores.

        Args:
            scores: all scores of the collection [n].
            per_bin: the fewest scores of the last bin, if all scores differ.

        Returns:
            the bins.
        """
        most = int(np.log2(max(1, len(scores) / per_bin))) + 1
        shares = 1 - 0.5 ** np.arange(1, min(most, MOST_BINS))
        edges = np.quantile(scores, shares, method="higher")
        above = scores[scores > scores.min()]  # the lowest score, however frequent, is one bin
        edges = np.unique(edges.clip(above.min())) if len(above) else np.zeros(0)
        return cls(edges=edges, counts=np.bincount(_place(scores, edges), minlength=len(edges) + 1))

    def place(self, scores: Floats) -> NDArray[np.int64]:
        """The bin of each score [n]."""
        return _place(scores, self.edges)


def _place(scores: Floats, edges: Floats) -> NDArray[np.int64]:
    return np.searchsorted(edges, scores, side="right").astype(np.int64)


def density(bins: Bins, scores: Floats, right: NDArray[np.bool_]) -> Measured:
    """The share of a collection's segments that have a sound, whatever their scores.

    It is the share that is right in each bin, weighted by the bin's size. However bad the scores
    are, it has no bias if what was reviewed was drawn at random within the bins. The interval is
    made of the bins' Wilson intervals (Zou & Donner, 2008: the variances recovered from them add
    up). Its upper end assumes that a higher score is right no less often: otherwise ten segments
    without the sound, from the lower half of a collection, could not show that it is rare there.

    Args:
        bins: bins of the collection.
        scores: scores of the reviewed segments [n].
        right: whether each has the sound [n].

    Returns:
        the share; NaN where a bin was not reviewed.
    """
    place = bins.place(scores)
    done = np.bincount(place, minlength=len(bins.counts))
    if not done.all():
        return Measured(np.nan, np.nan, np.nan)
    hits = np.bincount(place, right.astype(np.float64), len(bins.counts))
    shares, weights = hits / done, bins.counts / bins.counts.sum()
    low, high = np.array([wilson(*each) for each in zip(shares, done, strict=True)]).T
    # The mean of a bin and of those above it is no less than the bin's own.
    for number in range(len(shares)):
        pooled = np.cumsum(hits[number:]), np.cumsum(done[number:])
        above = [wilson(some / count, count)[1] for some, count in zip(*pooled, strict=True)]
        high[number] = max(shares[number], min(above))
    value = float(weights @ shares)
    below = float(np.linalg.norm(weights * (shares - low)))
    above_ = float(np.linalg.norm(weights * (high - shares)))
    return Measured(value, max(0.0, value - below), min(1.0, value + above_))


def thresholds(
    bins: Bins, scores: Floats, right: NDArray[np.bool_], seed: int = 0
) -> dict[float, Measured]:
    """Scores from which on a detection is right with a probability of 90, 95 and 99 %.

    They come from a logistic curve of right over the score's logit (Wood & Kahl, 2024), by Firth's
    penalised likelihood (1993), which is finite where a score separates right from wrong. A
    detection with exactly that score is right with that probability, and all detections above it
    together are right more often. The interval is of a bootstrap within the bins.

    Args:
        bins: bins in which the reviewed segments were drawn.
        scores: scores of the reviewed segments [n].
        right: whether each is right [n].
        seed: seed of the bootstrap.

    Returns:
        scores by probability; infinite where no score is enough.
    """
    rng = np.random.default_rng(seed)
    place = bins.place(scores)
    weights = np.ones((RESAMPLES + 1, len(scores)))  # the first is what was reviewed itself
    for number in np.unique(place):
        mine = np.flatnonzero(place == number)
        chances = np.full(len(mine), 1 / len(mine))
        weights[1:, mine] = rng.multinomial(len(mine), chances, RESAMPLES)
    intercepts, slopes = fit_curves(_logit(scores), right, weights)
    found = {}
    for precision in PRECISIONS:
        reached = _reach(intercepts, slopes, precision, _logit(scores))
        low, high = np.percentile(reached[1:], [2.5, 97.5], method="nearest")
        found[precision] = Measured(*map(float, (reached[0], low, high)))
    return found


def _reach(intercepts: Floats, slopes: Floats, precision: float, logits: Floats) -> Floats:
    """The score at which each curve reaches a probability, as far as scores were reviewed."""
    wanted = logit(precision)
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = expit((wanted - intercepts) / slopes)
    # A curve that falls says nothing of higher scores: either all of them will do, or none.
    flat = np.where(intercepts + slopes * logits.max() >= wanted, 0.0, np.inf)
    found: Floats = np.where(slopes > 0, reached, flat)
    found[found > expit(logits.max())] = np.inf
    return found


def fit_curves(values: Floats, right: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Logistic curves of one number, by Firth's penalised likelihood.

    Args:
        values: the number [n].
        right: whether it was right [n].
        weights: how often each counts, in each of the curves [curves, n].

    Returns:
        intercepts and slopes [curves].
    """
    middle, scale = values.mean(), values.std() or 1.0
    design = np.stack([np.ones(len(values)), (values - middle) / scale], axis=1)
    found = np.zeros((len(weights), 2))
    for _ in range(STEPS):
        chance = expit(found @ design.T)
        spread = chance * (1 - chance)
        information = np.einsum("bn,ni,nj->bij", weights * spread, design, design)
        information += 1e-9 * np.eye(2)  # of a resample of one value alone there is no slope
        inverse = np.linalg.inv(information)
        leverage = spread * np.einsum("ni,bij,nj->bn", design, inverse, design)
        slope = (weights * (right - chance + leverage * (0.5 - chance))) @ design
        step = np.einsum("bij,bj->bi", inverse, slope)
        # Far from its end Newton's method may leap too far.
        step *= np.minimum(1, 2 / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
        found += step
        if np.abs(step).max() < 1e-9:
            break
    return found[:, 0] - found[:, 1] * middle / scale, found[:, 1] / scale


def _logit(scores: Floats) -> Floats:
    found: Floats = logit(np.clip(scores, CLOSEST, 1 - CLOSEST))
    return found
