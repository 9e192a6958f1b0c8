"""Imports vectors of any other extractor into an embedding folder."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedkit.audio.formats import AUDIO_SUFFIXES
from embedkit.datasets.columns import END, PATH, START, VECTOR, find, require
from embedkit.datasets.names import Folder
from embedkit.datasets.table import read_table
from embedkit.errors import DatasetError, EmbedkitError, UsageError, choices
from embedkit.exchange.apart import written_apart
from embedkit.exchange.hoplite import read_windows
from embedkit.numbering import numbered
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.store import IMPORTED, EmbeddingWriter, FileRecord, Provenance, clip_path

BATCH = 8192  # rows read at once


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What is known about vectors that another extractor made.

    Attributes:
        name: name of the extractor: OpenL3, BirdNET.
        window_s: length of a segment in seconds, where the vectors do not say where theirs ends.
        hop_s: seconds from one segment to the next, where they do not say where theirs begin.
        rows: for a single .npy file: a CSV or Parquet file with a row for each vector.
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
        source: for `hoplite`, perch-hoplite's folder. For `parquet`, a file or a folder of files
            with the columns clip (or path), start_s, end_s and embedding (or vector). For `npy`,
            one file [rows, D] with `foreign.rows`; or a folder as `convert --to npy` writes it; or
            a folder with a .npy or .npz file [segments, D] for each clip, where .npz may hold
            `embedding` and `timestamps` as OpenL3 writes them.
        form: one of FOREIGN.
        foreign: what is known about them.
        out: a new folder.

    Returns:
        the number of clips, and of rows.

    Raises:
        DatasetError: the source cannot be read, its vectors are not of one size or not finite,
            their places are not known, or a clip is there twice.
        EmbeddingFolderError: the name of a clip leads out of its folder.
        UsageError: there is no such format, or the folder is there already.
    """
    if form not in FOREIGN:
        raise UsageError(f"no format {form!r}{choices(form, FOREIGN)}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is there already; name another place")
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    clips = FOREIGN[form](source, foreign)
    first = next(clips, None)
    if first is None:
        raise DatasetError(f"{source}: no vectors in it")
    size = first.vectors.shape[1]
    _check(first, size, source)
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
        runtime=IMPORTED,
    )
    with written_apart(out) as folder:
        return _write(folder, provenance, chain([first], clips), foreign.audio, source)


def _write(
    out: Path, provenance: Provenance, clips: Iterable[Clip], audio: Path | None, source: Path
) -> tuple[int, int]:
    names: set[str] = set()
    rows = 0
    sounds = None if audio is None else Folder(audio.absolute())
    with EmbeddingWriter(out, provenance) as writer:
        for clip in clips:
            name = clip.name if sounds is None else _name_below(sounds, clip.name)
            clip_path(audio or source, name)  # refuses a name that leads elsewhere
            if name in names:
                raise DatasetError(f"{source}: clip {name} is there twice")
            _check(clip, provenance.embedding_size, source)
            segments = np.arange(len(clip.vectors), dtype=np.int32)
            writer.add_rows(name, segments, clip.start_s, clip.end_s, clip.vectors)
            writer.finish_file(_record(name, clip, audio))
            names.add(name)
            rows += len(clip.vectors)
    return len(names), rows


def _name_below(sounds: Folder, name: str) -> str:
    """The name of a clip's file below the folder of audio, as embedkit itself would call it.

    Other tools write whole paths, or name a file of vectors after the sound without its suffix.
    """
    audio, path = sounds.root, sounds.file(name)
    if path.is_relative_to(audio):
        name = path.relative_to(audio).as_posix()
    endings = [ending for suffix in AUDIO_SUFFIXES for ending in (suffix, suffix.upper())]
    there = [name + ending for ending in endings if (audio / (name + ending)).is_file()]
    return there[0] if len(there) == 1 and not path.is_file() else name


def _record(name: str, clip: Clip, audio: Path | None) -> FileRecord:
    path = clip_path(audio, name) if audio else None
    status = path.stat() if path is not None and path.is_file() else None
    return FileRecord(
        clip=name,
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


def _parquet(source: Path, foreign: Foreign) -> Iterator[Clip]:
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    tables: list[pa.Table] = []
    sizes: set[int] = set()
    # Rows come in any order and may be more than memory holds: vectors wait on the disk.
    with scratch_folder() as folder, (folder / "vectors").open("w+b") as scratch:
        for file in files:
            try:
                with pq.ParquetFile(file) as parquet:
                    names = parquet.schema_arrow.names
                    vector = require(VECTOR, names, file)
                    columns = _columns(names, foreign, file)
                    rest = parquet.read([*columns.values()])
                    places = {ours: rest[theirs] for ours, theirs in columns.items()}
                    tables.append(_places(places, foreign))
                    for batch in parquet.iter_batches(BATCH, columns=[vector]):
                        values = _vectors(batch.column(0), file)
                        sizes.add(values.shape[1])
                        with into_scratch():
                            values.tofile(scratch)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise DatasetError(f"{file}: cannot be read as Parquet: {error}") from error
        if len(sizes) > 1:
            found = " and ".join(map(str, sorted(sizes)))
            raise DatasetError(f"{source}: has vectors of {found} numbers")
        if sizes:
            scratch.flush()
            vectors = np.memmap(scratch, np.float32, "r").reshape(-1, sizes.pop())
            yield from _clips(pa.concat_tables(tables), vectors)


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
    listed = read_table(rows)
    if len(listed.rows) != len(vectors):
        raise DatasetError(f"{rows}: {len(listed.rows)} rows; {path} has {len(vectors)} vectors")
    columns = _columns(listed.headings, foreign, rows)
    found = {
        ours: pa.array(listed.texts(theirs) if ours == PATH else listed.numbers(theirs))
        for ours, theirs in columns.items()
    }
    yield from _clips(_places(found, foreign), vectors)


def _npy_by_clip(source: Path, foreign: Foreign) -> Iterator[Clip]:
    for path in sorted([*source.rglob("*.npy"), *source.rglob("*.npz")]):
        name = path.relative_to(source).with_suffix("").as_posix()
        vectors = _load(path)
        start = _timestamps(path, len(vectors), foreign.hop_s)
        if len(start) != len(vectors):
            raise DatasetError(f"{path}: {len(start)} timestamps of {len(vectors)} vectors")
        length = foreign.window_s or foreign.hop_s
        if length is None:
            raise UsageError(f"{path}: does not tell how long its segments are: say --window")
        yield Clip(name, start, start + length, vectors)


def _load(path: Path) -> NDArray[np.float32]:
    """The vectors of a file; nothing in it can run code."""
    with _reading(path):
        if path.suffix == ".npz":
            vectors = _archived(path)["embedding"]
        else:
            vectors = np.load(path, allow_pickle=False, mmap_mode="r")
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
            raise DatasetError(
                f"{path}: expected vectors [rows, D], found {vectors.dtype} of shape"
                f" {vectors.shape}"
            )
        return np.asarray(vectors, np.float32)


def _timestamps(path: Path, count: int, hop_s: float | None) -> NDArray[np.float64]:
    """The beginnings of the segments of a clip's file: as it says, else every hop."""
    if path.suffix == ".npz":
        with _reading(path):
            found = _archived(path)
            if "timestamps" in found:
                return np.asarray(found["timestamps"], np.float64)
    if hop_s is None:
        raise UsageError(f"{path}: tells no times: say --hop, and --window if it is longer")
    return hop_s * np.arange(count, dtype=np.float64)


def _archived(path: Path) -> dict[str, NDArray[Any]]:
    """What is wanted of an .npz; NumPy would leave a damaged one open."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in ("embedding", "timestamps") if name in found}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except EmbedkitError:
        raise
    except Exception as error:  # NumPy's, zipfile's, zlib's and tokenize's have no other class
        raise DatasetError(f"{path}: cannot be read as vectors: {error}") from error


def _columns(headings: Sequence[str], foreign: Foreign, path: Path) -> dict[str, str]:
    """The headings of clip, start and end; of end only if the window is not known."""
    columns = {meaning: require(meaning, headings, path) for meaning in (PATH, START)}
    if foreign.window_s is None or find(END, headings, path) is not None:
        columns[END] = require(END, headings, path, "; --window gives the length of all")
    return columns


def _places(columns: Mapping[str, pa.ChunkedArray], foreign: Foreign) -> pa.Table:
    """Clip, start and end of each row; the window gives the end where there is none."""
    start = columns[START].cast(pa.float64())
    end = columns[END].cast(pa.float64()) if END in columns else pc.add(start, foreign.window_s)
    table = pa.table({"clip": columns[PATH].cast(pa.string()), "start_s": start, "end_s": end})
    table.validate(full=True)  # names may be no UTF-8
    return table


def _vectors(column: pa.Array, source: Path) -> NDArray[np.float32]:
    try:
        values = np.stack(column.to_numpy(zero_copy_only=False)).astype(np.float32)
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
    order = np.lexsort((start, numbered(clips)[1]))
    bounds = np.flatnonzero(clips[order][1:] != clips[order][:-1]) + 1
    for rows in np.split(order, bounds):
        if len(rows):
            yield Clip(clips[rows[0]], start[rows], end[rows], vectors[rows])


def _hoplite(source: Path, foreign: Foreign) -> Iterator[Clip]:
    for name, start_s, end_s, vectors in read_windows(source):
        yield Clip(name, start_s, end_s, vectors)


FOREIGN: dict[str, Callable[[Path, Foreign], Iterator[Clip]]] = {
    "hoplite": _hoplite,
    "npy": _npy,
    "parquet": _parquet,
}
