"""A sound from outside the collection as a vector that the collection can be compared with."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import Channel, decode
from embedkit.audio.segments import cut, in_batches, stack
from embedkit.checkpoint import load_config
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, EmbeddingFolderError, ModelFolderError, UsageError
from embedkit.models.extractor import BATCH, Extractor
from embedkit.runtime import Embedder, Runtime, fingerprint, prepare
from embedkit.store import Provenance

log = logging.getLogger(__name__)


class QueryEmbedder:
    """Embeds files as the clips of an embedding folder were embedded."""

    def __init__(
        self, provenance: Provenance, model: Path | None = None, device: str = "cpu"
    ) -> None:
        """Load the model that made the folder.

        Args:
            provenance: of the embedding folder: its model, hop and channel are used.
            model: where the model is now, if it has moved.
            device: where torch computes.

        Raises:
            EmbeddingFolderError: the model is not there, or not the one that made the folder.
        """
        folder = model or Path(provenance.model)
        runtime = Runtime.parse(provenance.runtime)
        try:
            found = fingerprint(folder, runtime)
        except ModelFolderError as error:
            raise EmbeddingFolderError(
                f"{folder}: the model that made these embeddings is not there; name it with --model"
            ) from error
        if found != provenance.fingerprint:
            raise EmbeddingFolderError(
                f"{folder}: not the model that made these embeddings; name that one with --model"
            )
        self._rate = load_config(folder).features.sample_rate
        self._size = provenance.embedding_size
        self._embedder: Embedder
        if runtime is Runtime.ONNX_INT8:
            with tempfile.TemporaryDirectory(prefix="embedkit-") as scratch:
                program = prepare(folder, Path(scratch), runtime=runtime, dim=self._size)
                self._embedder = program.start(torch.get_num_threads())
        else:  # all others agree, and torch starts soonest
            self._embedder = Extractor.load(folder, device, dim=self._size)
        self._spec = SegmentSpec(duration_s=provenance.segment_s, hop_s=provenance.hop_s)
        self._channel = Channel.parse(provenance.channel)

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Embed a file; of a damaged one, what stands before the damage.

        Returns:
            float32 [D], the mean of the file's segments weighted by their real duration.

        Raises:
            UsageError: no such file.
            AudioError: nothing of the file can be decoded.
        """
        if not path.exists():
            raise UsageError(f"{path}: neither a clip of the collection nor a file")
        blocks = decode(path, self._rate, self._channel)
        total = np.zeros(self._size)
        seconds = 0.0
        try:
            for batch in in_batches(cut(blocks, self._spec, self._rate), BATCH):
                weights = np.array([segment.end_s - segment.start_s for segment in batch])
                total += weights @ self._embedder.embed_segments(stack(batch))
                seconds += weights.sum()
        except AudioError as error:
            if not seconds:
                raise AudioError(error.kind, f"{path}: {error}") from error
            log.warning("%s: %s: %s", path, error.kind, error)
        return (total / seconds).astype(np.float32)
