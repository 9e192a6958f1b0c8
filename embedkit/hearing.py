"""How a recording is heard: its speed and its band."""

import math
import re
from dataclasses import dataclass

from embedkit.errors import UsageError

SPEEDS = 0.01, 100.0  # how often as fast, from which to which
HERTZ = r"\d{1,7}(?:\.\d+)?"


@dataclass(frozen=True)
class Band:
    """The frequencies of a recording that are heard, in its own Hz; all others are removed.

    The filter has linear phase, and its delay is removed too: a sound stays at its time.
    """

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> "Band":
        """Read `2000-8000`.

        Raises:
            UsageError: it is not such a text, or the band is empty.
        """
        found = re.fullmatch(f"({HERTZ})-({HERTZ})", text)
        if found is None or not float(found[1]) < float(found[2]):
            raise UsageError(f"band {text!r}: expected LOW-HIGH in Hz, as in 2000-8000")
        return cls(float(found[1]), float(found[2]))

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """How a recording is heard.

    Attributes:
        speed: how many times as fast as recorded: at 0.1, bats come down to where birds sing.
        band: the band that is heard, before the speed changes; None: all.

    Raises:
        UsageError: the speed is out of range.
    """

    speed: float = 1.0
    band: Band | None = None

    def __post_init__(self) -> None:
        low, high = SPEEDS
        if not (math.isfinite(self.speed) and low <= self.speed <= high):
            raise UsageError(f"speed {self.speed:g}: must be from {low:g} to {high:g}")


AS_RECORDED = Hearing()
