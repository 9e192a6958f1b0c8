"""Reads times of a table in the forms in which people and programs write them."""

import re

NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")  # h:mm:ss.s or mm:ss.s


def seconds(text: str, decimal: str = ".") -> float | None:
    """A number of seconds, or hours, minutes and seconds with colons; None if it is neither.

    Args:
        text: a cell.
        decimal: what stands between a number's whole and its parts, a dot or a comma.

    Returns:
        the seconds, or None.
    """
    plain = text.strip().replace(decimal, ".")
    if NUMBER.fullmatch(plain):
        return float(plain)
    clock = CLOCK.fullmatch(plain)
    if clock is None:
        return None
    hours, minutes, rest = (float(part or 0) for part in clock.groups())
    return 3600 * hours + 60 * minutes + rest if minutes < 60 and rest < 60 else None
