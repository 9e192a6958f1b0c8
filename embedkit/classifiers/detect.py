"""Finds the stretches of a collection in which a classifier hears its labels."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.evaluate import Predictions
from embedkit.classifiers.tracks import ROUNDING_S, Span, join, span_of


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What becomes a detection.

    Attributes:
        thresholds: the score that is enough, by label; other labels are not looked for.
        gap_s: detections of one label that are at most this many seconds apart are joined.
        least_s: detections that are shorter than this are left out.
        top_per_file: the most detections of each label in each file; those of the highest scores.
        best_only: a segment only has the label of its highest score.
    """

    thresholds: Mapping[str, float]
    gap_s: float = 0.0
    least_s: float = 0.0
    top_per_file: int | None = None
    best_only: bool = False


def detect(
    batches: Iterable[Predictions], labels: tuple[str, ...], criteria: Criteria
) -> Iterator[Span]:
    """Stretches over a threshold: neighbouring segments of one label are one, with the best score.

    Where segments overlap, each stands for its own part of the clip (see `own_parts`), so that a
    smaller hop gives finer places. A detection goes from the beginning of the first part to the end
    of the last.

    Args:
        batches: scores of segments; those of a clip follow one another by their start.
        labels: labels of the scores.
        criteria: what becomes a detection.

    Yields:
        detections, clip by clip in the order of the batches, and by time within a clip. Memory
            holds a batch and one clip's detections.
    """
    for _, mine in groupby(_over(own_parts(batches), labels, criteria), key=lambda span: span.clip):
        found: Iterable[Span] = (
            span
            for span in join(mine, criteria.gap_s)
            if span.end_s - span.start_s >= criteria.least_s - ROUNDING_S
        )
        if criteria.top_per_file is not None:
            found = strongest(found, criteria.top_per_file)
        yield from sorted(found)


def silence(
    batches: Iterable[Predictions],
    heard: Callable[[Sequence[str], NDArray[np.float64]], NDArray[np.bool_]],
) -> Iterator[Predictions]:
    """The same segments, with scores that reach no threshold where nothing is to be detected.

    Args:
        batches: scores of segments.
        heard: is given names of clips and starts of segments [n], and says which segments stay as
            they are, bool [n].

    Yields:
        the batches.
    """
    for batch in batches:
        fits = heard(batch.clips, _given(batch.start_s))
        yield replace(batch, scores=np.where(fits[:, None], batch.scores, -np.inf))


def strongest(spans: Iterable[Span], count: int) -> list[Span]:
    """The detections of each label with the highest scores; no more are held in memory.

    Args:
        spans: detections.
        count: the most of each label.

    Returns:
        the detections by clip and time.
    """
    kept: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        mine = kept[span.label]
        mine.append(span)
        if len(mine) > 2 * count + 100:
            kept[span.label] = heapq.nsmallest(count, mine, key=_rank)
    return sorted(
        span for mine in kept.values() for span in heapq.nsmallest(count, mine, key=_rank)
    )


def _rank(span: Span) -> tuple[float, Span]:
    return -span.score, span


def own_parts(batches: Iterable[Predictions]) -> Iterator[Predictions]:
    """The same scores, with each segment cut to its own part of the clip.

    The common part of two segments that overlap is halved between them. The parts of a clip follow
    one another without a gap; segments that do not overlap stay as they are.
    """
    clips: list[str] = []
    start_s = end_s = np.zeros(0)
    scores: NDArray[np.float64] | None = None
    for batch in batches:
        # The last row of the batch before is held: its successor decides on its end. Its start is
        # its own already.
        clips = [*clips, *batch.clips]
        start_s = np.concatenate([start_s, _given(batch.start_s)])
        end_s = np.concatenate([end_s, _given(batch.end_s)])
        scores = batch.scores if scores is None else np.concatenate([scores, batch.scores])
        names = np.array(clips, object)
        first = np.flatnonzero((names[1:] == names[:-1]) & (start_s[1:] < end_s[:-1]))
        middles = (end_s[first] + start_s[first + 1]) / 2
        end_s[first] = start_s[first + 1] = middles
        yield Predictions(
            clips=clips[:-1], start_s=start_s[:-1], end_s=end_s[:-1], scores=scores[:-1]
        )
        clips, start_s, end_s, scores = clips[-1:], start_s[-1:], end_s[-1:], scores[-1:]
    if scores is not None:
        yield Predictions(clips=clips, start_s=start_s, end_s=end_s, scores=scores)


def _given(times: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert times is not None, "detections are of segments"
    return times


def _over(
    batches: Iterable[Predictions], labels: tuple[str, ...], criteria: Criteria
) -> Iterator[Span]:
    """For each row the labels that reach their thresholds."""
    least = np.array([criteria.thresholds.get(label, np.inf) for label in labels])
    for batch in batches:
        over = batch.scores >= least
        if criteria.best_only:
            over &= np.arange(len(labels)) == batch.scores.argmax(axis=1)[:, None]
        for row, index in np.argwhere(over):
            yield span_of(batch, int(row), int(index), labels)
