"""When a recording began, by its file's name.

Known are the names that recorders give, and what people make of them: the first date with a time
of day in the name counts, whatever stands before and behind it.

    5E886A48                           AudioMoth until 2019: seconds since 1970, hexadecimal
    20200404_102500, 20200404_102500T  AudioMoth (T: it was triggered)
    WALDEN_20240601_140505             Song Meter
    ARIZONA-1_20161023$195550          Song Meter with a clock set by GPS
    S4U_0_20170821_210514_123          with milliseconds, or with microseconds
    SwiftOne_20220719_000000_-0400     Swift: with its offset from UTC
    OWL_12_2022-07-19_T00-00-00        OwlSense
    2022-07-19T05-30-00.250Z           ISO 8601, with any signs between the digits
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath

HEXADECIMAL = re.compile(r"[0-9A-F]{8}", re.IGNORECASE)
# AudioMoths came in 2017. Eight digits that are no seconds since then are some other number.
HEXADECIMAL_SINCE, HEXADECIMAL_UNTIL = 0x58684680, 0x7FFFFFFF
STAMP = re.compile(
    r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)"  # the date
    r"(?:_?T|[_ $-])?"
    r"(\d\d)([-_.:]?)(\d\d)\6(\d\d)"  # the time of day
    r"(?:[._,$](\d{6}|\d{3}))?(?!\d)"
    r"(?:_?(?:(Z)(?![A-Za-z])|([+-])(\d\d):?([0-5]\d)(?!\d)))?"
)
FIRST_YEAR = 1980  # a clock that was never set begins in 1970, or tells no year
MOST_HOURS = 14  # of an offset from UTC
QUARTERS = (0, 15, 30, 45)  # minutes of an offset; others are a number that counts files


def start_in_name(clip: str) -> datetime | None:
    """The start that a clip's name tells.

    Returns:
        the time, with an offset where the name has one, else as the recorder's clock had it; None
            where the name tells none.
    """
    stem = PurePosixPath(clip).stem
    if HEXADECIMAL.fullmatch(stem):
        seconds = int(stem, 16)
        if HEXADECIMAL_SINCE <= seconds <= HEXADECIMAL_UNTIL:
            return datetime.fromtimestamp(seconds, UTC)
        return None
    name = PurePosixPath(clip).name  # a fraction may look like a suffix
    return next(filter(None, map(_read, STAMP.finditer(name))), None)


def _read(found: re.Match[str]) -> datetime | None:
    year, _, month, day, hour, _, minute, second, fraction, zulu, sign, hours, minutes = (
        found.groups()
    )
    if int(year) < FIRST_YEAR:
        return None
    try:
        clock = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None  # digits, but no date
    clock = clock.replace(microsecond=int((fraction or "").ljust(6, "0")))
    if zulu:
        return clock.replace(tzinfo=UTC)
    if sign and int(hours) <= MOST_HOURS and int(minutes) in QUARTERS:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return clock.replace(tzinfo=timezone(-offset if sign == "-" else offset))
    return clock
