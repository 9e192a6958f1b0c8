"""Where the segments are on the map: by PCA at once, and better in the meantime, and kept."""

import hashlib
import logging
import os
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from fastapi import HTTPException
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from embedkit.atomic import atomic_write
from embedkit.errors import EmbedkitError
from embedkit.pages.projection import Projection, principal_axes, project, project_some
from embedkit.processes import WorkerPool, shared_number, undisturbed
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit
from embedkit.web.collection import Collection

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized
    from pathlib import Path

log = logging.getLogger(__name__)

FEWEST = 50  # segments that are worth more than PCA
FITTED = 50_000  # segments that are laid out; of more, the others are placed among these
AT_ONCE = 65_536  # segments of which a copy is made
VERSION = 2  # of how places are found: another one finds them again
FAR = 3.0  # times as wide as the middle 99 % of points a plane may be, and be shown whole

Points = NDArray[np.float32]


class Plane:
    """Of each segment its place in [-1, 1], but for a few far ones.

    PCA's places are there at once. Those of another projection are found in a process of their own
    when the map is first looked at, and kept beside the collection, where they are found again as
    long as its vectors are the same.
    """

    def __init__(self, collection: Collection, how: Projection = Projection.PCA) -> None:
        """Prepare the planes of a collection.

        Args:
            collection: the collection.
            how: the better projection, which replaces PCA's when it is done.
        """
        self._collection = collection
        self._planes = {Projection.PCA: _pca(collection)}
        self._wanted = how if len(collection.clip) >= FEWEST else Projection.PCA
        self._pool: WorkerPool | None = None
        self._share: Synchronized[float] | None = None
        self._lock = threading.Lock()
        self._error = ""
        folder = collection.table.folder.absolute()
        self.path = folder.with_name(f"{folder.name}-map.safetensors")
        if self._wanted is not Projection.PCA:
            kept = self._read()
            if kept is not None:
                self._planes[self._wanted] = kept

    @property
    def shown(self) -> Projection:
        """What there is by now."""
        return self._wanted if self._wanted in self._planes else Projection.PCA

    def facts(self) -> dict[str, Any]:
        """What there is, and what is under way; the first question begins it."""
        with self._lock:
            waits = self._wanted not in self._planes and not self._error
            if waits and self._pool is None:
                self._begin()
        share = 0.0 if self._share is None else float(self._share.value)
        return {
            "shown": self.shown,
            "under_way": self._wanted if waits else None,
            "share": share,
            "error": self._error,
        }

    def points(self, how: str) -> Points:
        """By a projection that there is, float32 [n, 2]; or 404."""
        if how not in self._planes:
            raise HTTPException(404, "there is no such map")
        return self._planes[Projection(how)]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._error = self._error or "the server is being stopped"
            if self._pool is not None:
                self._pool.kill()

    def _fingerprint(self) -> str:
        """Of what the places follow from."""
        digest = hashlib.sha256(f"{VERSION} {self._wanted} {FITTED}".encode())
        digest.update(np.ascontiguousarray(self._collection.search.vectors).data)
        return digest.hexdigest()

    def _read(self) -> Points | None:
        """The places that are kept, if they are those of the vectors."""
        if not self.path.is_file():
            return None
        with suppress(OSError, SafetensorError), safe_open(self.path, "numpy") as file:
            # Which other kinds of numbers numpy knows depends on what else is loaded.
            if file.get_slice("points").get_dtype() != "F32":
                return None
            points: Points = file.get_tensor("points")
            fits = points.shape == (len(self._collection.clip), 2) and np.isfinite(points).all()
            if fits and (file.metadata() or {}).get("fingerprint") == self._fingerprint():
                return points
        return None

    def _begin(self) -> None:
        self._share = shared_number()
        self._pool = WorkerPool(1, _prepare, self._share)
        with undisturbed():  # the first task starts it
            found = self._pool.submit(
                _lay_out, self._collection.table.folder, len(self._collection.clip), self._wanted
            )
        found.add_done_callback(self._end)

    def _end(self, found: "Future[Points]") -> None:
        try:
            points = into_view(found.result())
        except (EmbedkitError, OSError, RuntimeError, CancelledError) as error:
            if not self._error:
                self._error = f"the map is by PCA, as {self._wanted} failed: {error}"
                log.warning("%s", self._error)
            return
        self._planes[self._wanted] = points
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        try:
            kept = safetensors.numpy.save({"points": points}, {"fingerprint": self._fingerprint()})
            with atomic_write(self.path) as file:
                file.write(kept)
        except OSError as error:
            log.info("%s; the map is not kept for the next time", error)


def _pca(collection: Collection) -> Points:
    """By the axes that tell clips apart: of segments the first one tells silence from sound."""
    vectors, clips = collection.search.vectors, collection.clip_vectors
    if len(clips) <= 2:
        return into_view(project(vectors, Projection.PCA))
    mean = clips.mean(axis=0)
    axes = principal_axes(unit(clips - mean)).T
    starts = range(0, len(vectors), AT_ONCE)
    return into_view(
        np.concatenate([unit(vectors[start : start + AT_ONCE] - mean) @ axes for start in starts])
    )


def into_view(points: NDArray[np.floating]) -> Points:
    """Into [-1, 1]; where a few are so far out that the rest were a dot, these to the border."""
    low, high = points.min(axis=0), points.max(axis=0)
    inner = np.percentile(points, [0.5, 99.5], axis=0)
    if (high - low).max() > FAR * np.ptp(inner, axis=0).max():
        low, high = inner
    span = max(float((high - low).max()), 1e-9)
    scaled: Points = ((points - (low + high) / 2) * 2 / span).astype(np.float32)
    return np.clip(scaled, -1.2, 1.2)


_shares: "list[Synchronized[float]]" = []  # of the process that lays out: one


def _prepare(share: "Synchronized[float]") -> None:
    _shares.append(share)
    if hasattr(os, "nice"):
        os.nice(10)  # who listens and searches comes first


def _lay_out(folder: "Path", count: int, how: Projection) -> Points:
    table = EmbeddingTable.open(folder)
    rows = table.rows()
    vectors = rows.embeddings[searched(rows, table)]
    if len(vectors) != count:
        raise EmbedkitError(f"{folder} has changed: start the explorer again")

    def report(share: float) -> None:
        _shares[0].value = share

    return project_some(vectors, how, FITTED, report=report)
