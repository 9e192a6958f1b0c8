"""An extractor that is a function of a Python program; it only runs in that program's process."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedkit.audio.decode import Samples
from embedkit.config import SegmentSpec
from embedkit.errors import EmbedkitError, UsageError
from embedkit.runtime.embedder import Runtime
from embedkit.runtime.ready import Array, Program

Function = Callable[[Array], Any]  # float32 [B, samples] -> numbers [B, D]


@dataclass(frozen=True, kw_only=True)
class FunctionProgram(Program):
    """A function that is ready to run.

    Attributes:
        name: name of what it computes.
        function: embeds; None in other processes, whose segments come to this one.
    """

    name: str
    function: Function | None

    stays = True

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"function": None}  # whatever it holds on to may not be pickled

    @property
    def origin(self) -> str:
        """Its name."""
        return self.name

    @property
    def settings(self) -> dict[str, Any]:
        """The sample rate."""
        return {"sample_rate": self.sample_rate}

    @property
    def described(self) -> dict[str, Any]:
        """Its name."""
        return {"name": self.name}

    def start(self, threads: int = 0) -> "FunctionEmbedder":
        """Make it run in its own process.

        Raises:
            EmbedkitError: this is another process.
        """
        if self.function is None:
            raise EmbedkitError(f"{self.name}: only the program that brings it can call it")
        return FunctionEmbedder(self.function, self.name, self.embedding_size)


class FunctionEmbedder:
    """Calls a function, and checks what it gives."""

    def __init__(self, function: Function, name: str, size: int) -> None:
        """Take a function.

        Args:
            function: turns segments into vectors.
            name: its name in messages.
            size: length of its vectors.
        """
        self._function, self._name, self._size = function, name, size

    def embed_segments(self, segments: Samples) -> Array:
        """Embeddings float32 [B, D] of segments float32 [B, samples].

        Raises:
            EmbedkitError: the function gives something else.
        """
        return call(self._function, self._name, segments, self._size)


def call(function: Function, name: str, segments: Samples, size: int | None) -> Array:
    """Call a function on segments, and check what it gives.

    Args:
        function: turns segments into vectors.
        name: its name in messages.
        segments: float32 [B, samples].
        size: expected length of the vectors; None: any.

    Returns:
        float32 [B, D].

    Raises:
        EmbedkitError: the function gives something else.
    """
    found: Array = np.asarray(function(segments))
    wanted = (len(segments), found.shape[-1] if found.ndim and size is None else size)
    if found.shape != wanted or not np.issubdtype(found.dtype, np.number):
        raise EmbedkitError(
            f"{name}: gave {found.dtype} {list(found.shape)} for {len(segments)} segments, expected"
            f" numbers [{len(segments)}, {size or 'D'}]"
        )
    return found.astype(np.float32, copy=False)


def prepare_function(
    function: Function, *, name: str, sample_rate: int, segments: SegmentSpec
) -> FunctionProgram:
    """Make a function ready, and try it with two segments of noise.

    Args:
        function: turns segments float32 [B, samples] into numbers [B, D] that do not depend on what
            else is in the batch.
        name: name of what it computes: vectors of one name are taken to be comparable.
        sample_rate: sample rate of the segments, in Hz.
        segments: how clips are cut.

    Returns:
        the extractor.

    Raises:
        UsageError: the name is empty.
        EmbedkitError: it does not give vectors.
    """
    if not name.strip():
        raise UsageError("an extractor that is a function needs a name: runs that go on tell by it")
    length, _ = segments.samples(sample_rate)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (2, length)).astype(np.float32)
    size = call(function, name, noise, None).shape[1]
    used = [str(Runtime.FUNCTION), name, sample_rate, segments.duration_s]
    return FunctionProgram(
        runtime=Runtime.FUNCTION,
        name=name,
        sample_rate=sample_rate,
        segments=segments,
        embedding_size=size,
        fingerprint=hashlib.sha256(json.dumps(used).encode()).hexdigest(),
        device="cpu",
        function=function,
    )
