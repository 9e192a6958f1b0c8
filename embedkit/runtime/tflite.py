"""Runs TensorFlow Lite files of others by LiteRT (`embedkit[tflite]`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ModelFolderError, choices, require
from embedkit.runtime.description import Description
from embedkit.runtime.tflite_graph import TfliteGraph

Array = NDArray[np.float32]


def read_graph(description: Description) -> TfliteGraph:
    """Read the file of a description.

    Raises:
        ModelFolderError: it cannot be read.
    """
    try:
        return TfliteGraph(description.read_network())
    except ValueError as error:
        raise ModelFolderError(f"{description.network}: {error}") from error


def find_tensors(graph: TfliteGraph, description: Description) -> list[int]:
    """The tensors that the description names as its outputs; any tensor may be one.

    Args:
        graph: the graph of the file.
        description: what `extractor.toml` says.

    Returns:
        numbers of the tensors.

    Raises:
        ModelFolderError: there is no tensor of a name, or it is not float32.
    """
    found = []
    for name in description.outputs:
        try:
            number = graph.find(name)
        except KeyError as error:
            names = [tensor.name for tensor in graph.tensors if tensor.is_float]
            raise ModelFolderError(
                f"{description.path}: [output] there is not one tensor {name!r}"
                f"{choices(name, names)}"
            ) from error
        if not graph.tensors[number].is_float:
            raise ModelFolderError(f"{description.network}: {name!r} is not float32")
        found.append(number)
    return found


def tflite_network(description: Description, threads: int) -> Callable[[Array], Sequence[Array]]:
    """A function that computes the outputs of a description for one waveform.

    Args:
        description: its outputs are names of tensors, which may be outputs of the graph or within
            it.
        threads: threads that it may use; 0: as many as there are cores.

    Returns:
        the function.

    Raises:
        ModelFolderError: the file cannot be read, or does not fit the description.
        UsageError: LiteRT is not installed.
    """
    graph = read_graph(description)
    names = [graph.tensors[number].name for number in graph.inputs]
    if names != [description.input_name]:
        raise ModelFolderError(
            f"{description.path}: [input] name: expected the network's only input, found"
            f" {description.input_name!r}; its inputs are: {', '.join(names)}"
        )
    outputs = find_tensors(graph, description)
    run = open_interpreter(graph.with_ends(outputs), threads)

    def heard(waveform: Array) -> Sequence[Array]:
        try:
            return run(waveform)
        except (RuntimeError, ValueError) as error:
            raise ModelFolderError(
                f"{description.network}: cannot hear an input of {list(waveform.shape)}: {error}"
            ) from error

    return heard


def open_interpreter(content: bytes, threads: int) -> Callable[[Array], list[Array]]:
    """A function that computes the outputs of a file with one input, in their order.

    Args:
        content: content of the file.
        threads: threads that it may use; 0: as many as there are cores.

    Returns:
        the function.
    """
    litert = require("ai_edge_litert.interpreter", "tflite")
    with _quiet():
        interpreter = litert.Interpreter(
            model_content=content, num_threads=threads or os.cpu_count() or 1
        )
        interpreter.allocate_tensors()
    [taken] = interpreter.get_input_details()
    outputs = [each["index"] for each in interpreter.get_output_details()]
    shape = tuple(taken["shape"].tolist())

    def run(given: Array) -> list[Array]:
        nonlocal shape
        if given.shape != shape:
            with _quiet():
                interpreter.resize_tensor_input(taken["index"], given.shape)
                interpreter.allocate_tensors()
            shape = given.shape
        interpreter.set_tensor(taken["index"], given)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away from progress bars what LiteRT writes on the process's own stderr."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
    finally:
        os.close(kept)
