"""How many marked events a classifier's detections find, and how many detections are false."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.detect import Criteria, detect
from embedkit.classifiers.evaluate import Predictions
from embedkit.classifiers.splits import Indices
from embedkit.classifiers.tracks import Span
from embedkit.datasets.stretches import TOLERANCE_S, Sign, Stretch
from embedkit.labels.stretches import unite
from embedkit.metrics import Measured
from embedkit.store import EmbeddingTable

RESAMPLES = 1000  # of the recordings

Seconds = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found of one label in one recording.

    Attributes:
        clip: the recording.
        label: the label.
        seconds: length of the recording.
        events: number of marked events; events that touch each other are one.
        found: number of events that a detection overlaps.
        detections: number of detections, without those that only overlap uncertain marks.
        false: number of detections that overlap no event.
    """

    clip: str
    label: str
    seconds: float
    events: int
    found: int
    detections: int
    false: int


def outcomes(
    stretches: Iterable[Stretch],
    detections: Iterable[Span],
    seconds: Mapping[str, float],
    labels: Collection[str],
) -> list[Outcome]:
    """Compare detections with what is marked, by recording and label.

    Args:
        stretches: the marks; their clips are named as in `seconds`.
        detections: detections at one threshold.
        seconds: the length of each recording that is looked at; others do not count.
        labels: the labels that are looked at.

    Returns:
        one outcome for each recording and label, sorted by both.
    """
    marked: dict[tuple[str, str, Sign], list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        marked[stretch.clip, stretch.label, stretch.sign].append(stretch)
    heard: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for span in detections:
        heard[span.clip, span.label].append((span.start_s, span.end_s))
    found = []
    for clip in sorted(seconds):
        for label in sorted(labels):
            events = unite(marked[clip, label, Sign.POSITIVE])
            doubtful = unite(marked[clip, label, Sign.UNCERTAIN])
            spans = np.array(sorted(heard[clip, label]), np.float64).reshape(-1, 2)
            right = _overlap(spans, events)
            counted = right | ~_overlap(spans, doubtful)
            found.append(
                Outcome(
                    clip=clip,
                    label=label,
                    seconds=seconds[clip],
                    events=len(events),
                    found=int(_overlap(events, spans).sum()),
                    detections=int(counted.sum()),
                    false=int((counted & ~right).sum()),
                )
            )
    return found


def _overlap(some: Seconds, others: Seconds) -> NDArray[np.bool_]:
    """Which of some spans [n, 2] overlap one of others [m, 2]; both are sorted and apart."""
    # To share a moment is not to overlap, but for what is itself a moment.
    is_point = (some[:, 1] - some[:, 0] <= TOLERANCE_S) * 2 * TOLERANCE_S
    before = np.searchsorted(others[:, 1], some[:, 0] + TOLERANCE_S - is_point, side="right")
    begun = np.searchsorted(others[:, 0], some[:, 1] - TOLERANCE_S + is_point, side="left")
    found: NDArray[np.bool_] = begun > before
    return found


@dataclass(frozen=True, kw_only=True)
class EventFigures:
    """Sums of some outcomes; the intervals are of a bootstrap over recordings.

    Attributes:
        recordings: number of recordings; one alone has no interval.
        hours: hours of their sound.
        events: number of marked events.
        found: number of events that were found.
        detections: as in Outcome.
        false: number of detections that are false.
        recall: share of the events that are found.
        precision: share of the detections that are right.
        false_an_hour: false detections for an hour of sound.
    """

    recordings: int
    hours: float
    events: int
    found: int
    detections: int
    false: int
    recall: Measured
    precision: Measured
    false_an_hour: Measured


def summarise(some: Sequence[Outcome], seed: int = 0) -> EventFigures:
    """Add up outcomes of one label or of several.

    Args:
        some: the outcomes.
        seed: seed of the bootstrap.

    Returns:
        the sums with their intervals.
    """
    clips = sorted({outcome.clip for outcome in some})
    number = {clip: index for index, clip in enumerate(clips)}
    names = ("events", "found", "detections", "false")
    counts = np.zeros((len(clips), len(names) + 1))
    for outcome in some:
        counts[number[outcome.clip], :-1] += [getattr(outcome, name) for name in names]
        counts[number[outcome.clip], -1] = outcome.seconds / 3600
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), RESAMPLES)
    total, drawn = counts.sum(axis=0), weights @ counts

    def figure(of: Callable[[Seconds], Seconds]) -> Measured:
        with np.errstate(invalid="ignore", divide="ignore"):
            value, values = float(of(total)), of(drawn.T)
        values = values[np.isfinite(values)]
        if len(clips) < 2 or not len(values) or not np.isfinite(value):
            return Measured(value if np.isfinite(value) else np.nan, np.nan, np.nan)
        low, high = np.percentile(values, [2.5, 97.5])
        return Measured(value, float(low), float(high))

    events, found, detections, false, hours = range(5)
    return EventFigures(
        recordings=len(clips),
        hours=float(total[hours]),
        **{name: int(total[column]) for column, name in enumerate(names)},
        recall=figure(lambda sums: sums[found] / sums[events]),
        precision=figure(lambda sums: 1 - sums[false] / sums[detections]),
        false_an_hour=figure(lambda sums: sums[false] / sums[hours]),
    )


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Runs over the whole recordings that a classifier was fitted without (`show` of `evaluate`).

    Attributes:
        table: the collection.
        clips: the recording of each labelled vector.
        stretches: the marks.
        criteria: what becomes a detection.
        outcomes: what was found so far.
    """

    table: EmbeddingTable
    clips: Sequence[str]
    stretches: Sequence[Stretch]
    criteria: Criteria
    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self, classifier: Classifier, held: Indices) -> None:
        """Detect in the recordings of the vectors that are held out.

        Args:
            classifier: was fitted without them.
            held: numbers of the held-out vectors.
        """
        clips = {self.clips[row] for row in held}
        journal = self.table.journal_table()
        lengths = zip(journal["clip"].to_pylist(), journal["duration_s"].to_pylist(), strict=True)
        seconds = {clip: length for clip, length in lengths if clip in clips}
        spans = detect_in(self.table, classifier, clips, self.criteria)
        self.outcomes.extend(outcomes(self.stretches, spans, seconds, classifier.labels))


def detect_in(
    table: EmbeddingTable, classifier: Classifier, clips: Collection[str], criteria: Criteria
) -> Iterator[Span]:
    """Detections in some recordings, by a classifier that was fitted on others.

    Args:
        table: the collection.
        classifier: gives the scores.
        clips: names of the recordings.
        criteria: what becomes a detection.

    Returns:
        the detections.
    """

    def batches() -> Iterator[Predictions]:
        for rows in table.batches():
            mine = np.array([clip in clips for clip in rows.clips], bool)
            if mine.any():
                yield Predictions(
                    clips=rows.clips[mine].tolist(),
                    start_s=rows.start_s[mine],
                    end_s=rows.end_s[mine],
                    scores=classifier.scores(rows.embeddings[mine]),
                )

    return detect(batches(), classifier.labels, criteria)
