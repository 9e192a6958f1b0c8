"""Draws a sample of a classifier's segments to listen to, and learns from the answers."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.classifiers.calibration import Bins, density, thresholds
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.evaluate import predict
from embedkit.classifiers.tracks import ROUNDING_S, Span
from embedkit.datasets.columns import END, LABEL, PATH, SIGN, START, require
from embedkit.datasets.stretches import Sign
from embedkit.datasets.table import read_table
from embedkit.datasets.timed import parse_sign
from embedkit.errors import DatasetError
from embedkit.labels.answers import edit_rows
from embedkit.labels.join import Unit
from embedkit.labels.spreadsheet import Spreadsheet
from embedkit.metrics import Measured
from embedkit.store import EmbeddingTable

COLUMNS = (PATH, START, END, LABEL, SIGN, "score")
PER_BIN = 10  # segments that the bin of the highest scores has, at least
SAME_SCORE = 1e-5

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Review:
    """What some answers say.

    Attributes:
        right, wrong, unsure: number of answers; what is not answered is unsure.
        thresholds: scores by precision; see `calibration`.
        density: the share of segments that have the sound.
    """

    right: int
    wrong: int
    unsure: int
    thresholds: dict[float, Measured]
    density: Measured


def draw(
    table: EmbeddingTable, classifier: Classifier, label: str, count: int, seed: int = 0
) -> list[Span]:
    """Draw segments to listen to, equally many of each bin of scores.

    Args:
        table: the collection.
        classifier: gives the scores.
        label: one of its labels.
        count: number of segments; if there are fewer, all are drawn.
        seed: seed of the draw.

    Returns:
        the segments by clip and time.

    Raises:
        DatasetError: the collection has no segments.
        EmbedkitError: the classifier does not fit the collection.
    """
    scores = label_scores(table, classifier, label)
    bins = Bins.of(scores, PER_BIN)
    place = bins.place(scores)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(scores), bool)
    left = count
    for done, number in enumerate(np.argsort(bins.counts, kind="stable")):
        # What a small bin does not have is drawn from the larger ones.
        quota = min(left // (len(bins.counts) - done), int(bins.counts[number]))
        chosen[rng.choice(np.flatnonzero(place == number), quota, replace=False)] = True
        left -= quota
    found = []
    seen = 0
    for rows in table.batches():
        for row in np.flatnonzero(chosen[seen : seen + len(rows.clips)]):
            score = float(scores[seen + row])
            found.append(
                Span(
                    rows.clips[row], float(rows.start_s[row]), float(rows.end_s[row]), label, score
                )
            )
        seen += len(rows.clips)
    return sorted(found)


def label_scores(table: EmbeddingTable, classifier: Classifier, label: str) -> Floats:
    """The scores of one label, in the order of the collection's batches.

    Args:
        table: the collection.
        classifier: gives the scores.
        label: one of its labels.

    Returns:
        float64 [segments].

    Raises:
        DatasetError: there are no segments.
        EmbedkitError: the classifier does not fit the collection.
    """
    index = classifier.labels.index(label)
    batches = predict(table, classifier, Unit.SEGMENT)
    scores = np.concatenate([np.zeros(0), *(batch.scores[:, index] for batch in batches)])
    if not len(scores):
        raise DatasetError(f"{table.folder}: has no segments to review")
    return scores


def write_sheet(path: Path, spans: list[Span]) -> None:
    """Write a sheet to fill in; its column sign has `?` everywhere.

    It is a manifest of stretches: a classifier can learn from the answers + and -.

    Args:
        path: the CSV file.
        spans: the segments.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for span in spans:
        times = repr(span.start_s), repr(span.end_s)
        sign = Sign.UNCERTAIN.value
        writer.writerow([span.clip, *times, span.label, sign, repr(span.score)])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def review(
    table: EmbeddingTable, classifier: Classifier, label: str, sheet: Path, seed: int = 0
) -> Review:
    """What the answers in a sheet say about a label's scores.

    Args:
        table: the collection that the sheet was drawn from; it may have grown since.
        classifier: the classifier that it was drawn by.
        label: its label.
        sheet: with + (or right), - (wrong) or ? (unsure) in the column sign.
        seed: seed of the bootstrap.

    Returns:
        the figures.

    Raises:
        DatasetError: the sheet cannot be read, is of another label, collection or fit, or has no
            answer.
        EmbedkitError: the classifier does not fit the collection.
    """
    spans, signs = read_sheet(sheet, label)
    known = np.array([sign is not Sign.UNCERTAIN for sign in signs], bool)
    right = np.array([sign is Sign.POSITIVE for sign in signs], bool)
    if not known.any():
        raise DatasetError(
            f"{sheet}: has no answer yet: put + (right) or - (wrong) into the column sign"
        )
    everything = label_scores(table, classifier, label)
    scores = _find(table, everything, spans, sheet)
    bins = Bins.of(everything, PER_BIN)
    return Review(
        right=int(right.sum()),
        wrong=int((known & ~right).sum()),
        unsure=int((~known).sum()),
        thresholds=thresholds(bins, scores[known], right[known], seed),
        density=density(bins, scores[known], right[known]),
    )


def answer(sheet: Path, number: int, sign: Sign) -> None:
    """Write an answer into a sheet.

    Args:
        sheet: the CSV file.
        number: number of the row, from 0 on.
        sign: right, wrong or unsure.

    Raises:
        DatasetError: it has no such row, or cannot be written.
    """

    def change(found: Spreadsheet) -> None:
        if number >= len(found.rows):
            raise DatasetError(f"{sheet}: has no row {number + 2}")
        found.put(found.rows[number], {SIGN: sign.value})

    edit_rows(sheet, [PATH, START, END, LABEL, SIGN], change)


def read_sheet(sheet: Path, label: str) -> tuple[list[Span], list[Sign]]:
    """The segments of a sheet, and their answers.

    Args:
        sheet: the CSV file.
        label: the label that it is of.

    Returns:
        segments and answers, in the order of the sheet.

    Raises:
        DatasetError: it cannot be read, or is of another label.
    """
    table = read_table(sheet)
    clips, labels, signs = (
        table.texts(require(name, table.headings, table.path)) for name in (PATH, LABEL, SIGN)
    )
    starts, ends, scores = (
        table.numbers(require(name, table.headings, table.path)).tolist()
        for name in (START, END, "score")
    )
    spans, found = [], []
    for row, clip, start, end, name, text, score in zip(
        table.rows, clips, starts, ends, labels, signs, scores, strict=True
    ):
        sign = parse_sign(text) if (text or "").strip() else Sign.UNCERTAIN
        if sign is None:
            raise DatasetError(
                f"{table.path}, row {row}: expected + (right), - (wrong) or ? (unsure) for the"
                f" sign, found {text!r}"
            )
        if name != label:
            raise DatasetError(f"{table.path}, row {row}: is about {name!r}, not about {label!r}")
        spans.append(Span(clip or "", start, end, label, score))
        found.append(sign)
    return spans, found


def _find(table: EmbeddingTable, scores: Floats, spans: list[Span], sheet: Path) -> Floats:
    """The scores of the sheet's segments as they are now."""
    wanted = {(span.clip, round(span.start_s / ROUNDING_S)): n for n, span in enumerate(spans)}
    found = np.full(len(spans), np.nan)
    clips = {span.clip for span in spans}
    seen = 0
    for rows in table.batches():
        for row in np.flatnonzero([clip in clips for clip in rows.clips]):
            number = wanted.get((rows.clips[row], round(rows.start_s[row] / ROUNDING_S)))
            if number is not None:
                found[number] = scores[seen + row]
        seen += len(rows.clips)
    for span, score in zip(spans, found, strict=True):
        place = f"{sheet}: {span.clip}, {span.start_s:g} to {span.end_s:g} s"
        if math.isnan(score):
            raise DatasetError(f"{place}: {table.folder} has no such segment")
        if abs(score - span.score) > SAME_SCORE:
            raise DatasetError(
                f"{place}: has the score {score:.4f} now, and {span.score:.4f} when the sheet was"
                " drawn: by another fit of the classifier; draw a new sheet under another name"
            )
    return found
