"""Stretches: labels with a beginning and an end."""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from embedkit.errors import DatasetError

TOLERANCE_S = 1e-6  # what differs by less is the same time


class Sign(StrEnum):
    """What a stretch says about its label."""

    POSITIVE = "+"  # it is here
    NEGATIVE = "-"  # it is not here
    UNCERTAIN = "?"  # nobody knows: kept, and never used


@dataclass(frozen=True, order=True, kw_only=True)
class Stretch:
    """What somebody says about a part of a clip.

    Attributes:
        clip: its name in the table; once it is joined to an embedding folder, its name there.
        start_s, end_s: seconds within the clip; for a whole clip 0 and infinity.
        label: one label, in Unicode's NFC, so that what looks the same is the same.
        sign: whether the label is here.
    """

    clip: str
    start_s: float = 0.0
    end_s: float = math.inf
    label: str
    sign: Sign = Sign.POSITIVE

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", unicodedata.normalize("NFC", self.label))

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole clip, as for a label without times."""
        return (self.start_s, self.end_s) == (0.0, math.inf)

    def __str__(self) -> str:
        """Its name in a message: `a.wav, 3.5 to 4.2 s, wren`."""
        return f"{self.clip}, {self.start_s:g} to {self.end_s:g} s, {self.label}"


class Placed(NamedTuple):
    """A stretch, and where it was read: `table.csv, row 3`."""

    stretch: Stretch
    place: str


def by_clip(stretches: Iterable[Stretch]) -> Mapping[str, list[Stretch]]:
    """The stretches of each clip, in their order."""
    found: dict[str, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        found[stretch.clip].append(stretch)
    return found


def refuse_contradictions(placed: Sequence[Placed]) -> None:
    """Refuse stretches that say that a label is, and is not, at one time.

    Raises:
        DatasetError: a negative overlaps a positive of its label in its clip; names both places.
    """
    groups: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for each in placed:
        if each.stretch.sign is not Sign.UNCERTAIN:
            groups[each.stretch.clip, each.stretch.label].append(each)
    for same in groups.values():
        if len({stretch.sign for stretch, _ in same}) > 1:
            _refuse(sorted(same))


def _refuse(same: Sequence[Placed]) -> None:
    """Compare each of some stretches, sorted by time, with the one that reaches furthest so far."""
    furthest: dict[Sign, Placed] = {}
    for each in same:
        sign = each.stretch.sign
        other = furthest.get(Sign.NEGATIVE if sign is Sign.POSITIVE else Sign.POSITIVE)
        if other is not None and _overlap(other.stretch, each.stretch):
            positive, negative = (each, other) if sign is Sign.POSITIVE else (other, each)
            raise DatasetError(
                f"{negative.place}: says that there is no {each.stretch.label} from"
                f" {negative.stretch.start_s:g} to {negative.stretch.end_s:g} s, and"
                f" {positive.place} that there is one from {positive.stretch.start_s:g} to"
                f" {positive.stretch.end_s:g} s; correct one of them"
            )
        if sign not in furthest or each.stretch.end_s > furthest[sign].stretch.end_s:
            furthest[sign] = each


def _overlap(first: Stretch, second: Stretch) -> bool:
    """Whether the second, which begins no earlier, begins before the first one ends.

    A stretch of no length overlaps what begins there.
    """
    is_point = first.end_s - first.start_s <= TOLERANCE_S
    return second.start_s < first.end_s - TOLERANCE_S or (
        is_point and second.start_s <= first.start_s + TOLERANCE_S
    )
