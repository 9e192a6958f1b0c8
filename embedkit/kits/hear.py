"""embedkit for HEAR: the functions that its evaluation kit calls.

Holistic Evaluation of Audio Representations (Turian et al., 2022), common API version 2021:
https://hearbenchmark.com/hear-api.html
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedkit.config import DEFAULT_MODEL
from embedkit.errors import UsageError
from embedkit.extractor import Extractor

HOP_S = 0.05  # between two timestamps: what HEAR advises
RATES = (16000, 22050, 32000, 44100, 48000)  # at which it has audio


class HearModel(nn.Module):
    """An extractor with the attributes that HEAR asks for.

    Attributes:
        sample_rate: sample rate of the audio in Hz.
        scene_embedding_size, timestamp_embedding_size: length of a vector.
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor
        self.sample_rate = extractor.sample_rate
        self.scene_embedding_size = extractor.embedding_size
        self.timestamp_embedding_size = extractor.embedding_size


def load_model(path: str = "", **options: Any) -> HearModel:
    """Load a model folder; without a path, embedkit's own model.

    Args:
        path: the folder, or a name as `Extractor.load` takes it.
        options: options of Extractor.load: device, dim.

    Returns:
        the model.

    Raises:
        ModelFolderError: it is no model folder.
        UsageError: HEAR has no audio at its sample rate.
    """
    model = HearModel(Extractor.load(path or DEFAULT_MODEL, **options))
    if model.sample_rate not in RATES:
        raise UsageError(
            f"{path or DEFAULT_MODEL}: hears {model.sample_rate} Hz; HEAR has audio at"
            f" {', '.join(map(str, RATES))}"
        )
    return model


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed the second around every 50 ms.

    Args:
        audio: [n_sounds, n_samples] in [-1, 1] at the model's rate.
        model: that `load_model` gave.

    Returns:
        float32 [n_sounds, n_timestamps, D], and the timestamps in milliseconds
        [n_sounds, n_timestamps].

    Raises:
        UsageError: audio of another shape.
    """
    found = [model.extractor.embed_frames(sound, HOP_S) for sound in _sounds(audio)]
    vectors = np.stack([vectors for vectors, _ in found])
    milliseconds = np.stack([1000 * moments for _, moments in found]).astype(np.float32)
    return torch.from_numpy(vectors), torch.from_numpy(milliseconds)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """The mean vector of each sound's segments.

    Args:
        audio: [n_sounds, n_samples] in [-1, 1] at the model's rate.
        model: that `load_model` gave.

    Returns:
        float32 [n_sounds, D].

    Raises:
        UsageError: audio of another shape.
    """
    vectors = [model.extractor.embed_clip(sound) for sound in _sounds(audio)]
    return torch.from_numpy(np.stack(vectors))


def _sounds(audio: Tensor) -> Any:
    values = torch.as_tensor(audio).detach().cpu().float().numpy()
    if values.ndim != 2 or not values.size:
        raise UsageError(f"expected audio [n_sounds, n_samples], found shape {values.shape}")
    return values
