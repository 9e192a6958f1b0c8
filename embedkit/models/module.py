"""The extractor as a torch module, for training, GPUs and exports."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedkit.audio.decode import Samples
from embedkit.audio.segments import batches_of
from embedkit.checkpoint import ModelConfig, load_model, save_model
from embedkit.config import DEFAULT_MODEL, Activation
from embedkit.errors import ModelFolderError, UsageError
from embedkit.memory import Fitting
from embedkit.models.build import build_model
from embedkit.models.features import front_end
from embedkit.models.network import Network
from embedkit.models.precision import full_float32


class ExtractorModule(nn.Module):
    """Waveforms -> features -> normalisation -> network, and from there to class scores.

    `embedkit.Extractor` does the same without torch, for those who only embed.

    Attributes:
        config: everything that its vectors depend on, except the weights.
        network: the trained network.
        embedding_size: D, the length of an embedding; for a Matryoshka network, the size in use.
        mean, std: of each feature over the training set, float32 [bands].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        if mean.shape != (config.features.size,) or std.shape != mean.shape:
            raise UsageError(f"mean and std are not of {config.features.size} bands")
        self.config = config
        self.front_end = front_end(config.features)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        network = build_model(config.model, config.feature_shape)
        # On CPUs convolutions run up to twice as fast with channels last.
        self.network: Network = network.to(memory_format=torch.channels_last)
        self.embedding_size = network.embedding_size
        self._fitting = Fitting()

    @classmethod
    def load(
        cls, folder: str | Path = DEFAULT_MODEL, device: str = "cpu", *, dim: int | None = None
    ) -> "ExtractorModule":
        """Read a model folder, ready to use.

        Args:
            folder: a folder that `embedkit train` or `distil` wrote; by default embedkit's own
                model.
            device: where torch computes.
            dim: the size of the embedding, where the model was trained for several; by default the
                one that its settings name, or the largest.

        Returns:
            the module.

        Raises:
            ModelFolderError: it is no model folder, is damaged, or another version of embedkit
                wrote it.
            UsageError: there is no such device or size.
        """
        check_device(device)
        config, weights = load_model(Path(folder))
        tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
        try:
            extractor = cls(config, tensors.pop("mean"), tensors.pop("std"))
            missing, odd = extractor.network.load_state_dict(tensors, strict=False)
            # Heads of a distilled model are thrown away.
            if config.activation is Activation.NONE:
                missing = [name for name in missing if not name.startswith("heads.")]
            if missing or odd:
                raise KeyError(f"missing {missing[:3]}, not known {odd[:3]}")
        except (KeyError, RuntimeError, UsageError) as error:
            raise ModelFolderError(
                f"{folder}: the weights do not fit the settings: {error}"
            ) from error
        extractor.embedding_size = extractor.network.size(dim or config.size)
        return extractor.to(device).eval()

    def save(self, folder: str | Path, *, heads: bool = True) -> None:
        """Write config.json and model.safetensors.

        Args:
            folder: the model folder.
            heads: whether to write the heads of the network; a distilled model needs none.
        """
        tensors = {"mean": self.mean, "std": self.std, **self.network.state_dict()}
        weights = {
            name: tensor.cpu().numpy()
            for name, tensor in tensors.items()
            if heads or not name.startswith("heads.")
        }
        save_model(Path(folder), self.config, weights)

    def begin_with(self, other: "ExtractorModule") -> None:
        """Take over another extractor's statistics, and its network without the heads.

        Both have networks of one kind and size, and features of one kind.
        """
        self.mean, self.std = other.mean.clone(), other.std.clone()
        self.network.embedding.load_state_dict(other.network.embedding.state_dict())

    @property
    def sample_rate(self) -> int:
        """Sample rate that waveforms must have, in Hz."""
        return self.config.features.sample_rate

    def normalise(self, features: Tensor) -> Tensor:
        """Bring features [B, 1, frames, bands] to mean 0 and deviation 1 of the training set."""
        return (features - self.mean) / self.std

    def forward(self, segments: Tensor) -> Tensor:
        """Embeddings [B, D] of segments [B, samples]."""
        embedding: Tensor = self.network.embedding(self.normalise(self.front_end(segments)))
        return embedding[:, : self.embedding_size]

    def activate(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1] of class outputs [B, classes]: softmax or sigmoid, as trained.

        The outputs of a distilled model are vectors, and stay as they are.
        """
        if self.config.activation is Activation.SOFTMAX:
            return logits.softmax(dim=1)
        return logits.sigmoid() if self.config.activation is Activation.SIGMOID else logits

    def require_labels(self) -> tuple[str, ...]:
        """The classes that it scores.

        Raises:
            UsageError: the model is distilled and has no classes.
        """
        if not self.config.labels:
            raise UsageError(
                "this model was distilled and has no classes of its own; `embedkit classify fit`"
                " learns yours from its vectors"
            )
        return self.config.labels

    @torch.inference_mode()
    @full_float32()
    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self._fitting.run(lambda batch: self(self._tensor(batch)).cpu().numpy(), segments)

    def score_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Scores float32 [B, classes] of segments float32 [B, samples].

        Raises:
            UsageError: the model is distilled and has no classes.
        """
        return self.score_vectors(self.embed_segments(segments))

    @torch.inference_mode()
    @full_float32()
    def score_vectors(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores float32 [B, classes] of embeddings float32 [B, D].

        Raises:
            UsageError: the model is distilled and has no classes.
        """
        self.require_labels()
        logits = self.network.classify(self._tensor(vectors))
        scores: NDArray[np.float32] = self.activate(logits).cpu().numpy()
        return scores

    def embed(self, waveform: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [segments, D] of a waveform, as `embedkit.Extractor.embed` does."""
        batches = batches_of(waveform, self.config.segments, self.sample_rate)
        return np.concatenate([self.embed_segments(batch) for batch in batches])

    def scores(self, waveform: Samples) -> NDArray[np.float32]:
        """Class scores float32 [segments, classes] of a waveform, as `embed` takes it."""
        batches = batches_of(waveform, self.config.segments, self.sample_rate)
        return np.concatenate([self.score_segments(batch) for batch in batches])

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.mean.device)


def check_device(name: str) -> None:
    """Refuse a device that torch does not have here.

    Raises:
        UsageError: torch does not have it.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda" and torch.cuda.is_available():
            _check_card(device)
        else:
            torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises several kinds, from RuntimeError to AssertionError
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used here: {reason}") from error


def _check_card(device: torch.device) -> None:
    """Check a GPU by its number, since a tensor would open a context in this process."""
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise UsageError(f"found {count} cards, numbered from 0")
