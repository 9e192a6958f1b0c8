"""Extractor turns waveforms into vectors, on any runtime; only the runtime torch needs torch."""

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
from embedkit.runtime.description import is_description
from embedkit.runtime.function import Function, prepare_function
from embedkit.runtime.installed import resolve


class Extractor:
    """Turns sound into vectors.

    Examples:
        >>> extractor = embedkit.Extractor.load()
        >>> extractor.embed(waveform).shape  # of 2.5 s: segments of a second, numbers
        (3, 256)

    Attributes:
        config: the model's settings; None for somebody else's extractor.
        sample_rate: sample rate that waveforms must have, in Hz.
        segments: how waveforms are cut.
        runtime: what computes the network.
        embedding_size: D, the length of an embedding.
        fingerprint: of the weights; vectors with equal fingerprints can be compared.
        program: what it runs.
    """

    def __init__(self, program: Program, config: ModelConfig | None) -> None:
        """Start a program; `load` and `of` are the usual ways.

        Args:
            program: what turns segments into vectors.
            config: the model's settings; None for somebody else's extractor.
        """
        self.config = config
        self.sample_rate = program.sample_rate
        self.segments = program.segments
        self.runtime = program.runtime
        self.embedding_size = program.embedding_size
        self.fingerprint = program.fingerprint
        self.program = program
        self._embedder = program.start()

    def __getstate__(self) -> tuple[Program, ModelConfig | None]:
        return self.program, self.config  # what runs is started anew where it is unpickled

    def __setstate__(self, state: tuple[Program, ModelConfig | None]) -> None:
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
        """Read a model folder, or the description of somebody else's extractor, ready to use.

        Args:
            folder: a folder that `embedkit train` or `distil` wrote, by default embedkit's own
                model; an `extractor.toml` of any name, such as `birdnet.toml`; or a name: `fast`
                is embedkit's own model that does half the work, and `embedkit models add` gives
                names to other extractors.
            device: where to compute. On any device but `cpu` torch computes models of embedkit, and
                ONNX Runtime computes others' extractors.
            dim: the size of the embedding, where the model was trained for several; by default the
                one that its settings name, or the largest.
            runtime: by default ONNX Runtime on a CPU and torch on any other device.

        Returns:
            the extractor.

        Raises:
            ModelFolderError: it is no model folder, is damaged, or has no network for the runtime.
            UsageError: there is no such device or size, or torch is needed and not installed.
        """
        folder = resolve(Path(folder))
        program = prepare(folder, runtime=runtime, device=device, dim=dim)
        return cls(program, None if is_description(folder) else load_config(folder))

    @classmethod
    def of(
        cls,
        function: Function,
        *,
        name: str,
        sample_rate: int,
        window_s: float = 1.0,
        hop_s: float | None = None,
    ) -> "Extractor":
        """Make an extractor of a function, whatever computes in it.

        Example:
            >>> def loudness(segments):
            ...     return (segments**2).mean(axis=1, keepdims=True)
            >>> extractor = embedkit.Extractor.of(loudness, name="power 1", sample_rate=16000)
            >>> extractor.embed(waveform).shape
            (3, 1)

        Args:
            function: turns segments float32 [B, samples] in [-1, 1] into numbers [B, D]. A row must
                not depend on the others of the batch. It is only called in this process.
            name: name of what it computes. Vectors of one name are taken to be comparable, and a
                run that was interrupted goes on if the name is the same.
            sample_rate: sample rate of the segments, in Hz.
            window_s: length of a segment in seconds.
            hop_s: seconds from one segment to the next; by default `window_s`.

        Returns:
            the extractor.

        Raises:
            UsageError: the name is empty, or the window or the hop is not above 0.
            EmbedkitError: the function does not give vectors.
        """
        segments = SegmentSpec(duration_s=window_s, hop_s=window_s if hop_s is None else hop_s)
        return cls(
            prepare_function(function, name=name, sample_rate=sample_rate, segments=segments), None
        )

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
            name: a folder or an `extractor.toml`, or a repository such as `user/name`.
            revision: a branch, tag or commit of the repository.
            device: as for `load`.
            dim: as for `load`.
            runtime: as for `load`.

        Returns:
            the extractor.

        Raises:
            ModelFolderError: there is no such model, it cannot be reached, or as for `load`.
            UsageError: as for `load`, or huggingface_hub is not installed.
        """
        folder = resolve(Path(name))
        if not folder.exists():
            folder = download(str(name), revision)
        return cls.load(folder, device, dim=dim, runtime=runtime)

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
        batches = batches_of(waveform, self.segments, self.sample_rate)
        return np.concatenate([self.embed_segments(batch) for batch in batches])

    def embed_clip(self, waveform: Samples) -> NDArray[np.float32]:
        """The vector float32 [D] of a waveform: the mean of its segments' vectors.

        Raises:
            UsageError: the waveform is not one-dimensional, empty, or not finite.
        """
        vector, _ = embed_stream(self, [waveform], self.segments, self.sample_rate)
        if vector is None:
            raise UsageError("expected a waveform [samples], found an empty one")
        return vector

    def embed_frames(
        self, waveform: Samples, hop_s: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embed the window of a segment's length around evenly spaced moments, in bounded memory.

        Args:
            waveform: as `embed` takes it; it is padded with silence on both sides.
            hop_s: seconds between two moments; the first is at 0 s, the last before the end.

        Returns:
            the vectors float32 [moments, D], and the moments in seconds, float64 [moments].
        """
        rate = self.sample_rate
        length, _ = self.segments.samples(rate)
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
        embedder: turns segments into vectors.
        blocks: mono samples at `sample_rate`; where they raise AudioError, the clip ends.
        spec: how the stream is cut.
        sample_rate: that of the embedder, in Hz.

    Returns:
        the vector float32 [D], or None if there is no sample; and the error that ended the stream
        early, or None.
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
