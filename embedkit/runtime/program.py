"""An extractor made ready for a runtime once, to be started in any number of processes."""

import hashlib
import logging
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.checkpoint import load_config
from embedkit.config import FeatureSpec
from embedkit.errors import EmbeddingFolderError, ModelFolderError, UsageError, choices
from embedkit.models import build_model
from embedkit.models.extractor import Extractor, check_device
from embedkit.models.precision import full_float32
from embedkit.runtime.exported import FLOAT32, int8_path, read_network
from embedkit.runtime.graph import load_whole, network_graph
from embedkit.runtime.session import OnnxEmbedder
from embedkit.scratch import into_scratch
from embedkit.store import IMPORTED, Provenance

log = logging.getLogger(__name__)


class Runtime(StrEnum):
    """What executes the network. The front-end is torch's in all of them, in float32."""

    ONNX = "onnx"  # ONNX Runtime, float32: the fastest exact one on CPUs
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


class Embedder(Protocol):
    """Turns segments into vectors."""

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""


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
        graph: the network for ONNX Runtime.
    """

    runtime: Runtime
    model: Path
    features: FeatureSpec
    embedding_size: int
    fingerprint: str
    device: str
    graph: Path | None

    def start(self, threads: int) -> Embedder:
        """Make it run in this process on so many threads, which then are all that torch uses."""
        torch.set_num_threads(threads)
        if self.graph is not None:
            return OnnxEmbedder(self.graph, self.features, self.embedding_size, threads)
        extractor = Extractor.load(self.model, self.device, dim=self.embedding_size)
        if self.runtime is Runtime.TORCH:
            return extractor
        precision = {Runtime.TORCH_BF16: torch.bfloat16, Runtime.TORCH_FP16: torch.float16}
        return _Autocast(extractor, precision[self.runtime])


def prepare(
    model: Path,
    scratch: Path,
    *,
    runtime: Runtime | None = None,
    device: str = "cpu",
    dim: int | None = None,
) -> Program:
    """Make an extractor ready to run.

    Args:
        model: the model folder.
        scratch: a folder that lives as long as the program; its graph is written there.
        runtime: by default ONNX Runtime on a CPU and torch on any other device.
        device: where torch computes.
        dim: size of the embedding, where the model was trained for several.

    Raises:
        ModelFolderError: `model` is not a model folder, or has no quantised network to fit its
            weights.
        UsageError: there is no such device or size, or the runtime does not run there.
    """
    check_device(device)
    on_cpu = torch.device(device).type == "cpu"
    if runtime is None:
        runtime = Runtime.ONNX if on_cpu else Runtime.TORCH
    if runtime in {Runtime.ONNX, Runtime.ONNX_INT8} and not on_cpu:
        raise UsageError(f"runtime {runtime} computes on the CPU; on {device} choose torch")
    config = load_config(model)
    with torch.device("meta"):  # the shapes alone
        size = build_model(config.model, config.feature_shape).size(dim or config.size)
    graph = None
    if runtime is Runtime.ONNX:
        graph = scratch / "network.onnx"
        content = _network(model, weights_fingerprint(model))
    elif runtime is Runtime.ONNX_INT8:
        graph = scratch / "network-int8.onnx"
        content = read_network(int8_path(model)).SerializeToString()
    if graph is not None:
        with into_scratch():
            graph.write_bytes(content)
    return Program(
        runtime=runtime,
        model=model,
        features=config.features,
        embedding_size=size,
        fingerprint=fingerprint(model, runtime),
        device=device,
        graph=graph,
    )


def fingerprint(model: Path, runtime: Runtime) -> str:
    """SHA-256 of the file of weights that makes the vectors: the quantised one for int8."""
    if runtime is not Runtime.ONNX_INT8:
        return weights_fingerprint(model)
    with int8_path(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)  # an export takes seconds, and a process may extract shard after shard
def _network(model: Path, weights: str) -> bytes:
    del weights  # part of the key
    graph: bytes
    if (model / FLOAT32).exists():
        try:
            graph = read_network(model / FLOAT32).SerializeToString()
        except ModelFolderError as error:
            log.warning("%s; not used", error)
        else:
            return graph
    graph = network_graph(load_whole(model)).SerializeToString()
    return graph


class _Autocast:
    """A network whose products torch computes in 16 bits; its features stay in float32."""

    def __init__(self, extractor: Extractor, precision: torch.dtype) -> None:
        self._extractor = extractor
        self._precision = precision

    @torch.inference_mode()
    @full_float32()
    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        extractor = self._extractor
        device = extractor.mean.device
        features = extractor.normalise(extractor.front_end(torch.from_numpy(segments).to(device)))
        with torch.autocast(device.type, self._precision):
            embeddings = extractor.network.embedding(features)
        vectors: NDArray[np.float32] = embeddings.float().cpu().numpy()
        return vectors[:, : extractor.embedding_size]
