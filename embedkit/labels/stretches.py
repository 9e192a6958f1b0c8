"""The rule by which segments get labels that have a beginning and an end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.stretches import TOLERANCE_S, Sign, Stretch
from embedkit.errors import UsageError

__all__ = ["Marked", "Rule", "Sign", "Stretch", "missed", "segment_targets", "touched", "unite"]

Seconds = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Marked(StrEnum):
    """How much of the sound was marked."""

    ALL = "all"  # what is not marked is nothing
    SOME = "some"  # what is not marked is unknown


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a segment has a label: either of the two shares is enough.

    Attributes:
        cover: share of the segment that stretches of the label must cover.
        within: share of one stretch that must lie in the segment.
        marked: with `some`, a segment that has a label has none of the others, and nothing is known
            of a segment without labels; with `all`, what is not marked has no label.
    """

    cover: float = 0.5
    within: float = 0.5
    marked: Marked = Marked.SOME

    def __post_init__(self) -> None:
        if not (0 < self.cover <= 1 and 0 < self.within <= 1):
            raise UsageError(
                f"shares of {self.cover:g} of a segment and {self.within:g} of a stretch: expected"
                " more than 0, and at most 1"
            )


def segment_targets(
    start_s: Seconds,
    end_s: Seconds,
    stretches: Iterable[Stretch],
    labels: Sequence[str],
    rule: Rule | None = None,
) -> NDArray[np.float32]:
    """The targets of the segments of a clip for some labels.

    Stretches of one label and sign are united first. A segment has the label if they cover enough
    of it, or if enough of one of them lies in it; a stretch of no length lies in the segment that
    holds it. Negatives reach a segment in the same way.

    Args:
        start_s: beginnings of the segments in seconds, in any order [n].
        end_s: their real ends [n]: a padded segment ends with the clip.
        stretches: stretches of this clip; those of other labels only say that a segment is marked.
        labels: the labels that are asked for.
        rule: how much is enough, and what unmarked sound means; by default a half, and unknown.

    Returns:
        float32 [n, labels]: 1 has the label, 0 has it not, NaN is left out for this label: it is
        unknown or uncertain, or the segment only touches a stretch.
    """
    rule = rule or Rule()
    parts = _part(stretches)
    reached = {key: _reach(start_s, end_s, spans, rule) for key, spans in parts.items()}
    nothing = _Reach(np.zeros(len(start_s), bool), np.zeros(len(start_s), bool), np.zeros(0, bool))
    has_any = np.zeros(len(start_s), bool)
    for (_, sign), reach in reached.items():
        if sign is Sign.POSITIVE:
            has_any |= reach.reached
    targets = np.empty((len(start_s), len(labels)), np.float32)
    for column, label in enumerate(labels):
        positive, negative, uncertain = (reached.get((label, sign), nothing) for sign in Sign)
        known = has_any | negative.reached | (rule.marked is Marked.ALL)
        doubtful = positive.touched | uncertain.touched
        targets[:, column] = np.where(known & ~doubtful, 0, np.nan)
        targets[positive.reached, column] = 1
    return targets


def missed(
    start_s: Seconds, end_s: Seconds, stretches: Iterable[Stretch], rule: Rule | None = None
) -> list[Stretch]:
    """Positives and negatives, united, that give no segment their label.

    Args:
        start_s: as for `segment_targets`.
        end_s: as for `segment_targets`.
        stretches: as for `segment_targets`.
        rule: as for `segment_targets`.

    Returns:
        the stretches, sorted.
    """
    stretches = list(stretches)
    found = []
    for (label, sign), spans in _part(stretches).items():
        if sign is not Sign.UNCERTAIN:
            caught = _reach(start_s, end_s, spans, rule or Rule()).caught
            found += [
                Stretch(
                    clip=stretches[0].clip, start_s=float(start), end_s=float(end), label=label,
                    sign=sign,
                )
                for start, end in spans[~caught]
            ]  # fmt: skip
    return sorted(found)


def touched(start_s: Seconds, end_s: Seconds, stretches: Iterable[Stretch]) -> Mask:
    """Which segments of a clip hold any part of a stretch.

    Args:
        start_s: beginnings of the segments in seconds [n].
        end_s: their ends [n].
        stretches: stretches of this clip.

    Returns:
        bool [n].
    """
    return _reach(start_s, end_s, unite(stretches), Rule()).touched


def unite(stretches: Iterable[Stretch]) -> Seconds:
    """Starts and ends [k, 2] of what some stretches of one clip cover together, sorted."""
    united: list[list[float]] = []
    for start, end in sorted((stretch.start_s, stretch.end_s) for stretch in stretches):
        if united and start <= united[-1][1] + TOLERANCE_S:
            united[-1][1] = max(united[-1][1], end)
        else:
            united.append([start, end])
    return np.array(united, np.float64).reshape(-1, 2)


def _part(stretches: Iterable[Stretch]) -> dict[tuple[str, Sign], Seconds]:
    """What is covered by each label and sign, united."""
    parts: dict[tuple[str, Sign], list[Stretch]] = {}
    for stretch in stretches:
        parts.setdefault((stretch.label, stretch.sign), []).append(stretch)
    return {key: unite(same) for key, same in parts.items()}


class _Reach(NamedTuple):
    """How spans meet segments."""

    reached: Mask  # [n], segments of which enough is covered, or that hold enough of a span
    touched: Mask  # [n], segments with any of a span in them
    caught: Mask  # [k], spans that touch a segment that is reached


def _reach(start_s: Seconds, end_s: Seconds, spans: Seconds, rule: Rule) -> _Reach:
    """How spans [k, 2], sorted and apart, meet the segments [n] of a clip."""
    order = np.argsort(start_s, kind="stable")
    begin, end = start_s[order], end_s[order]
    first, last = spans[:, 0], np.minimum(spans[:, 1], end_s.max(initial=0))
    length = last - first
    # Pairs of a segment and a span that meet: spans are sorted, so those of a segment are a range.
    low = np.searchsorted(last, begin - TOLERANCE_S)
    high = np.searchsorted(first, end + TOLERANCE_S, side="right")
    counts = np.maximum(high - low, 0)
    segment = np.repeat(np.arange(len(begin)), counts)
    span = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - low, counts)
    shared = np.minimum(end[segment], last[span]) - np.maximum(begin[segment], first[span])
    is_point = spans[:, 1] - first <= TOLERANCE_S
    held = is_point[span] & _held(begin, end, first, segment, span)
    meets = held | (~is_point[span] & (shared > TOLERANCE_S))
    segment, span, shared, held = segment[meets], span[meets], shared[meets], held[meets]
    covered = np.bincount(segment, shared.clip(min=0), len(begin))
    reached = covered >= rule.cover * (end - begin) - TOLERANCE_S
    touched = np.zeros(len(begin), bool)
    touched[segment] = True
    reached &= touched
    reached[segment[held | (shared >= rule.within * length[span] - TOLERANCE_S)]] = True
    caught = np.zeros(len(spans), bool)
    caught[span[reached[segment]]] = True
    back = np.argsort(order)
    return _Reach(reached[back], touched[back], caught)


def _held(
    begin: Seconds,
    end: Seconds,
    time: Seconds,
    segment: NDArray[np.int64],
    span: NDArray[np.int64],
) -> Mask:
    """Which segments of the pairs hold the time of their span.

    Where one segment ends and the next begins, the next holds it; where none begins, the segments
    that end there do.
    """
    within = time[span] < end[segment] - TOLERANCE_S
    followed = np.zeros(len(time), bool)
    followed[span[within & (begin[segment] <= time[span] + TOLERANCE_S)]] = True
    near = (begin[segment] <= time[span] + TOLERANCE_S) & (time[span] <= end[segment] + TOLERANCE_S)
    held: Mask = near & (within | ~followed[span])
    return held
