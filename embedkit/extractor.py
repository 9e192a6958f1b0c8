"""Extractor: waveforms -> vectors, on any runtime; without torch unless the runtime is torch's."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.audio.decode import Samples
from embedkit.audio.segments import BATCH, batches_of, cut, in_batches, stack
from embedkit.checkpoint import ModelConfig, load_config
from embedkit.config import DEFAULT_MODEL, SegmentSpec
from embedkit.errors import AudioError, UsageError
from embedkit.models.hub import download
from embedkit.runtime import Embedder, Program, Runtime, prepare


class Extractor:
    """Turns sound into vectors.

    Examples:
        >>> extractor = embedkit.Extractor.load()
        >>> extractor.embed(waveform).shape  # of 2.5 s: segments of a second, numbers
        (3, 256)

    Attributes:
        config: everything that its numbers depend on, but the weights.
        runtime: what executes it.
        embedding_size: D, the length of an embedding.
        fingerprint: of the weights; equal fingerprints mean comparable vectors.
    """

    def __init__(self, program: Program, config: ModelConfig) -> None:
        """Start a program; `load` is the usual way."""
        self.config = config
        self.runtime = program.runtime
        self.embedding_size = program.embedding_size
        self.fingerprint = program.fingerprint
        self._program = program
        self._embedder = program.start()

    def __getstate__(self) -> tuple[Program, ModelConfig]:
        return self._program, self.config  # what runs is started anew where it is unpickled

    def __setstate__(self, state: tuple[Program, ModelConfig]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @classmethod
    def load(
        cls,
        folder: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        *,
        dim: int | None = None,
        runtime: Runtime | None = None,
    ) -> "Extractor":
        """Read a model folder, ready to use.

        Args:
            folder: that `embedkit train` or `distil` wrote; by default embedkit's own model.
            device: where to compute; on any but `cpu` it is torch that computes.
            dim: the size of the embedding, where the model was trained for several; by default
                the one that its settings name, or the largest.
            runtime: by default ONNX Runtime on a CPU and torch on any other device.

        Raises:
            ModelFolderError: it is not one, is damaged, or has no network for the runtime.
            UsageError: there is no such device or size, or torch is needed and not installed.
        """
        folder = Path(folder)
        program = prepare(folder, runtime=runtime, device=device, dim=dim)
        return cls(program, load_config(folder))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        revision: str | None = None,
        device: str = "cpu",
        *,
        dim: int | None = None,
        runtime: Runtime | None = None,
    ) -> "Extractor":
        """Read a model folder, or a model of the Hugging Face Hub (needs `embedkit[hub]`).

        Args:
            name: a folder, or a repository such as `user/name`.
            revision: of the repository: a branch, tag or commit.
            device: as for `load`.
            dim: as for `load`.
            runtime: as for `load`.

        Raises:
            ModelFolderError: there is no such model, it cannot be reached, or as `load`.
            UsageError: as `load`, or huggingface_hub is not installed.
        """
        folder = Path(name) if Path(name).is_dir() else download(str(name), revision)
        return cls.load(folder, device, dim=dim, runtime=runtime)

    @property
    def sample_rate(self) -> int:
        """Samples a second that waveforms must have."""
        return self.config.features.sample_rate

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples]."""
        return self._embedder.embed_segments(segments)

    def embed(self, waveform: Samples) -> NDArray[np.float32]:
        """Embed a waveform of any length.

        Args:
            waveform: float32 [samples], mono at `sample_rate`, nominally in [-1, 1].

        Returns:
            float32 [segments, D], one row for each segment of the model's segment spec.

        Raises:
            UsageError: the waveform is not one-dimensional, empty, or not finite.
        """
        batches = batches_of(waveform, self.config.segments, self.sample_rate)
        return np.concatenate([self.embed_segments(batch) for batch in batches])

    def embed_clip(self, waveform: Samples) -> NDArray[np.float32]:
        """The vector float32 [D] of a waveform, as `embed` takes it: the mean of its segments'."""
        vector, _ = embed_stream(self, [waveform], self.config.segments, self.sample_rate)
        if vector is None:
            raise UsageError("expected a waveform [samples], found an empty one")
        return vector

    def embed_frames(
        self, waveform: Samples, hop_s: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embed the window of a segment's length around evenly spaced moments, in bounded memory.

        Args:
            waveform: as `embed` takes it; silence stands before and behind it.
            hop_s: between two moments; the first is at 0 s, the last before the end.

        Returns:
            float32 [moments, D], and the moments in seconds, float64 [moments].
        """
        rate = self.sample_rate
        length, _ = self.config.segments.samples(rate)
        moments = np.arange(0, len(waveform), hop_s * rate)
        starts = np.round(moments).astype(int)
        padded = np.pad(waveform, (length // 2, length))
        windows = np.lib.stride_tricks.sliding_window_view(padded, length)  # no copy
        batches = (starts[place : place + BATCH] for place in range(0, len(starts), BATCH))
        vectors = [self.embed_segments(windows[batch]) for batch in batches]
        return np.concatenate(vectors), moments / rate


def embed_stream(
    embedder: Embedder, blocks: Iterable[Samples], spec: SegmentSpec, sample_rate: int
) -> tuple[NDArray[np.float32] | None, AudioError | None]:
    """The one vector of a stream of samples, in constant memory.

    Args:
        embedder: of segments.
        blocks: mono samples at `sample_rate`; where they raise AudioError, the clip ends.
        spec: how it is cut.
        sample_rate: of the embedder.

    Returns:
        float32 [D], or None if there is no sample; and what ended the stream early.
    """
    total: NDArray[np.float64] | None = None
    damage: AudioError | None = None
    try:
        for batch in in_batches(cut(blocks, spec, sample_rate), BATCH):
            seconds = [segment.end_s - segment.start_s for segment in batch]
            vectors = embedder.embed_segments(stack(batch))
            total = scoring.no_sums(1, vectors.shape[1]) if total is None else total
            scoring.add(total, vectors, seconds)
    except AudioError as error:
        damage = error
    return None if total is None else scoring.means(total)[0].astype(np.float32), damage
