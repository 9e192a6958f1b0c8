"""The Parquet contract: what stands in an embedding folder, how it is written and read.

    rows/part-<shard>-<n>.parquet    vectors: clip, segment, start_s, end_s, embedding
    files/part-<shard>-<n>.parquet   the journal: one row per finished input file
    manifest.json                    provenance: what the vectors depend on

A rows part counts only if its journal part exists: the journal part is renamed last.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from embedkit import __version__
from embedkit.errors import EmbeddingFolderError
from embedkit.files import atomic_write, publish, temporary_name

FORMAT = 1
MANIFEST, ROWS, FILES = "manifest.json", "rows", "files"
METADATA = b"embedkit"

PART_SECONDS = 60.0
PART_BYTES = 64 * 2**20
ROW_GROUP_BYTES = 16 * 2**20

FILES_SCHEMA = pa.schema(
    [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),  # of what was decoded
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # empty for a good file
        pa.field("message", pa.string(), nullable=False),
    ]
)


def rows_schema(dim: int) -> pa.Schema:
    """The columns of rows parts for vectors of length `dim`."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    return pa.schema(
        [
            pa.field("clip", pa.string(), nullable=False),
            pa.field("segment", pa.int32(), nullable=False),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("end_s", pa.float64(), nullable=False),
            pa.field("embedding", vector, nullable=False),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the vectors of a folder depend on; equal provenance means comparable vectors.

    Attributes:
        audio_root: folder that clip names are relative to.
        model: the model folder.
        fingerprint: SHA-256 of the model's weights.
        embedding_size: D.
        features: settings of the front-end.
        segment_s: length of a segment.
        hop_s: between two segments.
        channel: mix, or the channel's number.
        runtime: what executed the network.
    """

    audio_root: str
    model: str
    fingerprint: str
    embedding_size: int
    features: dict[str, Any]
    segment_s: float
    hop_s: float
    channel: str
    runtime: str

    def check_same(self, asked: "Provenance", folder: Path) -> None:
        """Refuse to go on with other settings.

        Raises:
            EmbeddingFolderError: names the first setting that differs, with both values.
        """
        mine, other = asdict(self), asdict(asked)
        del mine["model"], other["model"]  # a model may move; its fingerprint says whether it is it
        for name, value in mine.items():
            if other[name] != value:
                raise EmbeddingFolderError(
                    f"{folder}: was made with {name} {value!r}, not {other[name]!r}; use the same"
                    " setting or another folder"
                )


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A row of the journal: one finished input file."""

    clip: str
    size: int
    mtime_ns: int
    duration_s: float
    rows: int
    kind: str
    message: str


class EmbeddingWriter:
    """Appends clips to an embedding folder as one shard of it.

    Rows of a clip are added, then the clip is finished; a part closes at a clip's end. What was
    not closed when the process died is gone without a trace, and its clips are not in the journal.
    """

    def __init__(self, folder: Path, provenance: Provenance, shard: int = 0) -> None:
        """Open the folder for appending, and clean what a killed run of this shard left.

        Raises:
            EmbeddingFolderError: other settings made the folder, or another process
                writes the shard.
        """
        self.folder = folder
        self.shard = shard
        self._schema = _with_provenance(rows_schema(provenance.embedding_size), provenance)
        self._files_schema = _with_provenance(FILES_SCHEMA, provenance)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f".lock-{shard:05d}")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise EmbeddingFolderError(
                f"{folder}: another run is writing shard {shard}; wait for it or stop it"
            ) from error
        try:
            start_folder(folder, provenance)
            for name in (ROWS, FILES):
                (folder / name).mkdir(exist_ok=True)
            _remove_leftovers(folder, shard)
        except BaseException:
            self._lock.release()
            raise
        numbers = [int(path.stem.split("-")[2]) for path in _parts(folder / FILES, shard)]
        self._number = max(numbers, default=-1) + 1
        self._writer: pq.ParquetWriter | None = None
        # One row group, allocated once: small arrays that live long between a network's large and
        # short-lived ones would keep the heap from being used again, and it would grow.
        self._row_bytes = 4 * provenance.embedding_size + 24
        rows = max(1, ROW_GROUP_BYTES // self._row_bytes)
        self._segments = np.empty(rows, np.int32)
        self._start_s, self._end_s = np.empty((2, rows), np.float64)
        self._embeddings = np.empty((rows, provenance.embedding_size), np.float32)
        self._open_part()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._close_part()
            elif self._writer is not None:
                self._writer.close()
            _remove_leftovers(self.folder, self.shard)
        finally:
            self._lock.release()

    def add_rows(
        self,
        clip: str,
        segments: NDArray[np.int32],
        start_s: NDArray[np.float64],
        end_s: NDArray[np.float64],
        embeddings: NDArray[np.float32],
    ) -> None:
        """Add segments [n] of a clip and their vectors [n, D]."""
        done = 0
        while done < len(segments):
            start = len(self._clips)
            count = min(len(segments) - done, len(self._segments) - start)
            here, there = slice(start, start + count), slice(done, done + count)
            self._clips += [clip] * count
            self._segments[here] = segments[there]
            self._start_s[here] = start_s[there]
            self._end_s[here] = end_s[there]
            self._embeddings[here] = embeddings[there]
            done += count
            if len(self._clips) == len(self._segments):
                self._flush()
        self._bytes += len(segments) * self._row_bytes

    def finish_file(self, record: FileRecord) -> None:
        """Journal a file whose rows, if any, have all been added."""
        self._journal.append(record)
        if self._bytes >= PART_BYTES or time.monotonic() - self._opened >= PART_SECONDS:
            self._close_part()
            self._open_part()

    def _open_part(self) -> None:
        self._clips: list[str] = []
        self._journal: list[FileRecord] = []
        self._bytes = 0
        self._opened = time.monotonic()
        self._writer = None

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                temporary_name(self._path(ROWS)), self._schema, compression="zstd"
            )
        count = len(self._clips)
        if not count:
            return
        vectors = pa.FixedSizeListArray.from_arrays(
            self._embeddings[:count].reshape(-1), type=self._schema.field("embedding").type
        )
        table = pa.table(
            [
                pa.array(self._clips, pa.string()),
                self._segments[:count],
                self._start_s[:count],
                self._end_s[:count],
                vectors,
            ],
            schema=self._schema,
        )
        self._writer.write_table(table, row_group_size=count)
        self._clips = []

    def _close_part(self) -> None:
        if not self._journal:
            return
        self._flush()
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        records = [asdict(record) for record in self._journal]
        journal = pa.Table.from_pylist(records, self._files_schema)
        pq.write_table(journal, temporary_name(self._path(FILES)), compression="zstd")
        for name in (ROWS, FILES):  # the journal last: it makes the part count
            path = self._path(name)
            with temporary_name(path).open("rb") as file:
                os.fsync(file.fileno())
        for name in (ROWS, FILES):
            publish(temporary_name(self._path(name)), self._path(name))
        self._number += 1

    def _path(self, name: str) -> Path:
        return self.folder / name / f"part-{self.shard:05d}-{self._number:05d}.parquet"


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keep other runs off a folder from before its journal is read until the last part is written.

    Raises:
        EmbeddingFolderError: another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise EmbeddingFolderError(
            f"{folder}: another run is writing to it; wait for it or stop it"
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left: temporary files, and rows without a journal.

    Shards that a live process is writing are left alone.
    """
    for path in folder.glob(".lock-*"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        with lock:
            _remove_leftovers(folder, int(path.name.removeprefix(".lock-")))
        lock.release()


def _remove_leftovers(folder: Path, shard: int) -> None:
    journaled = {path.name for path in _parts(folder / FILES, shard)}
    for path in _parts(folder / ROWS, shard):
        if path.name not in journaled:
            path.unlink()
    for name in (ROWS, FILES):
        for path in (folder / name).glob(f".part-{shard:05d}-*.tmp"):
            path.unlink()


def _parts(folder: Path, shard: int) -> list[Path]:
    return sorted(folder.glob(f"part-{shard:05d}-*.parquet"))


def start_folder(folder: Path, provenance: Provenance) -> None:
    """Write a folder's manifest, or check that the one there has the same settings.

    Raises:
        EmbeddingFolderError: it has others, or the folder is in use for something else.
    """
    if (folder / MANIFEST).exists():
        read_manifest(folder).check_same(provenance, folder)
        return
    if any(not path.name.startswith(".") for path in folder.glob("*")):
        raise EmbeddingFolderError(
            f"{folder}: not empty, and not an embedding folder; choose another one"
        )
    content = {"format": FORMAT, "embedkit_version": __version__, **asdict(provenance)}
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode())


def read_manifest(folder: Path) -> Provenance:
    """Read a folder's provenance.

    Raises:
        EmbeddingFolderError: it is not an embedding folder, or one of another format.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise EmbeddingFolderError(f"{path}: this version of embedkit reads format {FORMAT}")
        del content["embedkit_version"]
        return _checked(Provenance(**content))
    except FileNotFoundError as error:
        raise EmbeddingFolderError(
            f"{folder}: not an embedding folder: it has no {MANIFEST}; `embedkit extract` makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EmbeddingFolderError(
            f"{path}: not an embedding folder's manifest: {error}"
        ) from error


def _checked(provenance: Provenance) -> Provenance:
    for name, wanted in get_type_hints(Provenance).items():
        value = getattr(provenance, name)
        accepted = (int, float) if wanted is float else get_origin(wanted) or wanted
        if not isinstance(value, accepted):
            raise TypeError(f"{name} is {value!r}")
    if provenance.embedding_size < 1:
        raise ValueError(f"embedding_size is {provenance.embedding_size}")
    return provenance


@dataclass(frozen=True)
class Rows:
    """Some rows of an embedding folder, as arrays of one length n.

    Attributes:
        clips: names, object array of str [n].
        segments: int32 [n].
        start_s, end_s: float64 [n].
        embeddings: float32 [n, D].
    """

    clips: NDArray[np.object_]
    segments: NDArray[np.int32]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    embeddings: NDArray[np.float32]


class EmbeddingTable:
    """Reads an embedding folder. Needs no torch.

    Attributes:
        folder: where it is.
        provenance: what its vectors depend on.
    """

    def __init__(self, folder: Path, provenance: Provenance, parts: list[str]) -> None:
        self.folder = folder
        self.provenance = provenance
        self._parts = parts

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder; its parts are read when asked for.

        Raises:
            EmbeddingFolderError: not an embedding folder, or a part does not fit the manifest.
        """
        folder = Path(folder)
        provenance = read_manifest(folder)
        parts = sorted(path.name for path in (folder / FILES).glob("part-*.parquet"))
        table = cls(folder, provenance, parts)
        for name in parts:
            table._check(ROWS, name, rows_schema(provenance.embedding_size))
            table._check(FILES, name, FILES_SCHEMA)
        return table

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.provenance.embedding_size

    def __len__(self) -> int:
        """How many rows there are."""
        total = 0
        for name in self._parts:
            with _reading(self.folder / ROWS / name) as part:
                total += part.metadata.num_rows
        return total

    @cached_property
    def journal(self) -> list[FileRecord]:
        """One record per finished input file, sorted by clip."""
        records = []
        for name in self._parts:
            with _reading(self.folder / FILES / name) as part:
                records += [FileRecord(**row) for row in part.read().to_pylist()]
        records.sort(key=lambda record: record.clip)
        for first, second in pairwise(records):
            if first.clip == second.clip:
                raise EmbeddingFolderError(f"{self.folder}: {first.clip} is in the journal twice")
        return records

    def batches(self) -> Iterator[Rows]:
        """All rows, a row group (16 MiB) at a time, in the order of the parts."""
        for name in self._parts:
            with _reading(self.folder / ROWS / name) as part:
                for group in range(part.num_row_groups):
                    yield self._rows(part.read_row_group(group).combine_chunks())

    def rows(self) -> Rows:
        """All rows, sorted by clip and segment: the same however they were written."""
        batches = list(self.batches())
        if not batches:
            none = np.zeros(0)
            empty = np.zeros((0, self.embedding_size), np.float32)
            return Rows(none.astype(object), none.astype(np.int32), none, none, empty)
        columns = [
            np.concatenate([getattr(batch, name) for batch in batches])
            for name in ("clips", "segments", "start_s", "end_s", "embeddings")
        ]
        order = np.lexsort((columns[1], columns[0].astype(str)))
        return Rows(*(column[order] for column in columns))

    def clip_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """One vector per clip: the mean of its segments weighted by their real duration.

        Returns:
            names of the clips that have rows, sorted, and their vectors float32 [clips, D].
        """
        number: dict[str, int] = {}
        for record in self.journal:
            if record.rows:
                number[record.clip] = len(number)
        sums = np.zeros((len(number), self.embedding_size))
        weights = np.zeros(len(number))
        for batch in self.batches():
            try:
                owner = np.array([number[clip] for clip in batch.clips], np.int64)
            except KeyError as error:
                raise EmbeddingFolderError(
                    f"{self.folder}: clip {error} has rows that the journal does not know"
                ) from error
            weight = batch.end_s - batch.start_s
            np.add.at(sums, owner, weight[:, None] * batch.embeddings)
            np.add.at(weights, owner, weight)
        return list(number), (sums / np.maximum(weights, 1e-12)[:, None]).astype(np.float32)

    def _rows(self, table: pa.Table) -> Rows:
        vectors = table["embedding"].combine_chunks()
        return Rows(
            clips=table["clip"].to_numpy(),
            segments=table["segment"].to_numpy(),
            start_s=table["start_s"].to_numpy(),
            end_s=table["end_s"].to_numpy(),
            # The zero-copy way out of a fixed-size list.
            embeddings=vectors.flatten().to_numpy().reshape(-1, self.embedding_size),
        )

    def _check(self, folder: str, name: str, expected: pa.Schema) -> None:
        path = self.folder / folder / name
        with _reading(path) as part:
            found = part.schema_arrow
        if not found.equals(expected):
            raise EmbeddingFolderError(
                f"{path}: expected the columns {_columns(expected)}; found {_columns(found)}"
            )
        if _fingerprint(found) != self.provenance.fingerprint:
            raise EmbeddingFolderError(
                f"{path}: made by another model than the manifest names; vectors of two models"
                " cannot be compared"
            )


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as part:
            yield part
    except (OSError, pa.ArrowException) as error:
        raise EmbeddingFolderError(f"{path}: cannot be read: {error}") from error


def _fingerprint(schema: pa.Schema) -> object:
    try:
        return json.loads(schema.metadata[METADATA])["fingerprint"]
    except (KeyError, TypeError, ValueError):
        return None  # not ours


def _with_provenance(schema: pa.Schema, provenance: Provenance) -> pa.Schema:
    return schema.with_metadata({METADATA: json.dumps(asdict(provenance)).encode()})


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
