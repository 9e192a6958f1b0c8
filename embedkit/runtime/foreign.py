"""Runs somebody else's extractor by ONNX Runtime or LiteRT."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, ModelFolderError, choices
from embedkit.memory import is_short
from embedkit.runtime.description import Description, Layout, Normalise, Pool, read_description
from embedkit.runtime.onnx import open_session
from embedkit.runtime.onnx_cut import expose, value_names

Array = NDArray[np.float32]

FLOAT32 = "tensor(float)"  # as ONNX Runtime calls it
FLOATS = (FLOAT32, "tensor(float16)", "tensor(double)")


@dataclass(frozen=True)
class Network:
    """A network that is ready to run.

    Attributes:
        run: turns its input into `Description.outputs`.
        rows: number of waveforms that it takes at a time; None: any number.
    """

    run: Callable[[Array], Sequence[Array]]
    rows: int | None = None


class Foreign:
    """Turns waveforms into embeddings, and into the network's own logits where it has some.

    Attributes:
        description: what `extractor.toml` says.
        embedding_size: E.
    """

    def __init__(self, description: Description, network: Network) -> None:
        """Try the network with two windows of noise.

        Args:
            description: what `extractor.toml` says.
            network: runs it.

        Raises:
            ModelFolderError: it does not do what the description says.
        """
        self.description = description
        self._network = network
        embedding, _ = self._outputs(noise(description, 2))
        self._check_finite(embedding, description.embedding)
        self.embedding_size = embedding.shape[1]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the logits [L]; empty where there are none."""
        return self.description.labels

    def hear(self, waveforms: Array) -> tuple[Array, Array | None]:
        """Embeddings float32 [B, E], and logits float32 [B, L] if there are any.

        Args:
            waveforms: float32 [B, samples] in [-1, 1], at the description's sample rate; of any
                length that the network takes.

        Raises:
            ModelFolderError: the network cannot hear these, or its numbers are not what the
                description says, or not finite.
        """
        embedding, logits = self._outputs(waveforms)
        self._check_finite(embedding, self.description.embedding)
        if logits is not None:
            self._check_finite(logits, self.description.logits)
        self._check_size(embedding, waveforms)
        return embedding, logits

    def embed(self, waveforms: Array) -> Array:
        """As `hear`, only the embeddings; for some sounds they may not be finite."""
        embedding, _ = self._outputs(waveforms)
        self._check_size(embedding, waveforms)
        return embedding

    def _outputs(self, waveforms: Array) -> tuple[Array, Array | None]:
        heard = self._normalised(waveforms)
        vectors = [np.concatenate(rows) for rows in zip(*self._pieces(heard), strict=True)]
        if not self.labels:
            return vectors[0], None
        embedding, logits = vectors
        if logits.shape[1] != len(self.labels):
            raise self._wrong(f"gives {logits.shape[1]} logits for {len(self.labels)} labels")
        return embedding, logits

    def _pieces(self, heard: Array) -> Iterator[list[Array]]:
        """The network's outputs for as many waveforms at a time as it takes."""
        layout, rows = self.description.layout, self._network.rows or len(heard)
        if layout is Layout.SAMPLES:
            for row in heard:
                yield self._checked([each[None] for each in self._vectors(self._run(row))], 1)
            return
        for start in range(0, len(heard), rows):
            piece = heard[start : start + rows]
            batch = np.pad(piece, ((0, rows - len(piece)), (0, 0)))
            vectors = self._vectors(
                self._run(batch if layout is Layout.BATCH_SAMPLES else batch[:, None])
            )
            if rows == 1:
                # Some networks squeeze away the batch of one.
                vectors = [each[None] if each.ndim == 1 else each for each in vectors]
            yield [each[: len(piece)] for each in self._checked(vectors, rows)]

    def _run(self, heard: Array) -> Sequence[Array]:
        return self._network.run(np.ascontiguousarray(heard))

    def _checked(self, vectors: list[Array], count: int) -> list[Array]:
        for name, rows in zip(self.description.outputs, vectors, strict=True):
            if rows.ndim != 2 or len(rows) != count:
                raise self._wrong(
                    f"gives {name!r} as {list(rows.shape)} for {count} waveforms, expected"
                    " a vector for each; [output] pool and axis make one of a map"
                )
        return vectors

    def _check_finite(self, rows: Array, name: str) -> None:
        if not np.isfinite(rows).all():
            raise self._wrong(f"gives {name!r} that is not finite")

    def _check_size(self, embedding: Array, waveforms: Array) -> None:
        if embedding.shape[1] != self.embedding_size:
            raise self._wrong(
                f"gives {embedding.shape[1]} numbers for waveforms of {waveforms.shape[1]} samples,"
                f" and {self.embedding_size} for those of its window"
            )

    def _normalised(self, waveforms: Array) -> Array:
        """Waveforms as the network takes them; each is normalised by itself."""
        scaled = waveforms * np.float32(self.description.scale)
        if self.description.normalise is Normalise.NONE:
            return scaled
        if self.description.normalise is Normalise.PEAK:
            size = np.abs(waveforms).max(axis=1, keepdims=True)
        else:
            size = np.sqrt(np.square(waveforms).mean(axis=1, keepdims=True))
        size[size == 0] = 1
        normalised: Array = scaled / size
        return normalised

    def _vectors(self, outputs: Sequence[Array]) -> list[Array]:
        """Outputs without the axes of a map, where they have more axes than a batch of vectors."""
        description = self.description
        most = 1 if description.layout is Layout.SAMPLES else 2
        pool = np.max if description.pool is Pool.MAX else np.mean
        try:
            return [
                (
                    pool(output, axis=description.axes)
                    if description.pool is not None and output.ndim > most
                    else output
                ).astype(np.float32, copy=False)
                for output in outputs
            ]
        except np.exceptions.AxisError as error:
            raise self._wrong(f"has no such axis to pool over: {error}") from error

    def _wrong(self, what: str) -> ModelFolderError:
        return ModelFolderError(f"{self.description.network}: {what}")


def noise(description: Description, count: int) -> Array:
    """Windows of noise to try a network with.

    Args:
        description: gives their length.
        count: number of windows.

    Returns:
        float32 [count, samples].
    """
    length, _ = description.segments.samples(description.sample_rate)
    drawn = np.random.default_rng(0).uniform(-0.1, 0.1, (count, length))
    return drawn.astype(np.float32)


def open_foreign(path: Path, threads: int = 0) -> Foreign:
    """Load the network that an `extractor.toml` describes.

    Args:
        path: that file, or its folder.
        threads: threads that it may use; 0: as many as there are cores.

    Returns:
        the network.

    Raises:
        ModelFolderError: the description or the network cannot be read, or they contradict each
            other.
        UsageError: the library that runs it is not installed.
    """
    return start_foreign(read_description(path), threads)


def start_foreign(description: Description, threads: int = 0, device: str = "cpu") -> Foreign:
    """Load a network that was described.

    Args:
        description: what `extractor.toml` says.
        threads: threads that it may use; 0: as many as there are cores.
        device: `cpu`, or for ONNX files a GPU, as `cuda:1`.

    Returns:
        the network.

    Raises:
        ModelFolderError: as for `open_foreign`.
        UsageError: as for `open_foreign`.
    """
    return Foreign(description, FORMATS[network_format(description)](description, threads, device))


def network_format(description: Description) -> str:
    """The suffix of the network's file, which decides what runs it.

    Raises:
        ModelFolderError: nothing runs it.
    """
    suffix = description.network.suffix.lower()
    if suffix not in FORMATS:
        raise ModelFolderError(
            f"{description.network}: expected an ONNX file (.onnx) or one of TensorFlow Lite"
            f" (.tflite), found {suffix!r}"
        )
    return suffix


def _onnx(description: Description, threads: int, device: str) -> Network:
    content = description.read_network()
    try:
        session = open_session(content, threads, device)
        there = [value.name for value in session.get_outputs()]
        within = set(description.outputs) - set(there)
        if within and within <= set(value_names(content)):
            session = open_session(expose(content, description.outputs), threads, device)
        inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
        given = {value.name: value.type for value in session.get_outputs()}
    except EmbedkitError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common class but this
        raise ModelFolderError(
            f"{description.network}: cannot be read as one ONNX file: {error}"
        ) from error
    if list(inputs) != [description.input_name]:
        raise ModelFolderError(
            f"{description.path}: [input] name: expected the network's only input, found"
            f" {description.input_name!r}; its inputs are: {', '.join(inputs)}"
        )
    kind, shape = inputs[description.input_name]
    if kind != FLOAT32:
        raise ModelFolderError(f"{description.network}: takes {kind}, expected {FLOAT32}")
    for name in description.outputs:
        if name not in given:
            raise ModelFolderError(
                f"{description.path}: [output] no output {name!r}{choices(name, given)}"
            )
        if given[name] not in FLOATS:
            raise ModelFolderError(
                f"{description.network}: gives {name!r} as {given[name]}, expected {FLOAT32}"
            )

    def run(heard: Array) -> Sequence[Array]:
        try:
            outputs: Sequence[Array] = session.run(
                description.outputs, {description.input_name: heard}
            )
        except Exception as error:
            if is_short(error):
                raise
            raise ModelFolderError(
                f"{description.network}: cannot hear an input of {list(heard.shape)}: {error}"
            ) from error
        return outputs

    first = shape[0] if shape else None
    return Network(run, first if isinstance(first, int) and first > 0 else None)


def _tflite(description: Description, threads: int, device: str) -> Network:
    from embedkit.runtime.tflite import tflite_network

    return Network(tflite_network(description, threads), rows=1)


FORMATS = {".onnx": _onnx, ".tflite": _tflite}
