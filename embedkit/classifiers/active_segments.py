"""Chooses which segments of recordings to label next."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from embedkit.atomic import atomic_write
from embedkit.classifiers.active import METHOD, NOTES, Proposal, sheet
from embedkit.classifiers.classifier import Classifier
from embedkit.datasets import Clip
from embedkit.datasets.cells import SKIP
from embedkit.datasets.columns import END, LABEL, PATH, SIGN, START
from embedkit.datasets.names import match
from embedkit.datasets.stretches import TOLERANCE_S, Sign
from embedkit.datasets.times import seconds
from embedkit.errors import DatasetError
from embedkit.labels.answers import NONE, append_rows
from embedkit.labels.join import Unit, clip_names, find_labels, join_known
from embedkit.labels.spreadsheet import Spreadsheet
from embedkit.labels.stretches import Rule, touched
from embedkit.store import EmbeddingTable, Rows
from embedkit.vectors import unit

COLUMNS = [PATH, START, END, LABEL]
SPREAD = 5_000  # segments, drawn at random, among which the first ones are chosen
CANDIDATES = 20  # for each that is proposed, which has no neighbours among the proposed

Floats = NDArray[np.float64]
Judge = Callable[[NDArray[np.float32]], Floats]  # vectors [n, D]: how little each is wanted [n]


@dataclass(frozen=True)
class Candidate:
    """A segment that may be proposed.

    Attributes:
        clip, start_s, end_s: its place.
        vector: float32 [D].
        rank: the lower it is, the sooner the segment is proposed.
    """

    clip: str
    start_s: float
    end_s: float
    vector: NDArray[np.float32]
    rank: float

    @property
    def cells(self) -> dict[str, str]:
        """Its cells in the sheet."""
        return {PATH: self.clip, START: f"{self.start_s:.10g}", END: f"{self.end_s:.10g}"}

    def is_beside(self, other: "Candidate") -> bool:
        """Whether it overlaps another, or touches it."""
        return (
            self.clip == other.clip
            and self.start_s <= other.end_s + TOLERANCE_S
            and other.start_s <= self.end_s + TOLERANCE_S
        )


def propose_segments(
    table: EmbeddingTable, answers: Path, count: int, rule: Rule | None = None
) -> Proposal:
    """Move what was filled in to the answers, fit again, and propose segments to label.

    It is `active.propose` for labels with times. One label is enough for a classifier, which then
    also learns from unmarked sound; it is not evaluated.

    Args:
        table: the collection.
        answers: a CSV file with the columns path, start_s, end_s and label; it is made with the
            first answers.
        count: number of segments to propose, no two of which touch. On the sheet, the label `skip`
            leaves a segment out for good, and the sign `-` says that the label is not there.
        rule: which segment has which label.

    Returns:
        the proposal.

    Raises:
        DatasetError: a CSV cannot be read, the sheet names what is not there, or it was changed
            meanwhile: then it is left as it is.
    """
    beside = sheet(answers)
    filled = Spreadsheet.read(beside, COLUMNS)
    before = filled.to_bytes()
    rows = _filled(beside, filled, clip_names(table))
    append_rows(answers, COLUMNS, [row for row in rows if row[LABEL] not in NONE])
    skipped = [row for row in rows if row[LABEL] == SKIP]
    known: Mapping[str, Clip] = {}
    classifier = None
    if Spreadsheet.read(answers, COLUMNS).rows:
        known, manifest = find_labels(clip_names(table), table, str(answers))
        if manifest.labels:
            data = join_known(table, known, manifest, Unit.SEGMENT, rule)
            every = np.arange(len(data.clips))
            classifier = Classifier.fit(data, every, METHOD, fingerprint="")
    left_out = {(row[PATH], row[START], row[END]) for row in skipped}
    proposed = _choose(table, classifier, known, left_out, count)
    asked = Spreadsheet([*COLUMNS, SIGN, *NOTES])
    for one, guess, margin in proposed:
        text = "" if margin is None else f"{margin:.3f}"
        asked.append({**one.cells, "guess": guess, "margin": text})
    for row in skipped:
        asked.append({**{name: row[name] for name in (PATH, START, END)}, LABEL: SKIP})
    if Spreadsheet.read(beside, COLUMNS).to_bytes() != before:
        raise DatasetError(
            f"{beside}: was changed in the meantime, and is left as it is; run this again"
        )
    with atomic_write(beside) as file:
        file.write(asked.to_bytes())
    stretches = [each for clip in known.values() for each in clip.stretches]
    there = Counter(each.label for each in stretches if each.sign is Sign.POSITIVE)
    names = [
        (f"{one.clip}@{one.start_s:g}-{one.end_s:g}", guess, margin)
        for one, guess, margin in proposed
    ]
    return Proposal(len(stretches), dict(sorted(there.items())), None, None, names)


def _filled(path: Path, filled: Spreadsheet, there: Sequence[str]) -> list[dict[str, str]]:
    """The rows of the sheet without its notes."""
    rows = []
    values = list(map(filled.values, filled.rows))
    meant = match((row[PATH] for row in values), there)
    for number, row in enumerate(values, start=2):
        if not row[PATH]:  # a blank line
            continue
        if row[PATH] not in meant:
            raise DatasetError(f"{path}, row {number}: {row[PATH]} is no clip of the collection")
        if None in (seconds(row[START]), seconds(row[END])):
            raise DatasetError(f"{path}, row {number}: expected seconds for {START} and {END}")
        own = {name: value for name, value in row.items() if name not in NOTES and value}
        rows.append({**own, PATH: meant[row[PATH]], LABEL: row[LABEL].strip()})
    return rows


def _choose(
    table: EmbeddingTable,
    classifier: Classifier | None,
    known: Mapping[str, Clip],
    left_out: set[tuple[str, str, str]],
    count: int,
) -> list[tuple[Candidate, str, float | None]]:
    """Segments to label, each with the label in question and how sure the classifier is of it."""
    if classifier is None:
        rng = np.random.default_rng(0)
        some = _best(table, lambda vectors: rng.random(len(vectors)), known, left_out, SPREAD)
        if len(some) > count:
            vectors = unit(np.stack([one.vector for one in some]))
            _, found = kmeans_plusplus(vectors, count, random_state=len(some))
            some = [some[row] for row in np.unique(found)]
        return [(one, "", None) for one in some]
    fitted = classifier

    def sureness(vectors: NDArray[np.float32]) -> Floats:
        return _sureness(fitted.scores(vectors), fitted.several_labels)[0]

    chosen: list[Candidate] = []
    for one in _best(table, sureness, known, left_out, CANDIDATES * count):
        if len(chosen) < count and not any(map(one.is_beside, chosen)):
            chosen.append(one)
    if not chosen:
        return []
    scores = fitted.scores(np.stack([one.vector for one in chosen]))
    sure, asked = _sureness(scores, fitted.several_labels)
    return [
        (one, fitted.labels[label], float(margin))
        for one, label, margin in zip(chosen, asked, sure, strict=True)
    ]


def _sureness(scores: Floats, several_labels: bool) -> tuple[Floats, NDArray[np.int64]]:
    """How sure a classifier is of segments [n], and the number of the label in question [n].

    With several labels it is as sure as of the most doubtful one: twice the distance of that score
    from a half. With one label for each segment it is the lead of the best score over the next.
    """
    if several_labels:
        distance = 2 * np.abs(scores - 0.5)
        return distance.min(axis=1), distance.argmin(axis=1)
    best = np.sort(scores, axis=1)
    return best[:, -1] - best[:, -2], scores.argmax(axis=1)


def _best(
    table: EmbeddingTable,
    judge: Judge,
    known: Mapping[str, Clip],
    left_out: set[tuple[str, str, str]],
    most: int,
) -> list[Candidate]:
    """The segments with the lowest ranks about which nothing is said; lowest first."""
    found: list[Candidate] = []
    for batch in table.batches():
        free = _free(batch, known)
        ranks = judge(batch.embeddings[free])
        for place in np.argsort(ranks, kind="stable")[: most + len(left_out)]:
            row = free[place]
            one = Candidate(
                str(batch.clips[row]), float(batch.start_s[row]), float(batch.end_s[row]),
                batch.embeddings[row].copy(), float(ranks[place]),
            )  # fmt: skip
            if tuple(one.cells.values()) not in left_out:
                found.append(one)
        found = sorted(found, key=lambda one: one.rank)[:most]
    return found


def _free(batch: Rows, known: Mapping[str, Clip]) -> NDArray[np.int64]:
    """The rows about which nothing is said."""
    free = np.ones(len(batch.clips), bool)
    for clip in set(batch.clips).intersection(known):
        rows = np.flatnonzero(batch.clips == clip)
        free[rows] = ~touched(batch.start_s[rows], batch.end_s[rows], known[clip].stretches)
    return np.flatnonzero(free)
