"""Waveform -> features, the same for training and for extraction."""

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit.config import FeatureSpec, FrontEnd
from embedkit.errors import EmbedkitError

try:
    from torchaudio.functional import create_dct, melscale_fbanks
except (ImportError, OSError, RuntimeError) as error:
    raise EmbedkitError(
        f"torchaudio does not load beside torch {torch.__version__} ({error}). Both must be built"
        " for the same CUDA, or both for none: pip install 'torch>=2.11,<2.15' 'torchaudio==2.11.*'"
        " from one and the same index."
    ) from error


class LogMel(nn.Module):
    """Log-mel spectrogram (paper, section 3.1): ln(mel power + log_floor).

    Centred frames with a periodic Hann window: a segment of 1 s at a hop of 10 ms has 101 frames.

    The values are those of an FFT of `n_fft` points; where the window is much shorter than that, a
    shorter FFT finds them (`_fold`).
    """

    window: Tensor
    mel: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        mel = melscale_fbanks(
            spec.n_fft // 2 + 1, 0.0, spec.sample_rate / 2, spec.bands, spec.sample_rate
        ).double()
        # 2 x window - 1 would do; a fifth more lets the weights of `_fold` stay near their band.
        self.n_fft = 2 * next_fast_len(round(1.2 * spec.window_length))
        if self.n_fft < spec.n_fft:
            mel = _fold(mel, spec.window_length, self.n_fft)
        else:
            self.n_fft = spec.n_fft
        self.register_buffer("window", torch.hann_window(spec.window_length), persistent=False)
        self.register_buffer("mel", mel.float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features of segments.

        Args:
            waveforms: float32 [B, samples] at the spec's rate.

        Returns:
            float32 [B, 1, frames, bands].
        """
        spectrum = torch.stft(
            waveforms,
            self.n_fft,
            self.spec.hop_length,
            self.spec.window_length,
            self.window,
            return_complex=True,
        ).transpose(1, 2)
        power = spectrum.real.square() + spectrum.imag.square()
        # Rounding may bring a silent band of a folded mel below zero.
        return torch.log((power @ self.mel).relu() + self.spec.log_floor).unsqueeze(1)


def _fold(mel: Tensor, window_length: int, short: int) -> Tensor:
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
    bins = torch.arange(short // 2 + 1).double()
    lags = torch.arange(short - window_length + 1).double()
    fall = ((lags - window_length + 1) / (short - 2 * window_length + 2)).clamp(min=0)
    share = 0.5 + 0.5 * torch.cos(torch.pi * fall)
    share[1:] *= 2  # negative lags
    at_lags = torch.cos(2 * torch.pi / long * torch.outer(lags, torch.arange(len(mel)))) @ mel
    weights = torch.cos(2 * torch.pi / short * torch.outer(bins, lags)) @ (share[:, None] * at_lags)
    weights[1:-1] *= 2  # negative frequencies
    return weights / short


class MFCC(nn.Module):
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of LogMel, its first ones."""

    dct: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.log_mel = LogMel(spec)
        dct = create_dct(spec.coefficients, spec.bands, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features [B, 1, frames, coefficients] of segments [B, samples]."""
        coefficients: Tensor = self.log_mel(waveforms) @ self.dct
        return coefficients


class CQT(nn.Module):
    """Constant-Q transform (Brown, 1991): ln(power + log_floor) of logarithmically spaced bins.

    A bin at f Hz is the inner product with exp(2 pi i f t) in a periodic Hann window of Q / f
    seconds, Q = (2^(2 / b) + 1) / (2^(2 / b) - 1) at b bins an octave, as in librosa. The window
    sums to the square root of its length, so that white noise is equally strong in every bin.
    Frames are centred and the segment is padded with zeros.
    """

    kernels: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        hertz = spec.min_hz * 2 ** (torch.arange(spec.bands) / spec.bins_per_octave).double()
        ratio = 2 ** (2 / spec.bins_per_octave)
        lengths = (ratio + 1) / (ratio - 1) * spec.sample_rate / hertz
        half = int(torch.ceil(lengths.max() / 2))
        time = torch.arange(-half, half).double()
        phase = time / lengths[:, None]
        window = torch.where(phase.abs() < 0.5, 0.5 + 0.5 * torch.cos(2 * torch.pi * phase), 0)
        window *= (lengths.sqrt() / window.sum(dim=1))[:, None]
        angle = 2 * torch.pi * hertz[:, None] * time / spec.sample_rate
        kernels = torch.cat([window * angle.cos(), window * angle.sin()])
        self.register_buffer("kernels", kernels.float().unsqueeze(1), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features [B, 1, frames, bands] of segments [B, samples]."""
        parts = F.conv1d(
            waveforms.unsqueeze(1),
            self.kernels,
            stride=self.spec.hop_length,
            padding=self.kernels.shape[2] // 2,
        )
        real, imaginary = parts.chunk(2, dim=1)
        power = real.square() + imaginary.square()
        return torch.log(power + self.spec.log_floor).transpose(1, 2).unsqueeze(1)


def front_end(spec: FeatureSpec) -> nn.Module:
    """The front-end that a spec names: float32 [B, samples] -> [B, 1, frames, spec.size]."""
    return {FrontEnd.LOG_MEL: LogMel, FrontEnd.MFCC: MFCC, FrontEnd.CQT: CQT}[spec.kind](spec)
