"""The head of somebody else's network, which makes logits of its embedding, cut out of its graph.

It only needs the vectors of an embedding folder, so that a folder can be asked for the names that
the network knows without hearing a sound again.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from embedkit.config import Activation
from embedkit.errors import ModelFolderError
from embedkit.runtime.description import Description
from embedkit.runtime.foreign import Array, noise, start_foreign
from embedkit.runtime.onnx import open_session
from embedkit.runtime.onnx_cut import cut
from embedkit.runtime.tflite import find_tensors, open_interpreter, read_graph
from embedkit.runtime.tflite_graph import EXPAND_DIMS, RESHAPE, SQUEEZE, TfliteGraph

TRIED = 4  # windows of noise of which the head has to give what the network gives
TOLERANCE = 1e-3  # of the largest logit

Run = Callable[[Array], Array]  # [B, ...] -> [B, L]


class Head:
    """Turns embeddings into probabilities of the network's labels.

    Attributes:
        labels: names of the labels [L].
        size: D.
    """

    def __init__(self, description: Description) -> None:
        """Cut it out of the network, and try it on noise.

        Raises:
            ModelFolderError: the network has no logits, or makes them from more than the embedding.
            UsageError: the library that runs it is not installed.
        """
        if not description.labels:
            raise ModelFolderError(
                f"{description.path}: describes no logits, so that this extractor has no names;"
                " `embedkit classify fit` learns yours from labels"
            )
        embedding, logits = start_foreign(description, threads=1).hear(noise(description, TRIED))
        assert logits is not None  # there are labels
        self.labels = description.labels
        self.size = embedding.shape[1]
        self._softmax = description.activation is Activation.SOFTMAX
        self._run = self._fitting(description, embedding, logits)

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities [n, L] of vectors [n, D]."""
        logits = self._run(vectors).astype(np.float64)
        found: NDArray[np.float64] = softmax(logits, axis=1) if self._softmax else expit(logits)
        return found

    @staticmethod
    def _fitting(description: Description, embedding: Array, logits: Array) -> Run:
        """The part of the network that gives these logits for these embeddings.

        Raises:
            ModelFolderError: no part does.
        """
        for run in _cuts(description, embedding.shape[1]):
            try:
                found = run(embedding)
            except (ModelFolderError, RuntimeError, ValueError):
                continue  # it wants another shape
            largest = np.abs(logits).max()
            if found.shape == logits.shape and np.abs(found - logits).max() < TOLERANCE * largest:
                return run
        raise ModelFolderError(
            f"{description.network}: makes {description.logits!r} of more than"
            f" {description.embedding!r}, so that names do not follow from its vectors;"
            " `embedkit classify fit` learns yours from labels"
        )


def _cuts(description: Description, size: int) -> Iterator[Run]:
    if description.pool is not None:
        return  # the vector is made outside of the network
    if description.network.suffix.lower() == ".tflite":
        yield from _tflite_cuts(description)
    else:
        yield from _onnx_cuts(description, size)


def _onnx_cuts(description: Description, size: int) -> Iterator[Run]:
    try:
        content, name = cut(description.read_network(), description.embedding, description.logits)
        session = open_session(content, threads=1)
    except Exception:  # ONNX Runtime's errors have no common class but this
        return
    for shape in ((size,), (size, 1, 1), (1, 1, size), (size, 1), (1, size)):

        def run(vectors: Array, shape: tuple[int, ...] = shape) -> Array:
            try:
                [found] = session.run(None, {name: vectors.reshape(-1, *shape)})
            except Exception as error:
                raise ModelFolderError(f"{description.network}: {error}") from error
            logits: Array = found.reshape(len(vectors), -1)
            return logits

        yield run


def _tflite_cuts(description: Description) -> Iterator[Run]:
    graph = read_graph(description)
    start, end = find_tensors(graph, description)
    found = _operators(graph, start, end)
    if found is None:
        return
    places, start = found
    compute = open_interpreter(graph.with_ends([end], [start], places), threads=1)
    shape = graph.tensors[start].shape

    def run(vectors: Array) -> Array:
        rows = [compute(row.reshape(shape))[0].reshape(1, -1) for row in vectors]
        return np.concatenate(rows)

    yield run


def _operators(graph: TfliteGraph, start: int, end: int) -> tuple[list[int], int] | None:
    """The operators from one tensor to another; the first may be a view of another tensor."""
    makers = {tensor: place for place, one in enumerate(graph.operators) for tensor in one.outputs}
    starts = [start]
    while (place := makers.get(starts[-1])) is not None and graph.operators[place].code in {
        RESHAPE,
        SQUEEZE,
        EXPAND_DIMS,
    }:
        starts.append(graph.operators[place].inputs[0])
    for first in starts:
        found: set[int] = set()
        seen, waiting = {first, -1}, [end]
        while waiting:
            tensor = waiting.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            if tensor in makers:
                found.add(makers[tensor])
                waiting += graph.operators[makers[tensor]].inputs
        if found and not seen.intersection(graph.inputs):
            return sorted(found), first
    return None
