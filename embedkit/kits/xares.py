"""embedkit for X-ARES: an encoder as its evaluation kit takes it.

eXtensive Audio Representation and Evaluation Suite (Zhang et al., 2025),
https://github.com/jimbozhang/xares
"""

import numpy as np
import torch
from torch import Tensor, nn

from embedkit.errors import UsageError
from embedkit.extractor import Extractor

HOP_S = 0.1


class EmbedkitEncoder(nn.Module):
    """embedkit's own model; a subclass may load another in its place.

    Attributes:
        sampling_rate: of the audio, Hz.
        output_dim: numbers of a vector.
        hop_size_in_ms: between two vectors, each of the second around it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.extractor = Extractor.load()
        self.sampling_rate = self.extractor.sample_rate
        self.output_dim = self.extractor.embedding_size
        self.hop_size_in_ms = round(1000 * HOP_S)

    def forward(self, audio: Tensor) -> Tensor:
        """Embed the second around every 100 ms.

        Args:
            audio: [B, samples] or [samples] at `sampling_rate`.

        Returns:
            float32 [B, frames, output_dim], on the audio's device.

        Raises:
            UsageError: audio of another shape.
        """
        sounds = audio[None] if audio.ndim == 1 else audio
        if sounds.ndim != 2 or not sounds.numel():
            raise UsageError(f"expected audio [B, samples], found shape {tuple(audio.shape)}")
        values = sounds.detach().cpu().float().numpy()
        vectors = [self.extractor.embed_frames(sound, HOP_S)[0] for sound in values]
        return torch.from_numpy(np.stack(vectors)).to(audio.device)
