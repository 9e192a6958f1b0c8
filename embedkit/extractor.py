"""Extractor: waveforms -> vectors, on any runtime; without torch unless the runtime is torch's."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.audio.segments import batches_of
from embedkit.checkpoint import ModelConfig, load_config
from embedkit.config import DEFAULT_MODEL
from embedkit.hub import download
from embedkit.runtime import Program, Runtime, prepare


class Extractor:
    """Turns sound into vectors.

    Attributes:
        config: everything that its numbers depend on, but the weights.
        runtime: what executes it.
        embedding_size: D, the length of an embedding.
        fingerprint: of the weights; equal fingerprints mean comparable vectors.
    """

    def __init__(self, program: Program, config: ModelConfig) -> None:
        """Start a program; `load` is the usual way."""
        self.config = config
        self.runtime = program.runtime
        self.embedding_size = program.embedding_size
        self.fingerprint = program.fingerprint
        self._embedder = program.start()

    @classmethod
    def load(
        cls,
        folder: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        *,
        dim: int | None = None,
        runtime: Runtime | None = None,
    ) -> "Extractor":
        """Read a model folder, ready to use.

        Args:
            folder: that `embedkit train` or `distil` wrote; by default embedkit's own model.
            device: where to compute; on any but `cpu` it is torch that computes.
            dim: the size of the embedding, where the model was trained for several; by default
                the one that its settings name, or the largest.
            runtime: by default ONNX Runtime on a CPU and torch on any other device.

        Raises:
            ModelFolderError: it is not one, is damaged, or has no network for the runtime.
            UsageError: there is no such device or size, or torch is needed and not installed.
        """
        folder = Path(folder)
        program = prepare(folder, runtime=runtime, device=device, dim=dim)
        return cls(program, load_config(folder))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        revision: str | None = None,
        device: str = "cpu",
        *,
        dim: int | None = None,
        runtime: Runtime | None = None,
    ) -> "Extractor":
        """Read a model folder, or a model of the Hugging Face Hub (needs `embedkit[hub]`).

        Args:
            name: a folder, or a repository such as `user/name`.
            revision: of the repository: a branch, tag or commit.
            device: as for `load`.
            dim: as for `load`.
            runtime: as for `load`.

        Raises:
            ModelFolderError: there is no such model, it cannot be reached, or as `load`.
            UsageError: as `load`, or huggingface_hub is not installed.
        """
        folder = Path(name) if Path(name).is_dir() else download(str(name), revision)
        return cls.load(folder, device, dim=dim, runtime=runtime)

    @property
    def sample_rate(self) -> int:
        """Samples a second that waveforms must have."""
        return self.config.features.sample_rate

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self._embedder.embed_segments(segments)

    def embed(self, waveform: Samples) -> NDArray[np.float32]:
        """Embed a waveform of any length.

        Args:
            waveform: float32 [samples], mono at `sample_rate`, nominally in [-1, 1].

        Returns:
            float32 [segments, D], one row for each segment of the model's segment spec.

        Raises:
            UsageError: the waveform is not one-dimensional, empty, or not finite.
        """
        batches = batches_of(waveform, self.config.segments, self.sample_rate)
        return np.concatenate([self.embed_segments(batch) for batch in batches])
