"""Turns a sound from outside the collection into a vector that can be compared with it."""

import logging
import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Channel, decode
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, Kind, UsageError
from embedkit.extractor import embed_stream
from embedkit.runtime import Runtime, prepare
from embedkit.runtime.origin import find_model
from embedkit.store import Provenance

log = logging.getLogger(__name__)


class QueryEmbedder:
    """Embeds files as the clips of an embedding folder were embedded."""

    def __init__(
        self, provenance: Provenance, model: Path | None = None, device: str = "cpu"
    ) -> None:
        """Load the model that made the folder.

        Args:
            provenance: that of the embedding folder: its model, hop, channel, track, speed and band
                are used.
            model: where the model is now, if it has moved.
            device: where torch computes.

        Raises:
            EmbeddingFolderError: the vectors were imported, the model is not there, or it is not
                the one that made the folder.
            ModelFolderError: the model is damaged.
        """
        runtime = Runtime.that_made(provenance)
        folder = find_model(provenance, runtime, model)
        if device == "cpu" and runtime is not Runtime.TFLITE:
            # All that execute a network agree, and ONNX Runtime is always there.
            runtime = Runtime.ONNX_INT8 if runtime.is_quantised else Runtime.ONNX
        program = prepare(
            folder,
            runtime=runtime,
            device=device,
            dim=provenance.embedding_size,
        )
        self._rate = program.sample_rate
        self._embedder = program.start()
        self._hearing = provenance.hearing
        speed = self._hearing.speed
        self._spec = SegmentSpec(
            duration_s=provenance.segment_s / speed, hop_s=provenance.hop_s / speed
        )
        self._channel = Channel.parse(provenance.channel)
        self._track = provenance.track if provenance.track > 1 else None

    def embed(
        self, path: Path, start_s: float = 0.0, end_s: float = math.inf
    ) -> NDArray[np.float32]:
        """Embed a file, or a span of it; of a damaged file, what stands before the damage.

        Args:
            path: the file.
            start_s: beginning of the span in seconds.
            end_s: its end; by default the file's end.

        Returns:
            float32 [D], the mean of the segments, weighted by their real duration.

        Raises:
            UsageError: there is no such file, or the span is empty.
            AudioError: nothing of the file can be decoded, or it ends before the span begins.
        """
        if not path.exists():
            raise UsageError(f"{path}: neither a clip of the collection nor a file")
        if not 0 <= start_s < end_s:
            raise UsageError(f"{path}: a span from {start_s:g} to {end_s:g} s is empty")
        note = partial(log.warning, "%s: %s", path)
        decoded = decode(path, self._rate, self._channel, self._track, note, self._hearing)
        blocks = _span(decoded, start_s, end_s, self._rate / self._hearing.speed)
        vector, damage = embed_stream(self._embedder, blocks, self._spec, self._rate)
        if vector is None and damage is not None:
            raise AudioError(damage.kind, f"{path}: {damage}") from damage
        if vector is None:
            raise AudioError(Kind.EMPTY, f"{path}: ends before {start_s:g} s")
        if damage is not None:
            log.warning("%s: %s: %s", path, damage.kind, damage)
        return vector


def _span(
    blocks: Iterable[NDArray[np.float32]], start_s: float, end_s: float, rate: float
) -> Iterator[NDArray[np.float32]]:
    """The samples of a span of some blocks, which have `rate` for a second."""
    first, last = round(start_s * rate), math.inf if math.isinf(end_s) else round(end_s * rate)
    place = 0
    for block in blocks:
        part = block[max(0, first - place) : int(min(len(block), max(0, last - place)))]
        if len(part):
            yield part
        place += len(block)
        if place >= last:
            return
