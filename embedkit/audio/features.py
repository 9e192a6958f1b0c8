"""Waveform -> features, the same for training and for extraction."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit.config import FeatureSpec, FrontEnd
from embedkit.errors import EmbedkitError

try:
    from torchaudio.functional import create_dct
    from torchaudio.transforms import MelSpectrogram
except (ImportError, OSError, RuntimeError) as error:
    raise EmbedkitError(
        f"torchaudio does not load beside torch {torch.__version__} ({error}). Both must be built"
        " for the same CUDA, or both for none: pip install 'torch>=2.11,<2.15' 'torchaudio==2.11.*'"
        " from one and the same index."
    ) from error


class LogMel(nn.Module):
    """Log-mel spectrogram (paper, section 3.1): ln(mel power + log_floor).

    Centred frames with a periodic Hann window: a segment of 1 s at a hop of 10 ms has 101 frames.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.mel = MelSpectrogram(
            sample_rate=spec.sample_rate,
            n_fft=spec.n_fft,
            win_length=spec.window_length,
            hop_length=spec.hop_length,
            n_mels=spec.bands,
            power=2.0,
            mel_scale="htk",
            norm=None,
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features of segments.

        Args:
            waveforms: float32 [B, samples] at the spec's rate.

        Returns:
            float32 [B, 1, frames, bands].
        """
        power: Tensor = self.mel(waveforms)
        return torch.log(power + self.spec.log_floor).transpose(1, 2).unsqueeze(1)


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
