"""Selects the segments that were recorded at some time or place."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError, choices
from embedkit.field.recordings import Recordings
from embedkit.numbering import numbered
from embedkit.store import EmbeddingTable

HOURS = re.compile(r"(\d{1,2})(?::([0-5]\d))?\s*[-–]\s*(\d{1,2})(?::([0-5]\d))?")
DAY = 24 * 60  # minutes


class Hours(NamedTuple):
    """From one time of day until before another, in minutes; over midnight if that is earlier."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read a part of the day: `4-9`, `22-4`, `4:30-9`.

        Raises:
            UsageError: it is no part of a day.
        """
        found = HOURS.fullmatch(text.strip())
        if found is not None:
            hours = [int(number or 0) for number in found.groups()]
            start, end = 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
            if start < DAY and end <= DAY and start != end:
                return cls(start, end)
        raise UsageError(
            f"{text!r} is no part of a day; expected hours from 0 to 24, as 4-9, 4:30-9 or 22-4"
        )

    def have(self, clocks: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Which of some times [n] lie in it; unknown times do not."""
        since = clocks - clocks.astype("datetime64[D]")
        after = since >= np.timedelta64(self.start, "m")
        before = since < np.timedelta64(self.end, "m")
        inside: NDArray[np.bool_] = after & before if self.start < self.end else after | before
        return inside


def parse_time(text: str) -> datetime:
    """Read a date or a time in ISO 8601; without an offset it is that of the clocks of each site.

    Raises:
        UsageError: it is neither.
    """
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no date or time; expected 2023-05-01, 2023-05-01T04:30, or with an offset"
            " from UTC, 2023-05-01T04:30+02:00"
        ) from error


@dataclass(frozen=True, kw_only=True)
class FieldFilter:
    """What is asked for in a collection.

    Attributes:
        recordings: the collection's clocks.
        after: the first moment; without an offset, by the clocks of each site.
        before: the moment from which on nothing is taken.
        hours: a part of the day, by the clocks of each site.
        sites: the sites to take; empty: all.
    """

    recordings: Recordings
    after: datetime | None = None
    before: datetime | None = None
    hours: Hours | None = None
    sites: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        known = sorted({note.site for note in self.recordings.notes.values() if note.site})
        for site in self.sites:
            if site not in known:
                hint = choices(site, known) if known else "; `embedkit describe` notes the sites"
                raise UsageError(f"no site {site!r}{hint}")

    @classmethod
    def parse(
        cls,
        recordings: Recordings,
        *,
        after: str | None,
        before: str | None,
        hours: str | None,
        sites: Collection[str],
    ) -> "FieldFilter":
        """Make a filter of texts that a person writes.

        Args:
            recordings: the collection's clocks.
            after: as `parse_time` reads it; None: any time.
            before: as `parse_time` reads it; None: any time.
            hours: as `Hours.parse` reads it; None: all hours.
            sites: names of the sites to take; empty: all.

        Returns:
            the filter.

        Raises:
            UsageError: a text is no time or no part of a day, or there is no such site.
        """
        return cls(
            recordings=recordings,
            after=None if after is None else parse_time(after),
            before=None if before is None else parse_time(before),
            hours=None if hours is None else Hours.parse(hours),
            sites=frozenset(sites),
        )

    @property
    def asks_time(self) -> bool:
        """Whether it asks for a time, and not only for sites."""
        return any(each is not None for each in (self.after, self.before, self.hours))

    @property
    def unknown(self) -> int:
        """The number of clips that it leaves out since their time, or their site, is not known."""
        return sum(
            (self.asks_time and note.recorded_at is None) or (bool(self.sites) and not note.site)
            for note in self.recordings.notes.values()
        )

    def fits(
        self, clips: Sequence[str], owner: NDArray[np.int64], start_s: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which segments begin at the time, and were recorded at the sites, that it asks for.

        Args:
            clips: names of clips.
            owner: number of each segment's clip [n].
            start_s: where each begins in its clip, in seconds [n].

        Returns:
            bool [n].
        """
        there = [not self.sites or self.recordings.site(clip) in self.sites for clip in clips]
        fits: NDArray[np.bool_] = np.array(there, bool)[owner]
        if not self.asks_time:
            return fits
        instants = self.recordings.instants(clips, owner, start_s)
        clocks = self.recordings.clocks(clips, owner, instants)
        fits &= ~np.isnat(instants)
        for bound, compare in ((self.after, np.greater_equal), (self.before, np.less)):
            if bound is not None:
                times = clocks if bound.tzinfo is None else instants
                plain = bound if bound.tzinfo is None else bound.astimezone(UTC)
                fits &= compare(times, np.datetime64(plain.replace(tzinfo=None), "us"))
        if self.hours is not None:
            fits &= self.hours.have(clocks)
        return fits

    def rows(
        self, clips: Sequence[str] | NDArray[np.object_], start_s: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """As `fits`, for segments with the name of each one's clip.

        Args:
            clips: name of each segment's clip [n].
            start_s: where each begins in its clip, in seconds [n].

        Returns:
            bool [n].
        """
        names, owner = numbered(np.asarray(clips, object))
        return self.fits(names.tolist(), owner, start_s)

    def clips(self, table: EmbeddingTable) -> set[str]:
        """The clips that have at least one segment that fits."""
        found: set[str] = set()
        for part in table.parts:
            rows = table.spans([part.name])
            found.update(rows.clips[self.rows(rows.clips, rows.start_s)])
        return found
