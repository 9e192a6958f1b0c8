"""The clocks of a collection: when each of its seconds was recorded, in local time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embedkit.field.zones import Times, find_zone, local
from embedkit.store import EmbeddingTable, FieldNote

NOTHING = FieldNote()


class Recordings:
    """When and where the clips of a collection were recorded.

    Hours of the day are those of the site; where its timezone is not known, those of UTC.

    Attributes:
        notes: the notes by clip.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Read the notes in the journal."""
        self.notes = table.notes

    @cached_property
    def are_known(self) -> bool:
        """Whether the time or the site of any clip is known."""
        return any(note.recorded_at or note.site for note in self.notes.values())

    def moment(self, clip: str, at_s: float) -> datetime | None:
        """A second of a clip by the clocks of its site, with their offset.

        Args:
            clip: name of the clip.
            at_s: seconds within it.

        Returns:
            the moment; None if it is not known.
        """
        note = self.notes.get(clip, NOTHING)
        if note.recorded_at is None:
            return None
        zone = find_zone(note.timezone) if note.timezone else UTC
        return (note.recorded_at + timedelta(seconds=at_s)).astimezone(zone)

    def stamp(self, clip: str, at_s: float) -> str | None:
        """The moment in ISO 8601, to the millisecond.

        Args:
            clip: name of the clip.
            at_s: seconds within it.

        Returns:
            the text; None if the moment is not known.
        """
        moment = self.moment(clip, at_s)
        return None if moment is None else moment.isoformat(timespec="milliseconds")

    def site(self, clip: str) -> str | None:
        """Where a clip was recorded."""
        return self.notes.get(clip, NOTHING).site

    def instants(
        self, clips: Sequence[str], owner: NDArray[np.int64], at_s: NDArray[np.float64]
    ) -> Times:
        """Seconds of clips as instants of UTC.

        Args:
            clips: names of clips.
            owner: number of each second's clip [n].
            at_s: seconds within the clip [n].

        Returns:
            instants [n]; NaT where the clip's time is not known.
        """
        starts = [self.notes.get(clip, NOTHING).recorded_at for clip in clips]
        plain = [start and start.astimezone(UTC).replace(tzinfo=None) for start in starts]
        microseconds = np.round(1e6 * np.asarray(at_s)).astype("timedelta64[us]")
        found: Times = np.array(plain, "datetime64[us]")[owner] + microseconds
        return found

    def clocks(self, clips: Sequence[str], owner: NDArray[np.int64], instants: Times) -> Times:
        """What the clocks of the sites show at some instants.

        Args:
            clips: names of clips.
            owner: number of each instant's clip [n].
            instants: as `instants` gives them [n].

        Returns:
            local times [n]; NaT where an instant is not known.
        """
        zones = [self.notes.get(clip, NOTHING).timezone or "UTC" for clip in clips]
        shown = instants.copy()
        for name in set(zones):
            mine = np.array([zone == name for zone in zones], bool)[owner]
            shown[mine] = local(instants[mine], find_zone(name))
        return shown


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much is known of some clips.

    Attributes:
        files: number of clips.
        with_time, with_site: number of clips whose time, or site, is known.
        sites: number of clips of each site.
        first, last: the earliest and the latest start, by the clocks of the sites.
    """

    files: int
    with_time: int
    with_site: int
    sites: dict[str, int]
    first: datetime | None
    last: datetime | None


def cover(recordings: Recordings) -> Coverage:
    """How much is known of a collection."""
    notes = recordings.notes
    timed = sorted((note.recorded_at, clip) for clip, note in notes.items() if note.recorded_at)
    sites = Counter(note.site for note in notes.values() if note.site)
    return Coverage(
        files=len(notes),
        with_time=len(timed),
        with_site=sites.total(),
        sites=dict(sorted(sites.items())),
        first=recordings.moment(timed[0][1], 0) if timed else None,
        last=recordings.moment(timed[-1][1], 0) if timed else None,
    )
