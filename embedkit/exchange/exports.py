"""Writes an embedding folder in the formats of other tools, one row group at a time."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from embedkit.atomic import atomic_write, publish, unpublished
from embedkit.classifiers.tracks import Span, TrackFormat, write_tracks
from embedkit.errors import UsageError, choices, require
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.store import EmbeddingTable
from embedkit.store.layout import ROWS, rows_schema
from embedkit.store.table import Rows

PLACES = ("clip", "segment", "start_s", "end_s")  # the columns beside the vector
VECTORS, TABLE = "vectors.npy", "rows.csv"


def export(table: EmbeddingTable, form: str, out: Path) -> None:
    """Write all rows, in the order of the folder's parts.

    Args:
        table: the embedding folder.
        form: one of EXPORTS.
        out: a file, or a folder for the formats of several files.

    Raises:
        UsageError: there is no such format, its library is not installed, or `out` is there
            already.
    """
    if form not in EXPORTS:
        raise UsageError(f"no format {form!r}{choices(form, EXPORTS)}")
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already; name another place")
    EXPORTS[form](table, out)


def _npy(table: EmbeddingTable, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    _write_vectors(table, out / VECTORS)
    with atomic_write(out / TABLE) as file:
        writer: pc.CSVWriter | None = None
        for rows in table.batches():
            part = _places(rows)
            writer = writer or pc.CSVWriter(file, part.schema)
            writer.write_table(part)
        if writer is not None:
            writer.close()


def _npz(table: EmbeddingTable, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".embedkit-") as scratch:
        vectors = _write_vectors(table, Path(scratch) / VECTORS)
        places = [_places(rows) for rows in table.batches()] or [_places(table.rows())]
        columns = pa.concat_tables(places).to_pydict()
        with atomic_write(out) as file:
            np.savez(
                file,
                clip=np.array(columns["clip"], np.str_),
                segment=np.array(columns["segment"], np.int32),
                start_s=np.array(columns["start_s"], np.float64),
                end_s=np.array(columns["end_s"], np.float64),
                embedding=vectors,
            )


def _csv(table: EmbeddingTable, out: Path) -> None:
    names = [f"e{number}" for number in range(table.embedding_size)]
    fields = [pa.field(name, pa.float32()) for name in names]
    schema = pa.schema([*list(rows_schema(1))[:-1], *fields])
    with atomic_write(out) as file, pc.CSVWriter(file, schema) as writer:
        for rows in table.batches():
            columns = [*_places(rows).columns, *rows.embeddings.T]
            writer.write_table(pa.table(list(map(_column, columns)), schema=schema))


def _lance(table: EmbeddingTable, out: Path) -> None:
    lance = require("lance", "lance")
    schema = rows_schema(table.embedding_size)
    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, _record_batches(table)), out)


def _hf(table: EmbeddingTable, out: Path) -> None:
    datasets = require("datasets", "hf")
    with scratch_folder() as scratch:
        parts = [str(table.folder / ROWS / part.name) for part in table.parts]
        with into_scratch():
            found = datasets.Dataset.from_parquet(parts, cache_dir=str(scratch))
        found.save_to_disk(out)


def _tensorboard(table: EmbeddingTable, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "vectors.tsv") as file:
        for rows in table.batches():
            np.savetxt(file, rows.embeddings, fmt="%.6g", delimiter="\t")
    with atomic_write(out / "metadata.tsv") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(PLACES)
        for rows in table.batches():
            for clip, *rest in zip(*_places(rows).to_pydict().values(), strict=True):
                writer.writerow([" ".join(clip.split()), *rest])  # a field is one line there
        text.detach()
    with atomic_write(out / "projector_config.pbtxt") as file:
        file.write(
            b'embeddings {\n  tensor_name: "embedkit"\n  tensor_path: "vectors.tsv"\n'
            b'  metadata_path: "metadata.tsv"\n}\n'
        )


def _tracks(form: TrackFormat) -> Callable[[EmbeddingTable, Path], None]:
    def write(table: EmbeddingTable, out: Path) -> None:
        for part in table.parts:  # a clip's rows stand in one
            places = _places(table.spans([part.name])).to_pydict()
            spans = [
                Span(clip, start, end, f"segment {number}", 1.0)
                for clip, number, start, end in zip(*places.values(), strict=True)
            ]
            write_tracks(out, form, spans, table.provenance.sample_rate)

    return write


EXPORTS: dict[str, Callable[[EmbeddingTable, Path], None]] = {
    "npy": _npy,
    "npz": _npz,
    "csv": _csv,
    "lance": _lance,
    "hf": _hf,
    "tensorboard": _tensorboard,
    "audacity": _tracks(TrackFormat.AUDACITY),
    "raven": _tracks(TrackFormat.RAVEN),
}


def _write_vectors(table: EmbeddingTable, path: Path) -> NDArray[np.float32]:
    """Write all vectors as one .npy file; gives it mapped into memory."""
    shape = (len(table), table.embedding_size)
    if not shape[0]:
        np.save(path, np.zeros(shape, np.float32))
        return np.zeros(shape, np.float32)
    with unpublished(path) as temporary:
        vectors = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        done = 0
        for rows in table.batches():
            vectors[done : done + len(rows.clips)] = rows.embeddings
            done += len(rows.clips)
        vectors.flush()
        publish(temporary, path)
    return vectors


def _places(rows: Rows) -> pa.Table:
    columns = (rows.clips, rows.segments, rows.start_s, rows.end_s)
    schema = pa.schema(list(rows_schema(1))[:-1])
    return pa.table([_column(column) for column in columns], schema=schema)


def _column(values: object) -> pa.Array | pa.ChunkedArray:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)


def _record_batches(table: EmbeddingTable) -> Iterator[pa.RecordBatch]:
    schema = rows_schema(table.embedding_size)
    for rows in table.batches():
        vectors = pa.FixedSizeListArray.from_arrays(
            rows.embeddings.reshape(-1), type=schema.field("embedding").type
        )
        columns = [*(column.combine_chunks() for column in _places(rows).columns), vectors]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
