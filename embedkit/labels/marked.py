"""Chooses the segments of marked recordings that are fitted and scored, and gives them targets."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets import Clip
from embedkit.datasets.stretches import Stretch
from embedkit.errors import DatasetError
from embedkit.labels.stretches import Marked, Rule, missed, segment_targets

log = logging.getLogger(__name__)

BACKGROUND = 10  # segments without the one label, for each that has it ...
LEAST_BACKGROUND = 1000  # ... but no fewer than these, where there are so many
ROUNDING_S = 0.05  # by which a label may end after its clip, as tables round
NAMED = 3  # stretches that a message names


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Segments of marked recordings, in any order, all of one length n.

    Attributes:
        names: names of the recordings.
        owner: number of each segment's recording: int64 [n].
        start_s, end_s: times in seconds, float64 [n]; the end is the real one.
    """

    names: Sequence[str]
    owner: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]


class Chosen(NamedTuple):
    """The segments that are fitted and scored.

    Attributes:
        rows: numbers of the segments [k], rising.
        targets: float32 [k, labels]; NaN where a segment is left out for a label.
        several_labels: whether a segment may have no label, or more than one.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.float32]
    several_labels: bool


def choose(
    segments: Segments,
    known: Mapping[str, Clip],
    labels: Sequence[str],
    rule: Rule,
    *,
    several_labels: bool,
    most: int,
    seed: int = 0,
) -> Chosen:
    """Choose the segments of which something is known.

    If there are too many, those with a label come first. If there is only one label and not
    everything was marked, background is drawn from unmarked sound.

    Args:
        segments: all segments of the recordings.
        known: the recordings by name.
        labels: the labels that are learned.
        rule: which segment has which label.
        several_labels: whether a stretch of the table may have several labels.
        most: the most segments to choose.
        seed: seed of the draws.

    Returns:
        the chosen segments and their targets.

    Raises:
        DatasetError: no segment has a label.
    """
    of_each = list(_by_owner(segments))
    _warn(segments, known, of_each, rule)
    background = len(labels) == 1 and rule.marked is Marked.SOME
    used = replace(rule, marked=Marked.ALL) if background else rule

    def targets(rows: NDArray[np.int64], rule: Rule) -> NDArray[np.float32]:
        stretches = known[segments.names[segments.owner[rows[0]]]].stretches
        return segment_targets(
            segments.start_s[rows], segments.end_s[rows], stretches, labels, rule
        )

    count = len(segments.owner)
    positive, negative, unmarked = (np.zeros(count, bool) for _ in range(3))
    for rows in of_each:
        own = targets(rows, used)
        positive[rows] = (own == 1).any(axis=1)
        negative[rows] = ~positive[rows] & (own == 0).any(axis=1)
        if background:
            unmarked[rows] = negative[rows] & np.isnan(targets(rows, rule))[:, 0]
    if not positive.any():
        raise DatasetError(
            f"no segment has a label of: {', '.join(labels) or 'none'}; are the shares that a"
            " stretch has to reach too large, or its times those of another recording?"
        )
    rng = np.random.default_rng(seed)
    negative &= ~unmarked
    several = several_labels or background or rule.marked is Marked.ALL or bool(negative.any())
    kept = _sample(positive, most, "that have a label", rng)
    kept |= _sample(negative, most - int(kept.sum()), "that have none", rng)
    if background:
        wanted = max(LEAST_BACKGROUND, BACKGROUND * int(positive.sum()))
        drawn = _draw(unmarked, min(wanted, most - int(kept.sum())), rng)
        log.info(
            "one label, %s: %d segments of unmarked sound, drawn at random, are taken for"
            " background; mark sounds like it with the sign -, or say --marked all",
            labels[0], int(drawn.sum()),
        )  # fmt: skip
        kept |= drawn
    chosen = np.flatnonzero(kept)
    found = np.empty((len(chosen), len(labels)), np.float32)
    for rows in of_each:
        mine = kept[rows]
        if mine.any():
            found[np.searchsorted(chosen, rows[mine])] = targets(rows, used)[mine]
    several |= bool((np.nansum(found, axis=1) > 1).any())
    if not (found == 0).all(axis=1).any():
        log.info(
            "every segment that is known has a label: sound that has none of them may be given one;"
            " mark some of it with the sign -, or say --marked all"
        )
    if not several:  # of one label each: what is left out for one label cannot be used at all
        whole = ~np.isnan(found).any(axis=1)
        chosen, found = chosen[whole], found[whole]
    return Chosen(chosen, found, several)


def carriers(
    segments: Segments, known: Mapping[str, Clip], label: str, rule: Rule
) -> NDArray[np.bool_]:
    """Which segments have a label; segments of unknown recordings have none.

    Args:
        segments: the segments.
        known: the recordings by name.
        label: the label.
        rule: which segment has which label.

    Returns:
        bool [n].
    """
    found = np.zeros(len(segments.owner), bool)
    for rows in _by_owner(segments):
        clip = known.get(segments.names[segments.owner[rows[0]]])
        if clip is not None:
            found[rows] = (
                segment_targets(
                    segments.start_s[rows], segments.end_s[rows], clip.stretches, [label], rule
                )[:, 0]
                == 1
            )
    return found


def _by_owner(segments: Segments) -> Iterator[NDArray[np.int64]]:
    """The segments of each recording that has any."""
    order = np.argsort(segments.owner, kind="stable")
    edges = np.flatnonzero(np.diff(segments.owner[order])) + 1
    yield from (rows for rows in np.split(order, edges) if len(rows))


def _sample(
    some: NDArray[np.bool_], most: int, what: str, rng: np.random.Generator
) -> NDArray[np.bool_]:
    total = int(some.sum())
    if total > most:
        log.warning("%d of %d segments %s, drawn at random", most, total, what)
    return _draw(some, most, rng)


def _draw(some: NDArray[np.bool_], most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    rows = np.flatnonzero(some)
    if len(rows) <= most:
        return some.copy()
    drawn = np.zeros(len(some), bool)
    drawn[rng.choice(rows, most, replace=False)] = True
    return drawn


def _warn(
    segments: Segments,
    known: Mapping[str, Clip],
    of_each: Sequence[NDArray[np.int64]],
    rule: Rule,
) -> None:
    """Say which stretches are of no use, and which end after their clips."""
    lost: list[Stretch] = []
    beyond: list[Stretch] = []
    for rows in of_each:
        name = segments.names[segments.owner[rows[0]]]
        stretches = [replace(each, clip=name) for each in known[name].stretches]
        lost += missed(segments.start_s[rows], segments.end_s[rows], stretches, rule)
        end_s = segments.end_s[rows].max()
        beyond += [
            each for each in stretches if end_s + ROUNDING_S < each.end_s and not each.is_whole
        ]
    for found, what in ((lost, "reach no segment"), (beyond, "end after their clips do")):
        if found:
            named = "; ".join(map(str, found[:NAMED])) + "; ..." * (len(found) > NAMED)
            log.warning("%d stretches %s: %s", len(found), what, named)
