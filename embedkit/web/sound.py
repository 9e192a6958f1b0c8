"""Lets a person hear a sound in the explorer: slices, and their peaks."""

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from embedkit.audio.band import Passage
from embedkit.audio.decode import MIX, Samples
from embedkit.audio.excerpts import excerpts
from embedkit.errors import AudioError, Kind
from embedkit.hearing import AS_RECORDED, Hearing

RATE = 32000  # of what is heard
LONGEST_S = 120.0  # of a slice, and of its sound
PEAKS = 800  # of a slice
AROUND_S = 1.0  # of a slice: what resampling looks at
CACHED_BYTES = 128 * 2**20


class Cache:
    """Values by key; the oldest are forgotten when all together have too many bytes."""

    def __init__(self, most: int = CACHED_BYTES) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The value of a key.

        Args:
            key: the key.
            make: makes the value, if it is not there.

        Returns:
            the value.
        """
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        value = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = value
                self._bytes += len(value)
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= len(self._held.popitem(last=False)[1])
        return value


def stamp(path: Path) -> tuple[int, ...]:
    """Size and time of change of a file, by which its sound is kept; () if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def longest_s(hearing: Hearing) -> float:
    """The most seconds of a recording in a slice: what is slowed down takes longer to hear."""
    return LONGEST_S * min(1.0, hearing.speed)


def read_span(
    path: Path, start_s: float, end_s: float, track: int = 1, hearing: Hearing = AS_RECORDED
) -> Samples:
    """The samples of a span of a sound track as they are heard at 32 kHz, of at most two minutes.

    Of a damaged file what can be decoded is given.

    Args:
        path: the file.
        start_s: where the span begins, in seconds of the recording.
        end_s: where it ends.
        track: which of several sound tracks, from 1 on.
        hearing: speed and band; at a speed of 0.1 a second of the recording has ten seconds of
            samples.

    Returns:
        float32 [samples].

    Raises:
        AudioError: nothing of it can be decoded, or it has nothing of the band.
    """
    end_s = min(end_s, start_s + longest_s(hearing))
    # From a whole second on: there samples of every rate stand at the same time.
    begin_s = max(0.0, math.floor(start_s) - AROUND_S)
    parts: list[Samples] = []
    try:
        span = begin_s, end_s + AROUND_S
        for found in excerpts(path, [span], track, short_s=2 * AROUND_S):
            mono = MIX.of(found.samples)
            if not np.isfinite(mono).all():
                raise AudioError(Kind.NON_FINITE, "NaN or infinity")
            parts.append(Passage(found.rate, RATE, hearing).take(mono, last=True))
    except AudioError:
        if not parts:
            raise
    first, last = (round((time - begin_s) * RATE / hearing.speed) for time in (start_s, end_s))
    return np.concatenate(parts)[first:last] if parts else np.zeros(0, np.float32)


def wav(samples: Samples) -> bytes:
    """A WAV file of 16 bits."""
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(samples, -1, 1), RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def peaks(samples: Samples) -> NDArray[np.float32]:
    """The largest magnitude in each of 800 parts; of fewer samples, the magnitude of each."""
    if not len(samples):
        return samples
    bounds = np.linspace(0, len(samples), min(PEAKS, len(samples)) + 1).astype(int)[:-1]
    found: NDArray[np.float32] = np.maximum.reduceat(np.abs(samples), bounds)
    return found
