"""The front-ends of `embedkit.audio.features` as torch modules, for GPUs and exports."""

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional as F

from embedkit.audio.features import cqt_kernels, folded_mel, hann
from embedkit.config import FeatureSpec, FrontEnd


class LogMel(nn.Module):
    """Log-mel spectrogram; see `embedkit.audio.features.LogMel`."""

    window: Tensor
    mel: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        mel, self.n_fft = folded_mel(spec)
        window = torch.from_numpy(hann(spec.window_length)).float()
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features [B, 1, frames, bands] of segments [B, samples]."""
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


class MFCC(nn.Module):
    """Mel-frequency cepstral coefficients; see `embedkit.audio.features.MFCC`."""

    dct: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.log_mel = LogMel(spec)
        # Column k of the orthonormal DCT-II is the transform of a unit impulse at band k.
        matrix = torch.from_numpy(dct(np.eye(spec.bands), norm="ortho")[:, : spec.coefficients])
        self.register_buffer("dct", matrix.float().contiguous(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features [B, 1, frames, coefficients] of segments [B, samples]."""
        coefficients: Tensor = self.log_mel(waveforms) @ self.dct
        return coefficients


class CQT(nn.Module):
    """Constant-Q transform; see `embedkit.audio.features.CQT`."""

    kernels: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        kernels = torch.from_numpy(cqt_kernels(spec)).unsqueeze(1)
        self.register_buffer("kernels", kernels, persistent=False)

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
