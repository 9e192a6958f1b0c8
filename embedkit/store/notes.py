"""Writes into the journal when and where files were recorded."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedkit.atomic import atomic_write
from embedkit.store.layout import FILES, NOTES_SCHEMA, FieldNote, list_parts
from embedkit.store.locks import require_locks, rewriting


def note(folder: Path, notes: Mapping[str, FieldNote]) -> None:
    """Note when and where files were recorded, in place of what was noted before.

    Rows of vectors and other files' entries in the journal stay as they are. Other processes may
    append to the folder at the same time. If the process is killed, some parts have the new notes
    and the others have the old ones.

    Args:
        folder: the embedding folder.
        notes: the notes by clip.

    Raises:
        EmbeddingFolderError: the file system does not lock.
    """
    require_locks(folder)
    for shard in sorted({part.shard for part in list_parts(folder)}):
        with rewriting(folder, shard):
            for part in list_parts(folder, shard):
                path = folder / FILES / part.name
                journal = pq.read_table(path)
                noted = _with_notes(journal, notes)
                if not noted.equals(journal):
                    with atomic_write(path) as file:
                        pq.write_table(noted, file, compression="zstd")


def _with_notes(journal: pa.Table, notes: Mapping[str, FieldNote]) -> pa.Table:
    there = [name for name in NOTES_SCHEMA.names if name in journal.schema.names]
    old = journal.select(there).to_pylist() if there else [{}] * len(journal)
    rows = [
        asdict(notes[clip]) if clip in notes else row
        for clip, row in zip(journal["clip"].to_pylist(), old, strict=True)
    ]
    columns = pa.Table.from_pylist(rows, NOTES_SCHEMA)
    journal = journal.drop_columns(there)
    for field, column in zip(NOTES_SCHEMA, columns.columns, strict=True):
        journal = journal.append_column(field, column)
    return journal
