"""Waveform -> features, the same for training and for extraction, in numpy.

`embedkit.models.features` holds the same front-ends as torch modules, for GPUs and exports.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, next_fast_len, rfft

from embedkit.audio.decode import Samples
from embedkit.config import FeatureSpec, FrontEnd

FeatureArray = NDArray[np.float32]


class Front(Protocol):
    """A front-end: float32 [B, samples] -> float32 [B, 1, frames, spec.size]."""

    def __call__(self, waveforms: Samples) -> FeatureArray:
        """Features of segments at the spec's rate."""


class LogMel:
    """Log-mel spectrogram (paper, section 3.1): ln(mel power + log_floor).

    Centred frames with a periodic Hann window, the segment mirrored at its ends: a segment of 1 s
    at a hop of 10 ms has 101 frames.

    The values are those of an FFT of `spec.n_fft` points; where the window is much shorter than
    that, a shorter FFT finds them (`folded_mel`).
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.mel, self.n_fft = folded_mel(spec)
        self._window = hann(spec.window_length).astype(np.float32)

    def __call__(self, waveforms: Samples) -> FeatureArray:
        """Features of segments.

        Args:
            waveforms: float32 [B, samples] at the spec's rate.

        Returns:
            float32 [B, 1, frames, bands].
        """
        waveforms = np.asarray(waveforms, np.float32)
        length = len(self._window)
        frames = _frames(waveforms, length, self.spec.hop_length, self.n_fft)
        mel = np.empty((*frames.shape[:2], self.mel.shape[1]), np.float32)
        # One segment at a time: its spectra stay in the processor's cache.
        padded = np.zeros((frames.shape[1], self.n_fft), np.float32)
        for segment, bands in zip(frames, mel, strict=True):
            # Where in the FFT's frame the window stands changes no power.
            np.multiply(segment, self._window, out=padded[:, :length])
            spectrum = rfft(padded)
            power = np.square(spectrum.real)
            power += np.square(spectrum.imag)
            np.matmul(power, self.mel, out=bands)
        # Rounding may bring a silent band of a folded mel below zero.
        np.maximum(mel, 0, out=mel)
        mel += np.float32(self.spec.log_floor)
        return np.log(mel, out=mel)[:, None]


def _frames(waveforms: Samples, length: int, hop: int, n_fft: int) -> Samples:
    """Views [B, frames, length] of what the window sees, as torch.stft centres it."""
    # The window stands in the middle of the FFT's frame, and that frame's middle on the sample.
    before = n_fft // 2 - (n_fft - length) // 2
    mirrored = np.pad(waveforms, ((0, 0), (before, length - before)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, length, axis=1)
    return windows[:, : waveforms.shape[1] + 1 : hop]


class MFCC:
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of LogMel, its first ones."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._log_mel = LogMel(spec)
        self._coefficients = spec.coefficients

    def __call__(self, waveforms: Samples) -> FeatureArray:
        """Features [B, 1, frames, coefficients] of segments [B, samples]."""
        cepstrum: FeatureArray = dct(self._log_mel(waveforms), norm="ortho")
        return np.ascontiguousarray(cepstrum[..., : self._coefficients])


class CQT:
    """Constant-Q transform (Brown, 1991): ln(power + log_floor) of logarithmically spaced bins.

    A bin at f Hz is the inner product with exp(2 pi i f t) in a periodic Hann window of Q / f
    seconds, Q = (2^(2 / b) + 1) / (2^(2 / b) - 1) at b bins an octave, as in librosa. The window
    sums to the square root of its length, so that white noise is equally strong in every bin.
    Frames are centred and the segment is padded with zeros.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._kernels = cqt_kernels(spec)

    def __call__(self, waveforms: Samples) -> FeatureArray:
        """Features [B, 1, frames, bands] of segments [B, samples]."""
        half = self._kernels.shape[1] // 2
        padded = np.pad(np.asarray(waveforms, np.float32), ((0, 0), (half, half)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)
        frames = windows[:, : waveforms.shape[1] + 1 : self.spec.hop_length]
        parts = frames @ self._kernels.T
        real, imaginary = np.split(parts, 2, axis=2)
        power = np.square(real) + np.square(imaginary)
        features: FeatureArray = np.log(power + np.float32(self.spec.log_floor))
        return features[:, None]


def front_end(spec: FeatureSpec) -> Front:
    """The front-end that a spec names."""
    kinds: dict[FrontEnd, Callable[[FeatureSpec], Front]] = {
        FrontEnd.LOG_MEL: LogMel,
        FrontEnd.MFCC: MFCC,
        FrontEnd.CQT: CQT,
    }
    return kinds[spec.kind](spec)


def hann(length: int) -> NDArray[np.float64]:
    """A periodic Hann window."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window


@cache
def folded_mel(spec: FeatureSpec) -> tuple[FeatureArray, int]:
    """Mel weights [n_fft // 2 + 1, bands] for the spectrum of the shortest FFT, and its n_fft."""
    mel = mel_filters(spec.sample_rate, spec.n_fft, spec.bands)
    # 2 x window - 1 would do; a fifth more lets the weights of `_fold` stay near their band.
    short = 2 * next_fast_len(round(1.2 * spec.window_length))
    if short >= spec.n_fft:
        return mel.astype(np.float32), spec.n_fft
    return _fold(mel, spec.window_length, short).astype(np.float32), short


def mel_filters(sample_rate: int, n_fft: int, bands: int) -> NDArray[np.float64]:
    """Triangles of height 1, equally wide on HTK's mel scale from 0 Hz to half the rate.

    Args:
        sample_rate: in Hz.
        n_fft: FFT length.
        bands: number of triangles.

    Returns:
        float64 [n_fft // 2 + 1, bands].
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    hertz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None]
    widths = np.diff(corners)
    rising, falling = (hertz - corners[:-2]) / widths[:-1], (corners[2:] - hertz) / widths[1:]
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return triangles


def _fold(mel: NDArray[np.float64], window_length: int, short: int) -> NDArray[np.float64]:
    """Weights that find in a short FFT's power spectrum what `mel` finds in a long one's.

    A power spectrum is the cosine transform of the autocorrelation r, which is zero from lag
    `window_length` on: sum_k mel[k] P_long[k] = sum_l r[l] c[l] with c[l] = sum_k mel[k]
    cos(2 pi k l / long), and an FFT of at least 2 x window_length - 1 points still holds every
    r[l]. At the lags where r is zero, c is ours to choose. Letting it fall off along a cosine
    instead of breaking off keeps each band's weights near the band; otherwise they would reach over
    the whole spectrum, and a loud tone's rounding errors would drown quiet bands.

    Args:
        mel: float64 [long // 2 + 1, bands].
        window_length: samples.
        short: points of the short FFT, even and above 2 x window_length.

    Returns:
        float64 [short // 2 + 1, bands].
    """
    long = 2 * (len(mel) - 1)
    bins, lags = np.arange(short // 2 + 1), np.arange(short - window_length + 1)
    fall = (lags - window_length + 1) / (short - 2 * window_length + 2)
    share = 0.5 + 0.5 * np.cos(np.pi * np.maximum(fall, 0))
    share[1:] *= 2  # negative lags
    at_lags = np.cos(2 * np.pi / long * np.outer(lags, np.arange(len(mel)))) @ mel
    weights: NDArray[np.float64] = np.cos(2 * np.pi / short * np.outer(bins, lags)) @ (
        share[:, None] * at_lags
    )
    weights[1:-1] *= 2  # negative frequencies
    return weights / short


@cache
def cqt_kernels(spec: FeatureSpec) -> FeatureArray:
    """Windowed cosines, then sines, of the bins: float32 [2 x bands, samples], centred."""
    hertz = spec.min_hz * 2 ** (np.arange(spec.bands) / spec.bins_per_octave)
    ratio = 2 ** (2 / spec.bins_per_octave)
    lengths = (ratio + 1) / (ratio - 1) * spec.sample_rate / hertz
    half = int(np.ceil(lengths.max() / 2))
    time = np.arange(-half, half)
    phase = time / lengths[:, None]
    window = np.where(np.abs(phase) < 0.5, 0.5 + 0.5 * np.cos(2 * np.pi * phase), 0)
    window *= (np.sqrt(lengths) / window.sum(axis=1))[:, None]
    angle = 2 * np.pi * hertz[:, None] * time / spec.sample_rate
    return np.concatenate([window * np.cos(angle), window * np.sin(angle)]).astype(np.float32)
