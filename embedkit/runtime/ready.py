"""An extractor that is ready to run: any number of processes can start it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.config import SegmentSpec
from embedkit.runtime.embedder import Embedder, Runtime, is_cpu

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Program(ABC):
    """An extractor made ready for a runtime; another process can start it.

    Attributes:
        runtime: what computes it.
        sample_rate: sample rate of segments, in Hz.
        segments: how clips are cut.
        embedding_size: D.
        fingerprint: vectors with equal fingerprints can be compared.
        device: where the network is computed; `cuda` is all GPUs, or in one process the first.
    """

    runtime: Runtime
    sample_rate: int
    segments: SegmentSpec
    embedding_size: int
    fingerprint: str
    device: str

    # Whether no other process can compute it: workers send what they have decoded to this one.
    stays = False

    @property
    @abstractmethod
    def origin(self) -> str:
        """Its path, or its name."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the manifest of its vectors says about its front-end: JSON values."""

    @property
    def described(self) -> dict[str, Any]:
        """What the manifest says about somebody else's extractor: JSON values; else empty."""
        return {}

    @abstractmethod
    def start(self, threads: int = 0) -> Embedder:
        """Make it run in this process.

        Args:
            threads: threads that the network may use; 0: as many as the runtime likes.
        """

    def by_card(self) -> list[Self]:
        """The same program for each GPU that it computes on, as its device; empty on a CPU."""
        kind, _, number = self.device.partition(":")
        if is_cpu(self.device):
            return []
        if kind != "cuda" or number:
            return [self]
        return [replace(self, device=f"cuda:{number}") for number in range(self.count_cards())]

    def count_cards(self) -> int:
        """The number of GPUs that its runtime finds."""
        return 0

    def front_end(self) -> Callable[[Array], Array]:
        """What is computed from segments [B, samples] before the device gets them."""
        return lambda segments: segments

    def start_network(self, threads: int = 0) -> Callable[[Array], Array]:
        """What follows `front_end`, in this process; it gives embeddings float32 [B, D]."""
        return self.start(threads).embed_segments
