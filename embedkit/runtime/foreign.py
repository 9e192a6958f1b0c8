"""An extractor that others made, executed by ONNX Runtime."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ModelFolderError, choices
from embedkit.runtime.description import Description, Layout, Normalise, Pool, read_description
from embedkit.runtime.onnx import open_session

Array = NDArray[np.float32]
Run = Callable[[Array], Sequence[Array]]  # the network: its input -> `Description.outputs`

FLOAT32 = "tensor(float)"  # as ONNX Runtime calls it
FLOATS = (FLOAT32, "tensor(float16)", "tensor(double)")


class Foreign:
    """Waveforms -> embeddings, and the network's own logits where it has some.

    Attributes:
        description: what `extractor.toml` says.
        embedding_size: E.
    """

    def __init__(self, description: Description, run: Run) -> None:
        """Try the network with two windows of noise.

        Raises:
            ModelFolderError: it does not do what the description says.
        """
        self.description = description
        self._run = run
        length, _ = description.segments.samples(description.sample_rate)
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, (2, length)).astype(np.float32)
        embedding, _ = self._outputs(noise)
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
        if embedding.shape[1] != self.embedding_size:
            raise self._wrong(
                f"gives {embedding.shape[1]} numbers for waveforms of {waveforms.shape[1]} samples,"
                f" and {self.embedding_size} for those of its window"
            )
        return embedding, logits

    def _outputs(self, waveforms: Array) -> tuple[Array, Array | None]:
        heard = self._normalised(waveforms)
        layout = self.description.layout
        if layout is Layout.SAMPLES:
            each = [self._vectors(self._run(row)) for row in heard]
            vectors = [np.stack(rows) for rows in zip(*each, strict=True)]
        else:
            batch = heard if layout is Layout.BATCH_SAMPLES else heard[:, None]
            vectors = self._vectors(self._run(batch))
            if len(heard) == 1:
                # Some networks squeeze away the batch of one.
                vectors = [rows[None] if rows.ndim == 1 else rows for rows in vectors]
        for name, rows in zip(self.description.outputs, vectors, strict=True):
            if rows.ndim != 2 or len(rows) != len(heard):
                raise self._wrong(
                    f"gives {name!r} as {list(rows.shape)} for {len(heard)} waveforms, expected"
                    " a vector for each; [output] pool and axis make one of a map"
                )
            if not np.isfinite(rows).all():
                raise self._wrong(f"gives {name!r} that is not finite")
        if not self.labels:
            return vectors[0], None
        embedding, logits = vectors
        if logits.shape[1] != len(self.labels):
            raise self._wrong(f"gives {logits.shape[1]} logits for {len(self.labels)} labels")
        return embedding, logits

    def _normalised(self, waveforms: Array) -> Array:
        """Waveforms as the network takes them, each on its own."""
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
        """Outputs without the axes of a map, where they have more than a batch of vectors."""
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


def open_foreign(path: Path, threads: int = 0) -> Foreign:
    """Load the network that an `extractor.toml` describes.

    Args:
        path: of that file, or of its folder.
        threads: that ONNX Runtime may use; 0: as many as there are cores.

    Raises:
        ModelFolderError: the description or the network cannot be read, or they contradict each
            other.
    """
    description = read_description(path)
    suffix = description.network.suffix.lower()
    if suffix != ".onnx":
        what = "TensorFlow Lite" if suffix == ".tflite" else repr(suffix)
        raise ModelFolderError(
            f"{description.network}: {what} cannot be read yet, expected an ONNX file (.onnx)"
        )
    return Foreign(description, _onnx(description, threads))


def _onnx(description: Description, threads: int) -> Run:
    content = description.read_network()
    try:
        session = open_session(content, threads)
    except Exception as error:  # ONNX Runtime's errors have no common class but this
        raise ModelFolderError(
            f"{description.network}: cannot be read as one ONNX file: {error}"
        ) from error
    inputs = {value.name: value.type for value in session.get_inputs()}
    if list(inputs) != [description.input_name]:
        raise ModelFolderError(
            f"{description.path}: [input] name: expected the network's only input, found"
            f" {description.input_name!r}; its inputs are: {', '.join(inputs)}"
        )
    if inputs[description.input_name] != FLOAT32:
        raise ModelFolderError(
            f"{description.network}: takes {inputs[description.input_name]}, expected {FLOAT32}"
        )
    there = {value.name: value.type for value in session.get_outputs()}
    for name in description.outputs:
        if name not in there:
            raise ModelFolderError(
                f"{description.path}: [output] no output {name!r}{choices(name, there)}"
            )
        if there[name] not in FLOATS:
            raise ModelFolderError(
                f"{description.network}: gives {name!r} as {there[name]}, expected {FLOAT32}"
            )

    def run(heard: Array) -> Sequence[Array]:
        try:
            outputs: Sequence[Array] = session.run(
                description.outputs, {description.input_name: heard}
            )
        except Exception as error:
            raise ModelFolderError(
                f"{description.network}: cannot hear an input of {list(heard.shape)}: {error}"
            ) from error
        return outputs

    return run
