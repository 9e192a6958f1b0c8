"""A recording as a picture of any span, from hours to a second, in its own Hz.

In a long span each column is a short look at its middle: the file is not read completely, and what
is shorter than a column may be missed.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from embedkit.audio.decode import MIX
from embedkit.audio.excerpts import excerpts
from embedkit.errors import AudioError, Kind
from embedkit.web.picture import MAGMA, png

COLUMNS, ROWS = 1200, 256  # of a picture
FRAMES = 4  # that a column is the loudest of, at most
BIN_HZ = 1 / 128  # of a band, at most; of frames so long
SHORTEST, LONGEST = 256, 8192  # frames, in samples
TYPICAL_S = 0.025  # of a frame
RANGE_DB = 50.0  # from black to the brightest
QUIET = 0.6  # share of the picture that is as good as black

Power = NDArray[np.float32]


def rate_of(path: Path, track: int) -> int:
    """The sample rate of a recording.

    Args:
        path: the file.
        track: which of several sound tracks, from 1 on.

    Returns:
        the rate in Hz.

    Raises:
        AudioError: it cannot be read.
    """
    for found in excerpts(path, [(0.0, 0.1)], track):
        return found.rate
    raise AudioError(Kind.EMPTY, "no sound")


def view(
    path: Path, start_s: float, end_s: float, low_hz: float, high_hz: float,
    gain_db: float = 0.0, track: int = 1,
) -> bytes:  # fmt: skip
    """A spectrogram of a span as a PNG: time to the right, `low_hz` at the foot.

    Args:
        path: the file.
        start_s: where the span begins, in seconds.
        end_s: where it ends; what is behind the recording's end is black.
        low_hz: the lowest frequency.
        high_hz: the highest frequency.
        gain_db: how much brighter the picture is.
        track: which of several sound tracks, from 1 on.

    Returns:
        the content of the PNG file.

    Raises:
        AudioError: nothing of it can be read.
    """
    rate = rate_of(path, track)
    size = _frame(rate, high_hz - low_hz)
    column_s = (end_s - start_s) / COLUMNS
    power = np.zeros((COLUMNS, size // 2 + 1), np.float32)
    frame_s = size / rate
    look_s = min(max(column_s, frame_s), (FRAMES + 1) / 2 * frame_s)
    if column_s <= frame_s:
        spans = [(max(0.0, start_s - frame_s / 2), end_s + frame_s / 2)]
        for found in excerpts(path, spans, track, short_s=frame_s):
            mono = MIX.of(found.samples)
            middles = (start_s - spans[0][0] + column_s * (np.arange(COLUMNS) + 0.5)) * rate
            power = _at(mono, np.round(middles).astype(int) - size // 2, size)
    else:
        middles = start_s + column_s * (np.arange(COLUMNS) + 0.5)
        looks = [(max(0.0, middle - look_s / 2), middle + look_s / 2) for middle in middles]
        for found in excerpts(path, looks, track, short_s=look_s):
            mono = MIX.of(found.samples)
            firsts = np.arange(0, max(1, len(mono) - size + 1), size // 2)
            power[found.number] = _at(mono, firsts, size).max(axis=0)
    hertz = low_hz + (np.arange(ROWS) + 0.5) * (high_hz - low_hz) / ROWS
    bins = np.round(hertz * size / rate).astype(int)
    heard = bins <= size // 2
    decibels = 10 * np.log10(power[:, bins[heard]].T + 1e-12)
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    floor = np.quantile(decibels, QUIET)
    shares = (decibels - floor + gain_db) / RANGE_DB
    pixels[: heard.sum()] = np.clip(shares * 255, 0, 255).astype(np.uint8)
    return png(pixels[::-1], MAGMA)


def _frame(rate: int, band_hz: float) -> int:
    """Samples of a frame: a power of two, longer where a narrow band is looked at."""
    wanted = max(TYPICAL_S * rate, rate / (band_hz * BIN_HZ))
    return int(np.clip(2 ** round(np.log2(wanted)), SHORTEST, LONGEST))


def _at(mono: NDArray[np.float32], firsts: NDArray[np.int64], size: int) -> Power:
    """The power of frames [n, size // 2 + 1]; what is outside of the samples is silence."""
    window = np.hanning(size).astype(np.float32)
    after = max(0, int(firsts.max()) + size - len(mono))
    before = max(0, -int(firsts.min()))
    padded = np.pad(mono, (before, after))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[firsts + before]
    return (np.abs(rfft(frames * window, axis=1)) ** 2).astype(np.float32)
