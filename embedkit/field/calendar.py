"""Events of a collection counted by the day and the hour of its sites' clocks."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.field.filters import FieldFilter
from embedkit.field.recordings import Recordings

STEP_S = 900.0  # clocks change hour by steps of a quarter of an hour
ASKED_STEP_S = 60.0  # and a person asks for minutes
HOURS = 24


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Events of a collection in each hour.

    Attributes:
        first: the first day.
        recorded: bool [days, 24]; whether anything was recorded, and looked at, in that hour.
        counts: for each label the number of events that began in that hour, int64 [days, 24].
        without_time: number of events whose time is not known.
    """

    first: date
    recorded: NDArray[np.bool_]
    counts: dict[str, NDArray[np.int64]]
    without_time: int


class Tally:
    """Counts events as they come."""

    def __init__(
        self,
        recordings: Recordings,
        durations: dict[str, float],
        among: FieldFilter | None = None,
    ) -> None:
        """Begin to count.

        Args:
            recordings: the clocks of the collection.
            durations: the length of each clip in seconds.
            among: what was looked at; by default everything.

        Raises:
            UsageError: no clip's time is known, or nothing was looked at.
        """
        self._recordings = recordings
        hours = _hours_recorded(recordings, durations, among)
        if not len(hours):
            raise UsageError(
                "no hour of what is looked at has a known time: `embedkit describe` notes when the"
                " files were recorded"
            )
        self._hours = hours
        self._found: Counter[tuple[str, np.datetime64]] = Counter()
        self._without_time = 0

    def add(self, clip: str, start_s: float, label: str) -> None:
        """Count an event in the hour in which it begins.

        Args:
            clip: name of the clip.
            start_s: where the event begins in it, in seconds.
            label: label of the event.
        """
        moment = self._recordings.moment(clip, start_s)
        if moment is None:
            self._without_time += 1
            return
        self._found[label, np.datetime64(moment.replace(tzinfo=None), "h")] += 1

    def result(self, labels: Iterable[str] = ()) -> Calendar:
        """The counts; labels that are named have counts even if nothing was found."""
        # An hour in which something was found was looked at, however short the look.
        found = np.array([hour for _, hour in self._found], "datetime64[h]")
        hours = np.unique(np.append(self._hours, found))
        first = hours.min().astype("datetime64[D]")
        since = (hours - first).astype("timedelta64[h]").astype(np.int64)
        days = int(since.max()) // HOURS + 1
        recorded = np.zeros(days * HOURS, bool)
        recorded[since] = True
        counts = {
            label: np.zeros(days * HOURS, np.int64)
            for label in dict.fromkeys([*labels, *(label for label, _ in self._found)])
        }
        for (label, hour), count in self._found.items():
            counts[label][(hour - first).astype("timedelta64[h]").astype(np.int64)] = count
        return Calendar(
            first=first.item(),
            recorded=recorded.reshape(days, HOURS),
            counts={label: each.reshape(days, HOURS) for label, each in counts.items()},
            without_time=self._without_time,
        )


def days_of(calendar: Calendar) -> list[date]:
    """The days of a calendar."""
    return [calendar.first + timedelta(days=number) for number in range(len(calendar.recorded))]


def _hours_recorded(
    recordings: Recordings, durations: dict[str, float], among: FieldFilter | None
) -> NDArray[np.datetime64]:
    """The hours of the sites' clocks of which something was recorded and looked at, once each."""
    clips = [clip for clip, note in recordings.notes.items() if note.recorded_at is not None]
    seconds = [max(durations.get(clip, 0.0), 0.0) for clip in clips]
    # A look at every step from the start on, and one at the last moment.
    step_s = STEP_S if among is None else ASKED_STEP_S
    looks = [np.append(np.arange(0, long, step_s), max(long - 1e-3, 0)) for long in seconds]
    if not looks:
        return np.zeros(0, "datetime64[h]")
    owner = np.repeat(np.arange(len(clips)), [len(each) for each in looks])
    at_s = np.concatenate(looks)
    if among is not None:
        kept = among.fits(clips, owner, at_s)
        owner, at_s = owner[kept], at_s[kept]
    clocks = recordings.clocks(clips, owner, recordings.instants(clips, owner, at_s))
    hours: NDArray[np.datetime64] = np.unique(clocks.astype("datetime64[h]"))
    return hours
