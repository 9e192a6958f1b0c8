"""Timezones by name, and the clocks of places."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError

OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
MOST_HOURS = 14  # of an offset from UTC
Times = NDArray[np.datetime64]  # in microseconds


@lru_cache(maxsize=1000)
def find_zone(name: str) -> tzinfo:
    """A timezone: `Europe/Berlin`, or an offset that holds all year, `UTC+1`, `UTC-3:30`.

    Raises:
        UsageError: there is no such timezone.
    """
    name = name.strip()
    found = OFFSET.fullmatch(name)
    if found is not None and int(found[2]) <= MOST_HOURS:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        return timezone(-offset if found[1] == "-" else offset)
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "say it as in Europe/Berlin or UTC+1"
        raise UsageError(f"no timezone {name!r}; {hint}") from error


def offset_name(start: datetime) -> str:
    """The offset of a time from UTC as the name of a timezone: `UTC+02:00`."""
    return start.strftime("UTC%z")


def local(instants: Times, zone: tzinfo) -> Times:
    """What the clocks of a place show at instants of UTC.

    Args:
        instants: instants [n].
        zone: timezone of the place.

    Returns:
        local times [n]; NaT where an instant is NaT.
    """
    # In UTC, clocks change where a quarter of an hour begins.
    quarters, where = np.unique(instants.astype("datetime64[15m]"), return_inverse=True)
    offsets = [
        np.timedelta64("NaT") if start is None else np.timedelta64(_offset(start, zone))
        for start in quarters.astype("datetime64[us]").tolist()
    ]
    found: Times = instants + np.array(offsets, "timedelta64[us]")[where]
    return found


def _offset(start: datetime, zone: tzinfo) -> timedelta:
    return start.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()
