"""The Parquet contract: the only thing between what makes vectors and what uses them."""

from embedkit.store.layout import (
    FILES_SCHEMA,
    IMPORTED,
    MANIFEST,
    FieldNote,
    FileRecord,
    Provenance,
    clip_path,
    read_manifest,
    rows_schema,
    start_folder,
)
from embedkit.store.locks import only_run
from embedkit.store.moved import move, with_times
from embedkit.store.notes import note
from embedkit.store.rewriting import forget, remove_leftovers
from embedkit.store.table import EmbeddingTable, Rows, read_journal
from embedkit.store.writer import EmbeddingWriter

__all__ = [
    "FILES_SCHEMA",
    "IMPORTED",
    "MANIFEST",
    "EmbeddingTable",
    "EmbeddingWriter",
    "FieldNote",
    "FileRecord",
    "Provenance",
    "Rows",
    "clip_path",
    "forget",
    "move",
    "note",
    "only_run",
    "read_journal",
    "read_manifest",
    "remove_leftovers",
    "rows_schema",
    "start_folder",
    "with_times",
]
