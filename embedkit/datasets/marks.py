"""Turns the rows of tables into recordings with what is said about their parts."""

import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedkit.datasets.cells import (
    FACTS,
    NOTHING,
    SKIP,
    SKIPPED,
    Facts,
    counted,
    warn_of_doubts,
)
from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.stretches import Placed, Sign, Stretch, refuse_contradictions
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A row of a table.

    Attributes:
        file: the sound.
        place: where the row stands, `table.csv, row 3`.
        labels: its labels; without any, the row only says that there is such a sound.
        start_s, end_s: seconds within the sound.
        sign: sign of the labels.
        facts: fold, split and group, where there are any.
    """

    file: Path
    place: str
    labels: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float = math.inf
    sign: Sign = Sign.POSITIVE
    facts: Facts = (None,) * len(FACTS)

    def __post_init__(self) -> None:
        times = f"from {self.start_s:g} to {self.end_s:g} s"
        if math.isnan(self.start_s + self.end_s) or self.start_s == math.inf:
            raise DatasetError(
                f"{self.place}: goes {times}; expected seconds from the clip's start"
            )
        if self.start_s < 0:
            raise DatasetError(f"{self.place}: goes {times}; no clip begins before 0 s")
        if self.end_s < self.start_s:
            raise DatasetError(f"{self.place}: goes {times}; expected an end that is no earlier")


@dataclass
class _Recording:
    """What has been said about a sound so far."""

    first: Mark
    placed: list[Placed] = field(default_factory=list)

    def add(self, mark: Mark) -> None:
        """Take another of its rows.

        Raises:
            DatasetError: it differs from the first in a fact.
        """
        for name, one, other in zip(FACTS, self.first.facts, mark.facts, strict=True):
            if one != other:
                raise DatasetError(
                    f"{mark.place}: {mark.file.name} has the {name} {other or 'none'!r}, and"
                    f" {one or 'none'!r} in {self.first.place}; expected one {name} a file"
                )
        for label in mark.labels:
            if label != SKIP:
                stretch = Stretch(
                    clip=str(mark.file),
                    start_s=mark.start_s,
                    end_s=mark.end_s,
                    label=label,
                    sign=mark.sign,
                )
                self.placed.append(Placed(stretch, mark.place))

    def clip(self) -> Clip:
        """The sound with all that was said of it.

        Raises:
            DatasetError: some of that contradicts itself.
        """
        refuse_contradictions(self.placed)
        stretches = tuple(stretch for stretch, _ in self.placed)
        there = dict.fromkeys(each.label for each in stretches if each.sign is Sign.POSITIVE)
        fold, split, group = self.first.facts
        return Clip(
            path=self.first.file,
            labels=tuple(there),
            fold=fold,
            split=split,
            group=group,
            stretches=stretches,
        )


def gathered(tables: Iterable[tuple[Sequence[Mark], bool]], source: Path) -> Manifest:
    """The recordings that tables are about, each with its stretches, in the order of the tables.

    Args:
        tables: for each table its marks, and whether a row may have several labels.
        source: the name of all tables in messages.

    Returns:
        the recordings with their stretches.

    Raises:
        DatasetError: there is no label, or rows of one sound differ in a fact, or contradict each
            other.
    """
    found: dict[str, _Recording] = {}
    left_out: list[tuple[str, str]] = []
    several_labels = False
    for marks, several in tables:
        several_labels |= several
        for mark in marks:
            found.setdefault(os.path.normpath(mark.file), _Recording(mark)).add(mark)
            if mark.labels in {(), (SKIP,)}:
                left_out.append((str(mark.file), SKIPPED if mark.labels else NOTHING))
    clips = tuple(recording.clip() for recording in found.values())
    if not any(clip.stretches for clip in clips):
        raise DatasetError(
            f"{source}: expected rows with a sound and a label; found:"
            f" {counted(left_out) if left_out else 'no rows'}"
        )
    if left_out:
        log.warning("%s: rows left out: %s", source, counted(left_out))
    warn_of_doubts([(each.label,) for clip in clips for each in clip.stretches], False, source)
    return Manifest(clips, several_labels, left_out=tuple(left_out), is_marked=True)
