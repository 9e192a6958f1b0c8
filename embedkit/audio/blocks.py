"""The output of every decoder: blocks of samples, notes for people, and one end."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import AudioError, Kind

# [samples, channels]: float32 with 1 as full scale, or int16, which is faster to read and to mix.
Raw = NDArray[np.float32] | NDArray[np.int16]

# A rate in Hz, and samples.
Block = tuple[int, Raw]

# Is told what is odd about a file that is read all the same.
Note = Callable[[str], object]

# Samples that are decoded, checked, mixed and resampled at a time. Of twice as many, the memory
# goes back to the system after each block, and to get it anew takes longer than they save.
BLOCK = 2**15

# Of a file with many channels a block has fewer samples: this many values at most.
VALUES = 2**18

# And of one with a low rate: this many seconds at most, since they become many more samples.
BLOCK_S = 60

# Beyond any recording, Hz. A damaged header's rate could make resampling take hours or gigabytes.
RATES = range(100, 10_000_001)

# Seconds that may be missing: encoders round the lengths that they state to whole frames.
TOLERANCE_S = 0.25


def full_scale(samples: Raw) -> int:
    """The value of full scale in these samples: 1 for floats, 32,768 for int16."""
    return 2**15 if samples.dtype == np.int16 else 1


def floats(samples: Raw) -> NDArray[np.float32]:
    """Samples as float32 with 1 as full scale; int16 becomes exactly what decoders make of it."""
    found = samples.astype(np.float32, copy=False)
    return found if found is samples else found / np.float32(full_scale(samples))


def check_rate(rate: int) -> None:
    """Refuse a sample rate that no recording has.

    Raises:
        AudioError: the rate is not between 100 Hz and 10 MHz.
    """
    if rate not in RATES:
        raise AudioError(Kind.UNREADABLE, f"it states a sample rate of {rate} Hz")


def block_length(rate: int, channels: int) -> int:
    """The number of samples of a block.

    Args:
        rate: sample rate in Hz.
        channels: number of channels.

    Returns:
        samples of each channel.
    """
    return min(BLOCK, rate * BLOCK_S, max(1, VALUES // channels))


def is_short(found: float, stated: float) -> bool:
    """Whether a length is shorter than the stated one by more than rounding.

    Args:
        found: seconds that were decoded.
        stated: seconds that the file states.

    Returns:
        whether sound is missing.
    """
    return stated - found > min(TOLERANCE_S, stated / 10)


def truncated(seconds: float, reason: str) -> AudioError:
    """The error of a file that ends too early.

    Args:
        seconds: seconds that were decoded; 0: the file gives nothing.
        reason: what is wrong, for a person.

    Returns:
        the error.
    """
    if seconds == 0:
        return AudioError(Kind.UNREADABLE, f"no sample can be decoded ({reason})")
    return AudioError(Kind.TRUNCATED, f"ends or is damaged after {seconds:.2f} s: {reason}")
