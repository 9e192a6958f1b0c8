"""What all runtimes do: segments in, vectors out."""

from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.errors import EmbeddingFolderError, UsageError, choices
from embedkit.store import IMPORTED, Provenance


class Embedder(Protocol):
    """Turns segments into vectors."""

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""


def is_cpu(device: str) -> bool:
    """Whether a device is the processor, `cpu`, and not a card."""
    return device.partition(":")[0] == "cpu"


class Runtime(StrEnum):
    """What executes the network."""

    ONNX = "onnx"  # ONNX Runtime, float32: the fastest exact one on CPUs; on GPUs too
    ONNX_INT8 = "onnx-int8"  # ONNX Runtime, of a network that was quantised when exported
    TORCH = "torch"  # float32, on any device that torch knows
    TORCH_BF16 = "torch-bf16"  # torch's autocast, for GPUs
    TORCH_FP16 = "torch-fp16"

    @classmethod
    def parse(cls, name: str) -> "Runtime":
        """Read a runtime's name.

        Raises:
            UsageError: there is none of that name.
        """
        try:
            return cls(name)
        except ValueError as error:
            raise UsageError(f"no runtime {name!r}{choices(name, cls)}") from error

    @classmethod
    def that_made(cls, provenance: Provenance) -> "Runtime":
        """The runtime of the vectors of an embedding folder.

        Raises:
            EmbeddingFolderError: they were imported, so that nothing here makes more of them, or
                another version of embedkit made them.
        """
        if provenance.runtime == IMPORTED:
            raise EmbeddingFolderError(
                f"the vectors of this folder were imported from {provenance.model}: embedkit has no"
                " extractor that embeds another sound as they were. Search with clips of the"
                " collection, or `embedkit extract` the sounds into a folder of their own"
            )
        try:
            return cls.parse(provenance.runtime)
        except UsageError as error:
            raise EmbeddingFolderError(f"the manifest of this folder names {error}") from error

    @property
    def needs_torch(self) -> bool:
        """Whether it is torch's, which the extra `train` installs."""
        return self not in {Runtime.ONNX, Runtime.ONNX_INT8}
