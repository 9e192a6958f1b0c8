"""Marks on stretches, and the detector that learns from them, as the page asks for them."""

import io
import math
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import HTTPException

from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import DatasetError
from embedkit.labels.marks import Marks
from embedkit.scratch import scratch_folder
from embedkit.web.asked import BroughtTable, Detections, GivenMark
from embedkit.web.collection import Collection

if TYPE_CHECKING:
    from embedkit.classifiers.detector import Detector
    from embedkit.classifiers.tracks import Span
    from embedkit.metrics import Measured

SHOWN = 500  # detections of a page


class Marking:
    """What stands behind the pages of marks, detections and reviews.

    Marks are in `<labels>-stretches.csv` beside the labels of whole clips, the classifier in the
    folder `<labels>-detector`.
    """

    def __init__(self, collection: Collection, labels: Path) -> None:
        self._collection, self._labels = collection, labels
        self._number = {name: index for index, name in enumerate(collection.clips)}
        self.marks = Marks(labels.with_stem(f"{labels.stem}-stretches"), self._number.keys())

    @cached_property
    def detector(self) -> "Detector":
        """Of the marks."""
        from embedkit.classifiers.detector import Detector  # scikit-learn: for who detects

        folder = self._labels.with_name(f"{self._labels.stem}-detector")
        return Detector(self._collection.table, self.marks.path, folder)

    def all(self) -> list[dict[str, Any]]:
        """Every mark."""
        return [self._shown(stretch) for stretch in self.marks.stretches()]

    def mark(self, asked: GivenMark) -> list[dict[str, Any]]:
        """Make a mark, or without a sign take it away; every mark."""
        stretch = Stretch(
            clip=self._name(asked.clip), start_s=asked.start_s, end_s=asked.end_s,
            label=asked.label.strip(), sign=Sign(asked.sign or "+"),
        )  # fmt: skip
        (self.marks.put if asked.sign else self.marks.take)(stretch)
        return self.all()

    def bring(self, asked: BroughtTable) -> dict[str, Any]:
        """Take over the marks of another program's table: how many, of which labels and clips."""
        from embedkit.labels.join import find_labels  # readers of many formats: for who brings one

        with scratch_folder() as folder:
            path = folder / Path(asked.name).name
            path.write_text(asked.text, encoding="utf-8")
            clips = self._collection.clips
            known, manifest = find_labels(clips, self._collection.table, str(path))
        if not manifest.has_times:
            raise DatasetError(f"{asked.name}: its labels have no beginning and end")
        stretches = [
            Stretch(clip=name, start_s=each.start_s, end_s=each.end_s, label=each.label,
                    sign=each.sign)
            for name, clip in known.items() for each in clip.stretches
        ]  # fmt: skip
        added = self.marks.add(stretches)
        labels = dict(Counter(stretch.label for stretch in stretches))
        return {"added": added, "labels": labels, "clips": len(known), "marks": self.all()}

    def facts(self) -> dict[str, Any]:
        """Of each label what is marked, and how the segments score."""
        detector = self.detector
        heard = detector.heard(self.marks.stretches())
        return {
            "fitted": detector.is_fitted,
            "folder": str(detector.folder),
            "labels": [
                {"label": label, "marked": each.marked, "histogram": each.histogram}
                for label, each in heard.items()
            ],
        }

    def fit(self) -> dict[str, Any]:
        """Fit on the marks as they are."""
        self.detector.fit()
        return self.facts()

    def scores(self, clip: int) -> bytes:
        """Of a clip's segments, float32 [segments, labels], as the labels are sorted."""
        self._name(clip)
        rows = self._collection.rows_of(clip)
        scores = self.detector.classifier.scores(self._collection.search.vectors[rows])
        return scores.astype(np.float32).tobytes()

    def found(self, asked: Detections) -> dict[str, Any]:
        """Detections: how many of each label, and the first of them."""
        spans = self._detect(asked)
        counts: Counter[str] = Counter()
        shown: list[dict[str, Any]] = []
        for span in spans:
            counts[span.label] += 1
            if len(shown) < SHOWN:
                shown.append(self._shown_span(span))
        return {"total": counts.total(), "by_label": dict(counts), "found": shown}

    def along(self, clip: int, asked: Detections) -> dict[str, list[Any]]:
        """All detections in a recording, by time, as columns: an hour may have thousands.

        Args:
            clip: the number of the recording.
            asked: which detections.

        Returns:
            start, end, label and score of each.
        """
        name = self._name(clip)
        spans = [span for span in self._detect(asked) if span.clip == name]
        columns = ("start_s", "end_s", "label", "score")
        return {column: [getattr(span, column) for span in spans] for column in columns}

    def file(self, form: str, asked: Detections) -> tuple[str, bytes]:
        """Detections as a file of a format of `embedkit detect`.

        Args:
            form: the format.
            asked: which detections.

        Returns:
            the file's name and content.

        Raises:
            HTTPException: 404, there is no such format.
        """
        from embedkit.classifiers.detections import DetectionFormat, write_detections

        if form not in set(DetectionFormat):
            raise HTTPException(404, ", ".join(DetectionFormat))
        name = {"raven": "detections.selections.txt", "birdnet": "detections.csv"}.get(
            form, f"detections.{form}"
        )
        with scratch_folder() as folder:
            path = folder / name
            write_detections(
                path, DetectionFormat(form), self._detect(asked), self._collection.table
            )
            if form == DetectionFormat.AUDACITY:  # a folder of label tracks
                return "detections-audacity.zip", _zip(path)
            return name, path.read_bytes()

    def review(self, label: str, count: int | None = None) -> dict[str, Any]:
        """A label's sheet, and what its answers say.

        Args:
            label: the label.
            count: number of segments to draw, if none are drawn; None: draw none.

        Returns:
            JSON values.
        """
        detector = self.detector
        if count is not None:
            detector.draw(label, count)
        spans, signs = detector.drawn(label)
        done = detector.review(label)
        said = None
        if done is not None:
            said = {
                **{name: getattr(done, name) for name in ("right", "wrong", "unsure")},
                "density": _measured(done.density),
                "thresholds": {
                    f"{precision:g}": _measured(each) for precision, each in done.thresholds.items()
                },
            }
        items = [
            {**self._shown_span(span), "sign": sign}
            for span, sign in zip(spans, signs, strict=True)
        ]
        return {"sheet": detector.sheet(label).name, "items": items, "said": said}

    def answer(self, label: str, number: int, sign: Sign, other: str) -> dict[str, Any]:
        """Answer a segment of a sheet, and mark it so; what is heard instead is marked too.

        If a mark would contradict another one, the answer only counts for the review.

        Args:
            label: the label.
            number: number of the segment in the sheet.
            sign: the answer.
            other: what is heard instead; empty: nothing.

        Returns:
            JSON values.
        """
        span = self.detector.answer(label, number, sign)
        warning = ""
        wanted = [(label, sign), *([(other, Sign.POSITIVE)] if other else [])]
        for name, own in wanted:
            stretch = Stretch(
                clip=span.clip, start_s=span.start_s, end_s=span.end_s, label=name, sign=own
            )
            try:
                self.marks.put(stretch)
            except DatasetError as error:
                warning = f"answered, and not marked: {error}"
        return {**self.review(label), "marks": self.all(), "warning": warning}

    def _detect(self, asked: Detections) -> Iterable["Span"]:
        from embedkit.classifiers.detect import Criteria

        criteria = Criteria(thresholds=asked.thresholds, gap_s=asked.gap_s, least_s=asked.least_s)
        return self.detector.detect(criteria, asked.of(self._collection.recordings))

    def _name(self, clip: int) -> str:
        if clip >= len(self._collection.clips):
            raise HTTPException(404, "no such clip")
        return self._collection.clips[clip]

    def _shown(self, stretch: Stretch) -> dict[str, Any]:
        return {**asdict(stretch), "clip": self._number[stretch.clip], "name": stretch.clip}

    def _shown_span(self, span: "Span") -> dict[str, Any]:
        recorded_at = self._collection.recordings.stamp(span.clip, span.start_s)
        number = self._number.get(span.clip)
        return {**span._asdict(), "clip": number, "name": span.clip, "recorded_at": recorded_at}


def _measured(measured: "Measured") -> list[float | None]:
    """A value and its interval; None: not known, or no score is enough."""
    return [each if math.isfinite(each) else None for each in measured]


def _zip(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.txt")):
            archive.write(path, path.relative_to(folder).as_posix())
    return stream.getvalue()
