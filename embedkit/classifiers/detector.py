"""A classifier that is fitted on marks and kept in a folder, with its review and its detections.

It does what `classify fit --segments`, `review` and `detect` do one after another, for a person who
marks, fits, listens and detects in turn. The folder is that of `classify fit`, and the sheets are
those of `review`, so that the command line can go on at any point.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers import review as reviewing
from embedkit.classifiers.active import METHOD
from embedkit.classifiers.classifier import SETTINGS, Classifier
from embedkit.classifiers.cuts import safe_name
from embedkit.classifiers.detect import Criteria, detect, silence
from embedkit.classifiers.evaluate import predict
from embedkit.classifiers.review import Review
from embedkit.classifiers.thresholds import digest_of, store
from embedkit.classifiers.tracks import Span
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import DatasetError, UsageError, choices
from embedkit.field.filters import FieldFilter
from embedkit.labels.join import Unit, join_labels
from embedkit.store import EmbeddingTable

BINS = 50  # of a histogram


@dataclass(frozen=True, kw_only=True)
class KnownLabel:
    """What is known about a label.

    Attributes:
        marked: number of stretches by sign.
        histogram: number of segments with a score in each fiftieth from 0 to 1 [50]; None where the
            label was not fitted.
    """

    marked: dict[Sign, int]
    histogram: list[int] | None


class Detector:
    """The classifier of a collection's marks.

    Attributes:
        table: the collection.
        marks: the table of labels with times that it is fitted on.
        folder: the classifier's folder, which is there once it has been fitted.
    """

    def __init__(self, table: EmbeddingTable, marks: Path, folder: Path) -> None:
        """Open the detector of a collection; an earlier fit is used.

        Args:
            table: the collection.
            marks: the table of labels with times that it is fitted on.
            folder: the classifier's folder.
        """
        self.table, self.marks, self.folder = table, marks, folder
        self._lock = threading.Lock()
        self._loaded: tuple[str, Classifier] | None = None
        self._scores: dict[tuple[str, str], NDArray[np.float64]] = {}

    @property
    def is_fitted(self) -> bool:
        """Whether there is a classifier of this collection's vectors."""
        return (self.folder / SETTINGS).exists()

    @property
    def classifier(self) -> Classifier:
        """The classifier as it is fitted now.

        Raises:
            UsageError: it has not been fitted.
            EmbedkitError: it is damaged, or was fitted on other vectors.
        """
        if not self.is_fitted:
            raise UsageError("nothing is fitted yet: mark some stretches, and fit")
        with self._lock:
            fit = digest_of(self.folder)
            if self._loaded is None or self._loaded[0] != fit:
                fitted = Classifier.load(self.folder)
                fitted.check(self.table)
                self._loaded, self._scores = (fit, fitted), {}
            return self._loaded[1]

    def fit(self) -> Classifier:
        """Fit on the marks as they are.

        Raises:
            DatasetError: there are no marks, or nothing can be learned from them.
        """
        data = join_labels(self.table, str(self.marks), Unit.SEGMENT)
        every = np.arange(len(data.clips))
        fingerprint = self.table.provenance.fingerprint
        fitted = Classifier.fit(data, every, METHOD, fingerprint=fingerprint)
        with self._lock:
            fitted.save(self.folder)
            self._loaded = None
        return fitted

    def heard(self, stretches: Iterable[Stretch]) -> dict[str, KnownLabel]:
        """What is known about each label that is marked or fitted, sorted.

        Args:
            stretches: the marks.
        """
        counts = Counter((stretch.label, stretch.sign) for stretch in stretches)
        fitted = self.classifier.labels if self.is_fitted else ()
        found = {}
        for label in sorted({*fitted, *(label for label, _ in counts)}):
            histogram = None
            if label in fitted:
                scores = self.scores(label)
                histogram = np.histogram(scores, bins=BINS, range=(0, 1))[0].tolist()
            marked = {sign: counts[label, sign] for sign in Sign}
            found[label] = KnownLabel(marked=marked, histogram=histogram)
        return found

    def scores(self, label: str) -> NDArray[np.float64]:
        """The scores of all segments [n], in the order of the collection's batches.

        Raises:
            UsageError: there is no such label.
        """
        classifier = self._with(label)
        key = digest_of(self.folder), label
        if key not in self._scores:
            self._scores[key] = reviewing.label_scores(self.table, classifier, label)
        return self._scores[key]

    def detect(self, criteria: Criteria, recorded: FieldFilter | None = None) -> Iterable[Span]:
        """Detections, as the function `detect` gives them.

        Args:
            criteria: what becomes a detection.
            recorded: what is looked at; None: everything.

        Returns:
            the detections.

        Raises:
            UsageError: there is no such label.
        """
        for label in criteria.thresholds:
            self._with(label)
        batches = predict(self.table, self.classifier, Unit.SEGMENT)
        if recorded is not None:
            batches = silence(batches, recorded.rows)
        return detect(batches, self.classifier.labels, criteria)

    def sheet(self, label: str) -> Path:
        """The file of a label's review; each fit has its own."""
        self._with(label)
        return self.folder / f"review-{safe_name(label)}-{digest_of(self.folder)[:8]}.csv"

    def draw(self, label: str, count: int) -> None:
        """Draw segments to listen to into the label's sheet, if it is not there.

        Args:
            label: the label.
            count: number of segments.

        Raises:
            UsageError: there is no such label.
        """
        sheet = self.sheet(label)
        if not sheet.exists():
            drawn = reviewing.draw(self.table, self.classifier, label, count)
            reviewing.write_sheet(sheet, drawn)

    def drawn(self, label: str) -> tuple[list[Span], list[Sign]]:
        """The segments of a label's sheet, and their answers; none before it is drawn."""
        sheet = self.sheet(label)
        return reviewing.read_sheet(sheet, label) if sheet.exists() else ([], [])

    def answer(self, label: str, number: int, sign: Sign) -> Span:
        """Answer a segment of a label's sheet.

        Args:
            label: the label.
            number: number of the segment in the sheet.
            sign: the answer.

        Returns:
            the segment.

        Raises:
            DatasetError: there is no such segment, or the sheet cannot be written.
        """
        spans, _ = self.drawn(label)
        if number >= len(spans):
            raise DatasetError(f"{self.sheet(label)}: has no segment {number}")
        reviewing.answer(self.sheet(label), number, sign)
        return spans[number]

    def review(self, label: str) -> Review | None:
        """What the answers say, kept for `detect --precision`; None while there are none.

        Raises:
            DatasetError: the sheet cannot be read.
        """
        _, signs = self.drawn(label)
        if all(sign is Sign.UNCERTAIN for sign in signs):
            return None
        done = reviewing.review(self.table, self.classifier, label, self.sheet(label))
        store(self.folder, label, done.thresholds)
        return done

    def _with(self, label: str) -> Classifier:
        classifier = self.classifier
        if label not in classifier.labels:
            raise UsageError(f"nothing is fitted for {label!r}{choices(label, classifier.labels)}")
        return classifier
