"""FAISS indices of an embedding folder, kept where making them takes time.

An index is a cache: a stale or damaged index, or one of other settings, is made anew. It is in the
user's own cache folder and never in an embedding folder, which may come from anybody: FAISS trusts
the index that it reads.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from embedkit.atomic import atomic_write, publish, unpublished
from embedkit.errors import UsageError, words
from embedkit.progress import Track
from embedkit.scratch import scratch_folder
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable
from embedkit.untrusted import read_json
from embedkit.vectors import unit

log = logging.getLogger(__name__)

FORMAT = 1
VECTORS = "vectors.f32"
EXACT, GRAPH = 500_000, 5_000_000  # segments up to which search is exact, and by a graph
LINKS = 32  # of each vector in HNSW's graph
EFFORT = 80  # neighbours that HNSW looks at when it links one
SAMPLES = 64  # training vectors of IVF for each of its lists
FEWEST = 10_000  # segments that can be compressed: it takes learning how


class IndexKind(StrEnum):
    """Kind of an index."""

    FLAT = "flat"  # all vectors, exact
    HNSW = "hnsw"  # a graph: fast, in the memory of all vectors and their links
    IVF_PQ = (
        "ivf-pq"  # lists of compressed vectors; candidates are ranked by the exact ones on disk
    )


class Metric(StrEnum):
    """Measure of nearness."""

    COSINE = "cosine"
    DOT = "dot"


Exact = np.memmap[Any, np.dtype[np.float32]]
Facts = dict[str, list[int]]  # of parts: their rows, bytes and time of change


def choose_kind(rows: int) -> IndexKind:
    """The kind of index for a number of rows."""
    if rows <= EXACT:
        return IndexKind.FLAT
    return IndexKind.HNSW if rows <= GRAPH else IndexKind.IVF_PQ


def open_index(
    table: EmbeddingTable, kind: IndexKind, metric: Metric, cache: Path | None, track: Track
) -> tuple[Any, list[str], Exact | None]:
    """Open an index of all rows that are searched, or make it.

    Args:
        table: the collection.
        kind: kind of the index.
        metric: measure of nearness.
        cache: folder where indices are kept; None: that of the user.
        track: shows the progress.

    Returns:
        the index; the parts in the order in which their rows are numbered; and, for a compressed
            index, the vectors [rows, D].

    Raises:
        UsageError: there are too few rows for a compressed index.
    """
    if kind is IndexKind.FLAT:  # to read the vectors is to build it
        index = faiss.IndexFlatIP(table.embedding_size)
        parts = [part.name for part in table.parts]
        for vectors in track(_vectors(table, parts, metric), "Reading vectors", None):
            index.add(vectors)
        return index, parts, None
    if kind is IndexKind.IVF_PQ and len(table) < FEWEST:
        raise UsageError(f"{kind} needs {FEWEST:,} segments, there are {len(table):,}: take flat")
    name = hashlib.sha256(str(table.folder.resolve()).encode("utf-8", "surrogateescape"))
    try:
        root = cache or user_cache_path("embedkit") / "indices"
        folder = root / f"{name.hexdigest()[:24]}-{kind}-{metric}"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            return _Kept(folder, table, kind, metric).open(track)
    # It may not be written, is full (of which faiss makes a RuntimeError), or has no locks; or
    # nobody's home is known.
    except (OSError, RuntimeError) as error:
        log.warning(
            "%s; the index is not kept for the next time: XDG_CACHE_HOME names another folder",
            words(error),
        )
    with scratch_folder() as folder:  # what is mapped from there stays mapped
        return _Kept(folder, table, kind, metric).open(track)


class _Kept:
    """An index in a folder: index.faiss, index.json and, if it is compressed, vectors.f32."""

    def __init__(
        self, folder: Path, table: EmbeddingTable, kind: IndexKind, metric: Metric
    ) -> None:
        self.folder, self.table, self.kind, self.metric = folder, table, kind, metric
        self.now: Facts = {part.name: [part.rows, part.size, part.mtime_ns] for part in table.parts}

    def open(self, track: Track) -> tuple[Any, list[str], Exact | None]:
        index, parts = self._read()
        new = [name for name in self.now if name not in parts]
        if index is None:
            (self.folder / VECTORS).unlink(missing_ok=True)
            index = self._train(track)
        if new:
            self._extend(index, parts, new, track)
        if self.kind is not IndexKind.IVF_PQ:
            return index, parts, None
        shape = (index.ntotal, self.table.embedding_size)
        return index, parts, np.memmap(self.folder / VECTORS, np.float32, "r", shape=shape)

    def _read(self) -> tuple[Any, list[str]]:
        """The index that is there, if it can be gone on with."""
        try:
            settings = read_json(self.folder / "index.json")
            parts = settings["parts"]
            known = settings["format"] == FORMAT and settings["fingerprint"] == self._fingerprint()
            # A part that was rewritten or is gone cannot be taken out of an index.
            if not known or any(self.now.get(name) != facts for name, facts in parts.items()):
                return None, []
            if self._digest(parts) != settings["sha256"]:
                return None, []
            index = faiss.read_index(str(self.folder / "index.faiss"))
            if self.kind is IndexKind.IVF_PQ:
                wanted = 4 * index.ntotal * self.table.embedding_size
                if (self.folder / VECTORS).stat().st_size < wanted:
                    return None, []
                os.truncate(self.folder / VECTORS, wanted)  # a run was killed as it added more
        except (OSError, LookupError, TypeError, ValueError, AttributeError):
            return None, []
        return index, list(parts)

    def _digest(self, parts: Facts) -> str:
        """Of the index and of the parts that it has: neither goes without the other."""
        with (self.folder / "index.faiss").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(json.dumps(parts, sort_keys=True).encode())
        return digest.hexdigest()

    def _fingerprint(self) -> list[Any]:
        """What an index depends on beside the rows."""
        provenance = self.table.provenance
        return [provenance.fingerprint, provenance.embedding_size, self.kind, self.metric]

    def _train(self, track: Track) -> Any:
        index: Any
        size, rows = self.table.embedding_size, len(self.table)
        if self.kind is IndexKind.HNSW:
            index = faiss.IndexHNSWFlat(size, LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = EFFORT
            return index
        lists = max(1, min(rows // SAMPLES, round(4 * math.sqrt(rows))))
        # "np": FAISS would sort the codes for a filter by their bits, which takes ten times as long
        # as the rest. No search uses it.
        index = faiss.index_factory(
            size, f"IVF{lists},PQ{_codes(size)}x8np", faiss.METRIC_INNER_PRODUCT
        )
        wanted = min(rows, max(SAMPLES * lists, 20_000))
        rng = np.random.default_rng(0)
        every = _vectors(self.table, list(self.now), self.metric)
        sample = np.concatenate(
            [
                vectors[rng.random(len(vectors)) < wanted / rows]
                for vectors in track(every, "Sampling vectors", None)
            ]
        )
        index.train(sample)
        return index

    def _extend(self, index: Any, parts: list[str], new: list[str], track: Track) -> None:
        with (self.folder / VECTORS).open("ab") as file:
            for vectors in track(_vectors(self.table, new, self.metric), "Indexing", None):
                index.add(vectors)
                if self.kind is IndexKind.IVF_PQ:
                    file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())
        parts += new
        with unpublished(self.folder / "index.faiss") as temporary:
            faiss.write_index(index, str(temporary))
            publish(temporary, self.folder / "index.faiss")
        facts = {name: self.now[name] for name in parts}
        settings = {
            "format": FORMAT,
            "fingerprint": self._fingerprint(),
            "sha256": self._digest(facts),
            "parts": facts,
        }
        with atomic_write(self.folder / "index.json") as file:
            file.write(json.dumps(settings).encode())


def _vectors(
    table: EmbeddingTable, parts: list[str], metric: Metric
) -> Iterator[NDArray[np.float32]]:
    for batch in table.batches(parts):
        vectors = batch.embeddings[searched(batch, table)]
        yield unit(vectors) if metric is Metric.COSINE else vectors


def _codes(size: int) -> int:
    """Bytes of a compressed vector: one for every four numbers, where they divide evenly."""
    return next(codes for codes in range(size // 4, 0, -1) if size % codes == 0)
