"""Vectors of any other extractor into an embedding folder, so that every back-end serves them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedkit.errors import DatasetError, UsageError
from embedkit.store import EmbeddingWriter, FileRecord, Provenance

# What tools call the columns, in order of preference.
NAMES = {
    "clip": ("clip", "path", "file", "filename", "filepath"),
    "start_s": ("start_s", "start", "start_time", "timestamp"),
    "end_s": ("end_s", "end", "end_time"),
    "embedding": ("embedding", "embeddings", "vector"),
}


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What is known of vectors that another extractor made.

    Attributes:
        name: of the extractor: OpenL3, BirdNET.
        window_s: length of a segment, where the vectors do not say where theirs ends.
        hop_s: between two segments, where they do not say where theirs begin.
        rows: for a single .npy file: a CSV or Parquet with a row for each vector.
        audio: the folder that the clips' names are relative to.
    """

    name: str
    window_s: float | None = None
    hop_s: float | None = None
    rows: Path | None = None
    audio: Path | None = None


@dataclass(frozen=True)
class Clip:
    """The vectors of a clip: start and end in seconds [n], vectors [n, D]."""

    name: str
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    vectors: NDArray[np.float32]


def import_vectors(source: Path, form: str, foreign: Foreign, out: Path) -> tuple[int, int]:
    """Write an embedding folder of another extractor's vectors.

    Args:
        source: for `parquet` a file or a folder of them, with the columns clip (or path), start_s,
            end_s and embedding (or vector); for `npy` one file [rows, D] with `foreign.rows`, a
            folder as `convert --to npy` writes it, or one with a .npy or .npz file for each clip,
            [segments, D], of which .npz may hold `embedding` and `timestamps` as OpenL3 writes.
        form: one of FOREIGN.
        foreign: what is known of them.
        out: a new folder.

    Returns:
        clips and rows.

    Raises:
        DatasetError: the source cannot be read, its vectors are not of one size or not finite, or
            their places are not known.
        UsageError: no such format, or the folder is there already.
    """
    if form not in FOREIGN:
        raise UsageError(f"no format {form!r}; there are: {', '.join(FOREIGN)}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is there already; name another place")
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    clips = FOREIGN[form](source, foreign)
    first = next(clips, None)
    if first is None:
        raise DatasetError(f"{source}: no vectors in it")
    size = first.vectors.shape[1]
    starts = np.diff(first.start_s)
    window = foreign.window_s or float(np.median(first.end_s - first.start_s))
    provenance = Provenance(
        audio_root=str(foreign.audio.absolute()) if foreign.audio else "",
        model=foreign.name,
        fingerprint=hashlib.sha256(f"{foreign.name}, {size}".encode()).hexdigest(),
        embedding_size=size,
        features={},
        segment_s=window,
        hop_s=float(foreign.hop_s or (np.median(starts) if len(starts) else window)),
        channel="mix",
        runtime="imported",
    )
    count = rows = 0
    with EmbeddingWriter(out, provenance) as writer:
        clip: Clip | None = first
        while clip is not None:
            _check(clip, size, source)
            number = len(clip.vectors)
            segments = np.arange(number, dtype=np.int32)
            writer.add_rows(clip.name, segments, clip.start_s, clip.end_s, clip.vectors)
            writer.finish_file(_record(clip, foreign.audio))
            count, rows = count + 1, rows + number
            clip = next(clips, None)
    return count, rows


def _record(clip: Clip, audio: Path | None) -> FileRecord:
    path = audio / clip.name if audio else None
    status = path.stat() if path is not None and path.is_file() else None
    return FileRecord(
        clip=clip.name,
        size=status.st_size if status else 0,
        mtime_ns=status.st_mtime_ns if status else 0,
        duration_s=float(clip.end_s.max()),
        rows=len(clip.vectors),
        kind="",
        message="",
    )


def _check(clip: Clip, size: int, source: Path) -> None:
    if clip.vectors.shape[1] != size:
        raise DatasetError(
            f"{source}: {clip.name} has vectors of {clip.vectors.shape[1]} numbers, others of"
            f" {size}"
        )
    if not np.isfinite(clip.vectors).all():
        raise DatasetError(f"{source}: the vectors of {clip.name} hold NaN or infinity")
    if not (clip.start_s < clip.end_s).all():
        raise DatasetError(f"{source}: {clip.name} has a segment that ends before it begins")
    if PurePosixPath(clip.name).is_absolute() or ".." in PurePosixPath(clip.name).parts:
        raise DatasetError(
            f"{source}: clip {clip.name!r}: expected a path below the folder of audio"
        )


def _parquet(source: Path, foreign: Foreign) -> Iterator[Clip]:
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    tables = []
    for file in files:
        try:
            tables.append(_named(pq.read_table(file, partitioning=None), foreign, file))
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{file}: cannot be read as Parquet: {error}") from error
    if tables:
        table = pa.concat_tables(tables, promote_options="permissive")
        yield from _clips(table, _vectors(table["embedding"], source))


def _npy(source: Path, foreign: Foreign) -> Iterator[Clip]:
    if source.is_dir() and not (source / "vectors.npy").exists():
        yield from _npy_by_clip(source, foreign)
        return
    path = source / "vectors.npy" if source.is_dir() else source
    rows = foreign.rows or (source / "rows.csv" if source.is_dir() else None)
    if rows is None:
        raise UsageError(
            f"{source}: which clips are these? --rows names a CSV or Parquet with a row for each"
            " vector: path, start, end"
        )
    vectors = _load(path)
    read = pq.read_table if rows.suffix == ".parquet" else pc.read_csv
    try:
        table = _named(read(rows), foreign, rows, vectors=False)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{rows}: cannot be read: {error}") from error
    if len(table) != len(vectors):
        raise DatasetError(f"{rows}: {len(table)} rows; {path} has {len(vectors)} vectors")
    yield from _clips(table, vectors)


def _npy_by_clip(source: Path, foreign: Foreign) -> Iterator[Clip]:
    for path in sorted([*source.rglob("*.npy"), *source.rglob("*.npz")]):
        name = path.relative_to(source).with_suffix("").as_posix()
        vectors = _load(path)
        start = _timestamps(path, len(vectors), foreign.hop_s)
        length = foreign.window_s or foreign.hop_s
        if length is None:
            raise UsageError(f"{path}: does not tell how long its segments are: say --window")
        yield Clip(name, start, start + length, vectors)


def _load(path: Path) -> NDArray[np.float32]:
    """The vectors of a file; nothing in it can run code."""
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        vectors = found["embedding"] if path.suffix == ".npz" else found
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
            raise DatasetError(
                f"{path}: expected vectors [rows, D], found {vectors.dtype} of shape"
                f" {vectors.shape}"
            )
        return np.asarray(vectors, np.float32)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read as vectors: {error}") from error


def _timestamps(path: Path, count: int, hop_s: float | None) -> NDArray[np.float64]:
    """Where the segments of a clip's file begin: as it says, else every hop."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as found:
            if "timestamps" in found:
                return np.asarray(found["timestamps"], np.float64)
    if hop_s is None:
        raise UsageError(f"{path}: tells no times: say --hop, and --window if it is longer")
    return hop_s * np.arange(count, dtype=np.float64)


def _named(table: pa.Table, foreign: Foreign, path: Path, vectors: bool = True) -> pa.Table:
    """The columns by our names; the end by the window where there is none."""
    found = {}
    for ours, names in NAMES.items():
        there = [name for name in names if name in table.column_names]
        if there:
            found[ours] = table[there[0]]
    if "end_s" not in found and foreign.window_s is not None and "start_s" in found:
        found["end_s"] = pa.chunked_array(
            [np.asarray(found["start_s"], np.float64) + foreign.window_s]
        )
    missing = [name for name in NAMES if name not in found and (vectors or name != "embedding")]
    if missing:
        hint = "; --window gives the length of all" if missing == ["end_s"] else ""
        raise DatasetError(
            f"{path}: has no column {NAMES[missing[0]][0]} ({' or '.join(NAMES[missing[0]][1:])});"
            f" it has: {', '.join(table.column_names)}{hint}"
        )
    kinds = {"clip": pa.string(), "start_s": pa.float64(), "end_s": pa.float64()}
    return pa.table(
        {name: column.cast(kinds.get(name, column.type)) for name, column in found.items()}
    )


def _vectors(column: pa.ChunkedArray, source: Path) -> NDArray[np.float32]:
    try:
        values = np.stack(column.to_numpy()).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{source}: its vectors are not lists of one size: {error}") from error
    if values.ndim != 2:
        raise DatasetError(f"{source}: its vectors are not lists of numbers")
    return values


def _clips(table: pa.Table, vectors: NDArray[np.float32]) -> Iterator[Clip]:
    """The rows of each clip, by time."""
    clips = np.asarray(table["clip"].to_pylist(), object)
    if None in clips:
        raise DatasetError("a row names no clip")
    start, end = (np.asarray(table[name], np.float64) for name in ("start_s", "end_s"))
    order = np.lexsort((start, clips.astype(str)))
    bounds = np.flatnonzero(clips[order][1:] != clips[order][:-1]) + 1
    for rows in np.split(order, bounds):
        if len(rows):
            yield Clip(clips[rows[0]], start[rows], end[rows], vectors[rows])


FOREIGN: dict[str, Callable[[Path, Foreign], Iterator[Clip]]] = {"npy": _npy, "parquet": _parquet}
