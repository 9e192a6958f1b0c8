"""Filters a recording to the band that is heard, and changes its sample rate."""

import numpy as np
import soxr
from numpy.typing import NDArray

from embedkit.errors import AudioError, Kind
from embedkit.hearing import Band, Hearing

Samples = NDArray[np.float32]

STOPPED_DB = 60.0  # by which what is outside of a band is weaker
EDGE = 0.25  # width of a band's edge, of its lowest frequency or of its own width
TAPS = 2**16  # at most; of a filter with steeper edges


def taps_of(band: Band, rate: int) -> NDArray[np.float64] | None:
    """The filter of a band at a sample rate.

    Args:
        band: the frequencies to keep.
        rate: sample rate in Hz.

    Returns:
        float64 taps of an odd number; None if the band holds all frequencies of the rate.

    Raises:
        AudioError: a recording at that rate has nothing of the band.
    """
    # It takes longer to load than all else, and few recordings are heard in a band.
    from scipy.signal import firwin, kaiserord

    top = rate / 2
    if band.low >= top:
        raise AudioError(
            Kind.NO_BAND,
            f"the band {band} Hz was asked for, a recording at {rate} Hz ends at {top:g} Hz",
        )
    edge = EDGE * min(band.low or band.high, band.high - band.low)
    edges = [at for at in (band.low, band.high) if 0 < at < top]
    if not edges:
        return None
    length, beta = kaiserord(STOPPED_DB, min(1.0, edge / top))
    length = min(length, TAPS) | 1
    taps: NDArray[np.float64] = firwin(
        length, edges, window=("kaiser", beta), fs=rate, pass_zero=band.low == 0
    )
    return taps


class Passage:
    """Filters a stream of samples to a band, and changes its sample rate."""

    def __init__(self, rate: int, sample_rate: int, hearing: Hearing) -> None:
        """Prepare the filter and the resampler.

        Args:
            rate: sample rate of the recording in Hz.
            sample_rate: sample rate of what comes out, in Hz.
            hearing: the speed and the band at which the recording is heard.

        Raises:
            AudioError: a recording at that rate has nothing of the band.
        """
        wanted = sample_rate / hearing.speed  # of a second of the recording
        self._taps = None if hearing.band is None else taps_of(hearing.band, rate)
        # A filter that is centred on a sample begins and ends half in silence.
        self._half = np.zeros(0 if self._taps is None else len(self._taps) // 2, np.float32)
        self._held = self._half
        self._resample = None
        if rate != wanted:
            self._resample = soxr.ResampleStream(rate, wanted, 1, dtype="float32")

    def take(self, samples: Samples, *, last: bool = False) -> Samples:
        """Pass samples on, as far as the output does not depend on later samples.

        Args:
            samples: the next samples of the recording [n].
            last: whether no samples follow; then everything comes out.

        Returns:
            the samples that are ready.
        """
        if self._taps is not None:
            samples = self._filter(samples, self._taps, last)
        if self._resample is None:
            return samples
        out: Samples = self._resample.resample_chunk(samples, last=last)
        return out

    def _filter(self, samples: Samples, taps: NDArray[np.float64], last: bool) -> Samples:
        held = np.concatenate([self._held, samples, self._half if last else samples[:0]])
        self._held = held[max(0, len(held) - len(taps) + 1) :]
        if len(held) < len(taps):
            return held[:0]
        from scipy.signal import oaconvolve

        return oaconvolve(held.astype(np.float64), taps, mode="valid").astype(np.float32)
