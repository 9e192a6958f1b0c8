"""A GPU's process, or a thread of this process, embeds for workers that decode and write."""

import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.errors import EmbedkitError
from embedkit.processes import MEMORY, end_with_parent, portable
from embedkit.runtime import Program

Array = NDArray[np.float32]

LOOK_S = 0.2  # between two looks at whether the run has ended


@dataclass(frozen=True)
class Line:
    """One end of what a worker and a GPU's process share.

    Attributes:
        connection: carries (ticket, rows) to the GPU's process, and (ticket, error or None) back.
        given: memory for what is to be embedded, `shape`.
        vectors: memory for the vectors, `vectors_shape`.
        shape: number of rows, and the shape of one.
        vectors_shape: number of rows, and the size of the embedding.
    """

    connection: Connection
    given: Any
    vectors: Any
    shape: tuple[int, ...]
    vectors_shape: tuple[int, int]

    def arrays(self) -> tuple[Array, Array]:
        """The two memories as arrays; nothing is copied."""
        return (
            np.frombuffer(self.given, np.float32).reshape(self.shape),
            np.frombuffer(self.vectors, np.float32).reshape(self.vectors_shape),
        )


def open_line(context: Any, shape: tuple[int, ...], size: int) -> tuple[Line, Line]:
    """Make both ends of a line.

    Args:
        context: a context of multiprocessing.
        shape: shape of the largest batch.
        size: size of an embedding.

    Returns:
        the worker's end, and the GPU's end.
    """
    mine, theirs = context.Pipe()
    vectors_shape = shape[0], size
    given, vectors = (context.RawArray("f", math.prod(each)) for each in (shape, vectors_shape))
    line = Line(mine, given, vectors, shape, vectors_shape)
    return line, replace(line, connection=theirs)


class AtCard:
    """An embedder in a worker; a GPU's process computes for it."""

    def __init__(self, program: Program, line: Line) -> None:
        """Use a line, even of a worker that has died.

        Args:
            program: the extractor.
            line: the worker's end.
        """
        self._front_end = program.front_end()
        self._connection = line.connection
        self._given, self._vectors = line.arrays()
        self._device = program.device
        # The answer to what the last worker on the line asked may be still to come.
        self._ticket = np.random.default_rng().integers(2**62)

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        """Embeddings float32 [B, D] of segments float32 [B, samples].

        Raises:
            EmbedkitError: the GPU's process failed, or has ended.
        """
        self._ticket += 1
        self._given[: len(segments)] = self._front_end(segments)
        try:
            self._connection.send((self._ticket, len(segments)))
            while (answer := self._connection.recv())[0] != self._ticket:
                pass
        except (EOFError, OSError) as error:
            raise EmbedkitError(
                f"the process that embeds on {self._device} crashed; run again to go on; {MEMORY}"
            ) from error
        if answer[1] is not None:
            raise answer[1]
        return self._vectors[: len(segments)].copy()


def serve(program: Program, threads: int, lines: Sequence[Line]) -> None:
    """Run the process of a GPU: embed batch by batch, until it is killed.

    Args:
        program: the extractor, with the device of this process.
        threads: threads that the network may use on the CPU.
        lines: its ends of the lines to the workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    end_with_parent()
    _serve(program, threads, lines, Event())


def serve_here(program: Program, lines: Sequence[Line], ended: Event) -> None:
    """Run the same in a thread of the caller's process, until the run has ended.

    Args:
        program: the extractor.
        lines: its ends of the lines to the workers.
        ended: is set at the end of the run.
    """
    try:
        _serve(program, 0, lines, ended)
    except OSError:  # the lines were closed while it embedded
        pass
    finally:
        for line in lines:
            line.connection.close()


def _serve(program: Program, threads: int, lines: Sequence[Line], ended: Event) -> None:
    failure: EmbedkitError | OSError | None = None
    try:
        network = program.start_network(threads)
    except Exception as error:
        failure = portable(error)
    while not ended.is_set():
        ready = wait([line.connection for line in lines], LOOK_S)
        for line in lines:
            if line.connection not in ready:
                continue
            try:
                ticket, rows = line.connection.recv()
            except EOFError:  # who holds the other end is no more, or closed it
                return
            given, vectors = line.arrays()
            if failure is None:
                try:
                    vectors[:rows] = network(given[:rows])
                except Exception as error:
                    failure = portable(error)  # a card may compute nothing any more after one
            line.connection.send((ticket, failure))
