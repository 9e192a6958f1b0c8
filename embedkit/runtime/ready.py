"""What an extractor is once it is ready to run: any number of processes can start it."""

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
        runtime: what executes it.
        sample_rate: samples a second that segments have.
        segments: how it cuts clips.
        embedding_size: D.
        fingerprint: equal fingerprints mean comparable vectors.
        device: where the network is computed; `cuda` is all cards, or in one process the first.
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
        """Where it is, or what it is called."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the manifest of its vectors says of its front-end: JSON values."""

    @property
    def described(self) -> dict[str, Any]:
        """What the manifest says of an extractor of others: JSON values; of embedkit's nothing."""
        return {}

    @abstractmethod
    def start(self, threads: int = 0) -> Embedder:
        """Make it run in this process.

        Args:
            threads: that the network may use; 0: as many as the runtime likes.
        """

    def by_card(self) -> list[Self]:
        """The same for each card that it computes on, with the card as device; on a CPU none."""
        kind, _, number = self.device.partition(":")
        if is_cpu(self.device):
            return []
        if kind != "cuda" or number:
            return [self]
        return [replace(self, device=f"cuda:{number}") for number in range(self.count_cards())]

    def count_cards(self) -> int:
        """How many cards its runtime finds."""
        return 0

    def front_end(self) -> Callable[[Array], Array]:
        """What is computed of segments [B, samples] before the device has them."""
        return lambda segments: segments

    def start_network(self, threads: int = 0) -> Callable[[Array], Array]:
        """What follows `front_end`, in this process: it gives embeddings float32 [B, D]."""
        return self.start(threads).embed_segments
