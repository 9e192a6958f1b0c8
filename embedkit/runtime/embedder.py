"""The protocol of all runtimes: segments in, vectors out."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.config import FeatureSpec
from embedkit.errors import EmbeddingFolderError, UsageError, choices
from embedkit.memory import Fitting
from embedkit.store import IMPORTED, Provenance

FEATURES, EMBEDDINGS = "features", "embeddings"  # what goes into a network's graph, and comes out

# Features float32 [B, 1, frames, bands] -> embeddings float32 [B, D].
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Embedder(Protocol):
    """Turns segments into vectors."""

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""


class GraphEmbedder:
    """Computes features on the CPU, and then a network that is a graph."""

    def __init__(self, network: Network, features: FeatureSpec, size: int) -> None:
        """Join both.

        Args:
            network: runs the graph.
            features: settings of the front-end.
            size: how many of the embedding's numbers to keep.
        """
        # SciPy takes long to load, and a process that only hands out work needs none of it.
        from embedkit.audio.features import front_end

        self.front_end = front_end(features)
        self._run = network
        self._size = size
        self._fitting = Fitting()

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self.embed_features(self.front_end(segments))

    def embed_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of features float32 [B, 1, frames, bands]."""
        return self._fitting.run(self._network, features)

    def _network(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run(features)[:, : self._size]


def is_cpu(device: str) -> bool:
    """Whether a device is the processor, `cpu`, and not a GPU."""
    return device.partition(":")[0] == "cpu"


class Runtime(StrEnum):
    """What computes the network."""

    ONNX = "onnx"  # ONNX Runtime, float32, on GPUs too
    ONNX_INT8 = "onnx-int8"  # ONNX Runtime, of a network that was quantised when exported
    OPENVINO = "openvino"  # OpenVINO, float32
    OPENVINO_BF16 = "openvino-bf16"  # products in 16 bits, where the processor has them
    OPENVINO_INT8 = "openvino-int8"  # the quantised network
    TFLITE = "tflite"  # LiteRT, of a TensorFlow Lite file that others made
    FUNCTION = "function"  # a function of a Python program, which alone can call it
    TORCH = "torch"  # float32, on any device that torch knows
    TORCH_BF16 = "torch-bf16"  # torch's autocast, for GPUs
    TORCH_FP16 = "torch-fp16"

    @classmethod
    def parse(cls, name: str) -> "Runtime":
        """Read a runtime's name.

        Raises:
            UsageError: there is no such runtime.
        """
        known = [runtime for runtime in cls if runtime is not cls.FUNCTION]
        if name not in known:
            raise UsageError(f"no runtime {name!r}{choices(name, known)}")
        return cls(name)

    @classmethod
    def that_made(cls, provenance: Provenance) -> "Runtime":
        """The runtime of the vectors of an embedding folder.

        Raises:
            EmbeddingFolderError: they were imported, or made by a function of a program, so that
                nothing here can make more of them; or another version of embedkit made them.
        """
        if provenance.runtime == IMPORTED:
            raise EmbeddingFolderError(
                f"the vectors of this folder were imported from {provenance.model}: embedkit has no"
                " extractor that embeds another sound as they were. Search with clips of the"
                " collection, or `embedkit extract` the sounds into a folder of their own"
            )
        if provenance.runtime == cls.FUNCTION:
            raise EmbeddingFolderError(
                f"the vectors of this folder were made by {provenance.model_name!r}, a function of"
                " a Python program, and embedkit cannot call it. Search with clips of it;"
                " to go on with it, call embedkit.extract in that program"
            )
        try:
            return cls.parse(provenance.runtime)
        except UsageError as error:
            raise EmbeddingFolderError(f"the manifest of this folder names {error}") from error

    @property
    def needs_torch(self) -> bool:
        """Whether it needs torch, which the extra `train` installs."""
        return self in {Runtime.TORCH, Runtime.TORCH_BF16, Runtime.TORCH_FP16}

    @property
    def needs_openvino(self) -> bool:
        """Whether it needs OpenVINO, which the extra `openvino` installs."""
        return self in {Runtime.OPENVINO, Runtime.OPENVINO_BF16, Runtime.OPENVINO_INT8}

    @property
    def is_quantised(self) -> bool:
        """Whether it computes the network that was quantised when it was exported."""
        return self in {Runtime.ONNX_INT8, Runtime.OPENVINO_INT8}
