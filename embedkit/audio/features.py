"""Waveform -> log-mel features, the same for training and for extraction."""

import torch
from torch import Tensor, nn

from embedkit.config import FeatureSpec
from embedkit.errors import EmbedkitError

try:
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
