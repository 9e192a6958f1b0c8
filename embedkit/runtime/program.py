"""An extractor made ready for a runtime once, to be started in any number of processes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from embedkit.checkpoint import NETWORK_INT8, load_config
from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.config import FeatureSpec
from embedkit.errors import ModelFolderError, UsageError, require
from embedkit.models.table import choose_size
from embedkit.runtime.embedder import Embedder, Runtime
from embedkit.runtime.onnx import OnnxEmbedder, read_network


@dataclass(frozen=True, kw_only=True)
class Program:
    """An extractor made ready for a runtime; another process can start it.

    Attributes:
        runtime: what executes it.
        model: the model folder.
        features: settings of the front-end.
        embedding_size: D.
        fingerprint: of the weights that make the vectors.
        device: where torch computes.
        graph: the network for ONNX Runtime; None for torch.
    """

    runtime: Runtime
    model: Path
    features: FeatureSpec
    embedding_size: int
    fingerprint: str
    device: str
    graph: bytes | None

    def start(self, threads: int = 0) -> Embedder:
        """Make it run in this process.

        Args:
            threads: that the network may use; 0: as many as the runtime likes.
        """
        if self.graph is not None:
            return OnnxEmbedder(self.graph, self.features, self.embedding_size, threads)
        from embedkit.runtime.torch import torch_embedder

        return torch_embedder(
            self.model, self.runtime, self.device, self.embedding_size, threads or None
        )


def prepare(
    model: Path,
    *,
    runtime: Runtime | None = None,
    device: str = "cpu",
    dim: int | None = None,
) -> Program:
    """Make an extractor ready to run.

    Args:
        model: the model folder.
        runtime: by default ONNX Runtime on a CPU and torch on any other device.
        device: where torch computes.
        dim: size of the embedding, where the model was trained for several; by default the one
            that its settings name, or the largest.

    Raises:
        ModelFolderError: `model` is not a model folder, or has no network for the runtime.
        UsageError: there is no such device or size, the runtime does not run there, or torch is
            needed and not installed.
    """
    on_cpu = device.partition(":")[0] == "cpu"
    if runtime is None:
        runtime = Runtime.ONNX if on_cpu else Runtime.TORCH
    config = load_config(model)
    if runtime.needs_torch:
        require("torch", "train")
        from embedkit.models.build import embedding_sizes
        from embedkit.models.module import check_device

        check_device(device)
        graph, sizes = None, embedding_sizes(config.model, config.feature_shape)
    elif not on_cpu:
        raise UsageError(f"runtime {runtime} computes on the CPU; on {device} choose torch")
    else:
        network = read_network(model, int8=runtime is Runtime.ONNX_INT8)
        graph, sizes = network.graph, config.model.dims or (network.embedding_size,)
    return Program(
        runtime=runtime,
        model=model,
        features=config.features,
        embedding_size=choose_size(sizes, dim or config.size),
        fingerprint=fingerprint(model, runtime),
        device=device,
        graph=graph,
    )


def fingerprint(model: Path, runtime: Runtime) -> str:
    """SHA-256 of the file that makes the vectors: the weights, or the quantised network.

    Raises:
        ModelFolderError: it is not there.
    """
    if runtime is not Runtime.ONNX_INT8:
        return weights_fingerprint(model)
    path = model / NETWORK_INT8
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read: {error}") from error
