"""ONNX Runtime executes a network; torch computes its features."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.audio.features import front_end
from embedkit.config import FeatureSpec
from embedkit.runtime.graph import EMBEDDINGS, FEATURES


class OnnxEmbedder:
    """Segments -> features -> network, for ONNX Runtime's CPU."""

    def __init__(self, graph: Path, features: FeatureSpec, size: int, threads: int) -> None:
        """Load a graph of `network_graph`, or a quantised one.

        Args:
            graph: its file.
            features: settings of the front-end.
            size: how many of the embedding's numbers to keep.
            threads: that ONNX Runtime may use.
        """
        self._front_end = front_end(features)
        self._size = size
        self._session = open_session(graph.read_bytes(), threads)

    @torch.inference_mode()
    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self.embed_features(self._front_end(torch.from_numpy(segments)).numpy())

    def embed_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of features float32 [B, 1, frames, bands]."""
        vectors: NDArray[np.float32]
        [vectors] = self._session.run([EMBEDDINGS], {FEATURES: features})
        return vectors[:, : self._size]


def open_session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting threads would spin on the cores that decode meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
