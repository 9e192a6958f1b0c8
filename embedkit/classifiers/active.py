"""Chooses which clips to label next, as a classifier learns from the labels so far."""

import logging
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.model_selection import StratifiedKFold

from embedkit.atomic import atomic_write
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import Indices
from embedkit.datasets.cells import SKIP
from embedkit.datasets.names import match
from embedkit.errors import DatasetError
from embedkit.labels.answers import COLUMNS, NONE, Answers
from embedkit.labels.join import Labelled
from embedkit.labels.spreadsheet import Spreadsheet
from embedkit.metrics import share_interval
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

log = logging.getLogger(__name__)

NOTES = ["guess", "margin"]  # columns of the sheet alone
METHOD = Logistic(c=0.1)  # with few labels there is nothing to choose a strength by
FOLDS = 5


@dataclass(frozen=True)
class Proposal:
    """What the labels so far have led to.

    Attributes:
        labelled: number of clips with a label.
        labels: number of clips of each label.
        accuracy: accuracy on clips held out in turn in up to five folds; None while a label has
            fewer than two clips.
        accuracy_interval: its 95 % interval, low and high; None where it is.
        proposed: clips to label next, with their likely label and the lead of its score over the
            second label's; before there are two labels, clips alone.
    """

    labelled: int
    labels: dict[str, int]
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    proposed: Sequence[tuple[str, str, float | None]]


def sheet(answers: Path) -> Path:
    """The file that a person fills in: `labels-next.csv`, beside the answers `labels.csv`."""
    return answers.with_name(f"{answers.stem}-next.csv")


def propose(table: EmbeddingTable, answers: Path, count: int) -> Proposal:
    """Move what was filled in to the answers, fit again, and write a new sheet of clips to label.

    The first clips are spread over the collection (k-means++); then come those whose two best
    labels are closest (margin sampling: Scheffer et al., 2001).

    Args:
        table: the collection.
        answers: a CSV file with the columns path and label, a manifest like any other; it may have
            other columns, which are kept. It is made with the first answers.
        count: number of clips to propose. On the sheet, the label `skip` leaves a clip out for
            good.

    Returns:
        the proposal.

    Raises:
        DatasetError: a CSV cannot be read, the sheet names clips that are not there, or it was
            changed meanwhile: then it is left as it is.
    """
    clips, vectors = table.clip_vectors()
    there = set(clips)
    answered = Answers(answers, there)
    beside = sheet(answers)
    filled = Spreadsheet.read(beside, COLUMNS)
    before = filled.to_bytes()
    rows = _filled(beside, filled, there)
    answered.update({row.pop("path"): row for row in rows if row["label"] not in NONE})
    elsewhere = [clip for clip in answered.labels if clip not in there]
    if elsewhere:
        log.warning(
            "%s: labels that name no clip of the collection: %d, as %s; they are kept",
            answers, len(elsewhere), elsewhere[0],
        )  # fmt: skip
    known = {clip: label for clip, label in answered.labels.items() if clip in there}
    skips = [row["path"] for row in rows if row["label"] == SKIP]
    skips = [clip for clip in [*answered.skipped, *skips] if clip in there and clip not in known]
    found, _ = suggest(clips, vectors, known, dict.fromkeys(skips), count)
    asked = Spreadsheet([*COLUMNS, *NOTES])
    for clip, guess, margin in found.proposed:
        text = "" if margin is None else f"{margin:.3f}"
        asked.append({"path": clip, "guess": guess, "margin": text})
    for clip in dict.fromkeys(skips):
        asked.append({"path": clip, "label": SKIP})
    if Spreadsheet.read(beside, COLUMNS).to_bytes() != before:
        raise DatasetError(
            f"{beside}: was changed in the meantime, and is left as it is; run this again"
        )
    with atomic_write(beside) as file:
        file.write(asked.to_bytes())
    return found


def suggest(
    clips: Sequence[str],
    vectors: NDArray[np.float32],
    known: Mapping[str, str],
    skipped: Collection[str],
    count: int,
) -> tuple[Proposal, Classifier | None]:
    """Fit on the labels so far, and choose the clips to label next; see `propose`.

    Args:
        clips: names of the clips [n].
        vectors: their vectors [n, D].
        known: labels by clip.
        skipped: clips to leave out.
        count: number of clips to propose.

    Returns:
        the proposal, and the classifier if there are two labels.
    """
    number = {clip: index for index, clip in enumerate(clips)}
    rest = np.ones(len(clips), bool)
    rest[[number[clip] for clip in [*known, *skipped]]] = False
    counts = dict(sorted(Counter(known.values()).items()))
    if len(counts) < 2:
        spread = [(clip, "", None) for clip in _spread(clips, vectors, rest, count)]
        return Proposal(len(known), counts, None, None, spread), None
    data = _labelled(vectors[[number[clip] for clip in known]], known)
    classifier = _fit(data)
    scores = classifier.scores(vectors)
    best = np.sort(scores, axis=1)
    margin = np.where(rest, best[:, -1] - best[:, -2], np.inf)
    order = np.argsort(margin, kind="stable")[: min(count, int(rest.sum()))]
    proposed = [
        (clips[row], data.labels[int(scores[row].argmax())], float(margin[row]))
        for row in map(int, order)
    ]
    accuracy = interval = None
    if min(counts.values()) > 1 and len(known) >= FOLDS:
        done = classify.evaluate(data, _folds(data, min(FOLDS, max(counts.values()))), METHOD)
        accuracy = float(done.correct.mean())
        interval = share_interval(done.correct)
    return Proposal(len(known), counts, accuracy, interval, proposed), classifier


def learn(
    clips: Sequence[str], vectors: NDArray[np.float32], known: Mapping[str, str]
) -> Classifier | None:
    """Fit the classifier of `suggest`.

    Args:
        clips: names of the clips [n].
        vectors: their vectors [n, D].
        known: labels by clip.

    Returns:
        the classifier; None while there are fewer than two labels.
    """
    number = {clip: index for index, clip in enumerate(clips)}
    if len(set(known.values())) < 2:
        return None
    return _fit(_labelled(vectors[[number[clip] for clip in known]], known))


def _fit(data: Labelled) -> Classifier:
    return Classifier.fit(data, np.arange(len(data.clips)), METHOD, fingerprint="")


def _folds(data: Labelled, k: int) -> list[tuple[Indices, Indices]]:
    """Folds over which each label is spread, so that a rare label is never held out as a whole."""
    splitter = StratifiedKFold(k, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a label with fewer clips than there are folds
        return list(splitter.split(data.clips, data.classes))


def _spread(
    clips: Sequence[str], vectors: NDArray[np.float32], rest: NDArray[np.bool_], count: int
) -> list[str]:
    rows = np.flatnonzero(rest)
    if len(rows) <= count:
        return [clips[int(row)] for row in rows]
    # With the clips that are left the starting points change.
    _, found = kmeans_plusplus(unit(vectors[rows]), count, random_state=len(rows))
    return [clips[int(row)] for row in rows[np.unique(found)]]


def _labelled(vectors: NDArray[np.float32], known: Mapping[str, str]) -> Labelled:
    labels = tuple(sorted(set(known.values())))
    targets = [[answer == label for label in labels] for answer in known.values()]
    return Labelled(
        clips=list(known), vectors=vectors, targets=np.array(targets, np.float32), labels=labels,
        several_labels=False, folds=None, splits=None, groups=list(known),
    )  # fmt: skip


def _filled(path: Path, filled: Spreadsheet, there: Collection[str]) -> list[dict[str, str]]:
    """The rows of the sheet without its notes."""
    rows = []
    values = list(map(filled.values, filled.rows))
    meant = match((row["path"] for row in values), there)
    for number, row in enumerate(values, start=2):
        clip, label = row["path"], row["label"].strip()
        if not clip:  # a blank line
            continue
        if clip not in meant:
            raise DatasetError(f"{path}, row {number}: {clip} is no clip of the collection")
        own = {name: value for name, value in row.items() if name not in NOTES and value}
        rows.append({**own, "path": meant[clip], "label": label})
    return rows
