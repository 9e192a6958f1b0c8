"""Embeds sounds that a person drops on the page, in a process of its own, with limits."""

import secrets
import sys
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import AudioError, EmbedkitError, Kind
from embedkit.processes import WorkerPool, undisturbed
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.store import Provenance

if TYPE_CHECKING:
    from embedkit.search.query_embedder import QueryEmbedder

MOST_BYTES = 32 * 2**20
SECONDS = 30.0  # of work on one
HEARD_S = 300.0  # of a sound: its first five minutes
KEPT = 100  # vectors of uploads
ENDED = "the server is being stopped"
MEMORY = 6 * 2**30  # of the process


class Uploads:
    """Embeds uploads one at a time, and keeps the vectors of the last ones by number."""

    def __init__(self, provenance: Provenance, model: Path | None = None) -> None:
        """Prepare; the process starts when it is warmed, or with the first upload.

        Args:
            provenance: that of the collection.
            model: where its model is now, if it has moved.
        """
        self._arguments = (provenance, model)
        self._pool: WorkerPool | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._vectors: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        # Not 0: a page may still hold the numbers that the server before this one gave.
        self._number = secrets.randbits(48)

    def add(self, content: bytes) -> int:
        """Embed a sound.

        Returns:
            the number of its vector.

        Raises:
            AudioError: it cannot be decoded, or not in time.
            EmbedkitError: the collection's model is not there, embedding failed, or there is no
                room for temporary files.
        """
        with self._lock, scratch_folder() as folder:
            path = folder / "upload"
            with into_scratch():
                path.write_bytes(content)
            vector = self._embed(path)
            self._number += 1
            self._vectors[self._number] = vector
            if len(self._vectors) > KEPT:
                self._vectors.popitem(last=False)
            return self._number

    def warm(self) -> None:
        """Load the model in the background, so that the first upload is answered at once."""
        with self._lock:
            self._start()  # what is wrong with the model is told to who drops a sound

    def vector(self, number: int) -> NDArray[np.float32] | None:
        """The vector of an upload, or None if it is no longer kept."""
        return self._vectors.get(number)

    def end(self) -> None:
        """Embed nothing more; whoever waits gets an error."""
        self._ended = True
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.kill()
            self._pool = None

    def _start(self) -> "tuple[WorkerPool, Future[None]]":
        """The process, and the moment when it has the model."""
        self._pool = self._pool or WorkerPool(1, _limit_memory)
        with undisturbed():  # the first task starts it
            return self._pool, self._pool.submit(_load, *self._arguments)

    def _embed(self, path: Path) -> NDArray[np.float32]:
        if self._ended:
            raise EmbedkitError(ENDED)
        try:
            pool, loaded = self._start()
            # The limit is for the sound: how long a model takes to load is not its fault.
            loaded.result()
            return pool.submit(_embed, path).result(SECONDS)
        except TimeoutError as error:
            self.close()
            raise AudioError(Kind.TIMEOUT, f"not embedded within {SECONDS:.0f} s") from error
        except (RuntimeError, CancelledError) as error:  # of the pool: it is broken, or shut down
            if self._ended:
                raise EmbedkitError(ENDED) from error
            self.close()
            raise AudioError(
                Kind.CRASHED, "the process that embeds it died: of its decoder, or short of memory"
            ) from error


_embedders: "list[QueryEmbedder]" = []  # of the process that embeds: one


def _limit_memory() -> None:
    if sys.platform != "win32":  # which has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _load(provenance: Provenance, model: Path | None) -> None:
    from embedkit.search.query_embedder import QueryEmbedder  # which the server has no use for

    if not _embedders:
        _embedders.append(QueryEmbedder(provenance, model))


def _embed(path: Path) -> NDArray[np.float32]:
    try:
        return _embedders[0].embed(path, 0.0, HEARD_S)
    except AudioError as error:  # the path is the server's own
        raise AudioError(error.kind, error.message.removeprefix(f"{path}: ")) from error
