"""Clocks of places, beside Python's own arithmetic, about the hours in which they change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from embedkit.errors import UsageError
from embedkit.field.zones import find_zone, local, offset_name

# Berlin leaves out 02:00 to 03:00 that night; Lord Howe puts its clocks by half an hour.
NIGHTS = {
    "Europe/Berlin": datetime(2023, 3, 25, 20, tzinfo=UTC),
    "America/Los_Angeles": datetime(2023, 11, 5, 5, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2023, 4, 1, 12, tzinfo=UTC),
    "Asia/Kathmandu": datetime(2023, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("name", NIGHTS)
def test_local_clocks_are_those_of_zoneinfo(name: str) -> None:
    instants = [NIGHTS[name] + timedelta(seconds=137.25 * step) for step in range(400)]
    plain = np.array([each.replace(tzinfo=None) for each in instants], "datetime64[us]")
    expected = [each.astimezone(ZoneInfo(name)).replace(tzinfo=None) for each in instants]
    assert local(plain, find_zone(name)).tolist() == expected


def test_what_has_no_time_has_none() -> None:
    times = np.array(["NaT", "2023-07-01T12:00"], "datetime64[us]")
    assert local(times, find_zone("Europe/Berlin")).tolist() == [None, datetime(2023, 7, 1, 14)]
    assert len(local(times[:0], find_zone("UTC"))) == 0


@pytest.mark.parametrize(
    ("name", "hours"),
    [("UTC", 0), ("utc", 0), ("UTC+1", 1), ("UTC-3:30", -3.5), ("+05:45", 5.75), ("gmt-0400", -4)],
)
def test_offsets_are_timezones_too(name: str, hours: float) -> None:
    offset = timedelta(hours=hours)
    zone = find_zone(name)
    assert zone.utcoffset(datetime(2023, 7, 1)) == zone.utcoffset(datetime(2023, 1, 1)) == offset
    same = find_zone(offset_name(datetime(2023, 7, 1, tzinfo=zone)))
    assert same.utcoffset(None) == offset


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("the 3rd", "say it as in"),
        ("UTC+20", "no timezone"),
        ("../../etc/passwd", "no timezone"),
        ("", "no timezone"),
    ],
)
def test_what_is_no_timezone_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", "[?]")):
        find_zone(name)
