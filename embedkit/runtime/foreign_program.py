"""Somebody else's extractor, ready to run in any process."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedkit.audio.decode import Samples
from embedkit.errors import UsageError
from embedkit.memory import Fitting
from embedkit.runtime import onnx
from embedkit.runtime.description import Description, read_description
from embedkit.runtime.embedder import Runtime, is_cpu
from embedkit.runtime.foreign import Foreign, network_format, start_foreign
from embedkit.runtime.ready import Array, Program

RUNTIMES = {".onnx": Runtime.ONNX, ".tflite": Runtime.TFLITE}


@dataclass(frozen=True, kw_only=True)
class ForeignProgram(Program):
    """A described network that is ready to run.

    Attributes:
        description: with the SHA-256 of the network that was found, so that another process refuses
            any other file.
    """

    description: Description

    @property
    def origin(self) -> str:
        """The path of the description."""
        return str(self.description.path.resolve())

    @property
    def settings(self) -> dict[str, Any]:
        """The sample rate; everything else before the network is within it."""
        return {"sample_rate": self.sample_rate}

    @property
    def described(self) -> dict[str, Any]:
        """The facts of the description."""
        return self.description.facts()

    def start(self, threads: int = 0) -> "ForeignEmbedder":
        """Make it run in this process."""
        alone = without_logits(self.description)
        return ForeignEmbedder(start_foreign(alone, threads, self.device))

    def count_cards(self) -> int:
        """The number of GPUs that ONNX Runtime finds."""
        return onnx.count_cards()


class ForeignEmbedder:
    """Turns segments into vectors, fewer at a time where memory is short."""

    def __init__(self, foreign: Foreign) -> None:
        """Take an extractor."""
        self._foreign = foreign
        self._fitting = Fitting()

    def embed_segments(self, segments: Samples) -> Array:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self._fitting.run(self._foreign.embed, segments)


def prepare_foreign(
    path: Path, *, runtime: Runtime | None, device: str, dim: int | None
) -> ForeignProgram:
    """Make a described extractor ready to run.

    Args:
        path: the description, or its folder.
        runtime: None, or the runtime that its network is for.
        device: `cpu`, or for ONNX files a GPU, as `cuda:1`.
        dim: None, or the size of its embedding.

    Returns:
        the extractor.

    Raises:
        ModelFolderError: the description or the network cannot be read, or they contradict each
            other.
        UsageError: there is no such device or size, or the network is not for the runtime.
    """
    described = read_description(path)
    own = RUNTIMES[network_format(described)]
    if runtime not in {None, own}:
        raise UsageError(f"{described.network}: is for runtime {own}, not {runtime}")
    if not is_cpu(device):
        if own is not Runtime.ONNX or device.partition(":")[0] != "cuda":
            raise UsageError(f"{described.network}: runtime {own} does not compute on {device}")
        onnx.check_card(device)
    found = hashlib.sha256(described.read_network()).hexdigest()
    description = replace(described, sha256=found)
    size = start_foreign(without_logits(description)).embedding_size
    if dim not in {None, size}:
        raise UsageError(
            f"{described.path}: its vectors have {size} numbers, and there are none of {dim}"
        )
    return ForeignProgram(
        runtime=own,
        sample_rate=description.sample_rate,
        segments=description.segments,
        embedding_size=size,
        fingerprint=foreign_fingerprint(description),
        device=device,
        description=description,
    )


def without_logits(description: Description) -> Description:
    """The same description with only the embedding."""
    return replace(description, logits="", labels=())


def foreign_fingerprint(description: Description) -> str:
    """A fingerprint of an extractor's vectors: of its network's file, and of how it is used.

    Raises:
        ModelFolderError: the network cannot be read, or is not the one described.
    """
    used = [
        hashlib.sha256(description.read_network()).hexdigest(),
        description.sample_rate,
        description.segments.duration_s,
        description.layout,
        description.scale,
        description.normalise,
        description.embedding,
        description.pool,
        description.axes,
    ]
    return hashlib.sha256(json.dumps(used).encode()).hexdigest()
