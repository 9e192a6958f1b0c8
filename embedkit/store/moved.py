"""Moves of a collection: the same embedding folder, with another audio root."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from embedkit.atomic import atomic_write
from embedkit.store.layout import FILES, MANIFEST, Provenance, list_parts, read_manifest
from embedkit.store.locks import only_run, rewriting
from embedkit.store.table import read_journal

# What a journal has of the files' times that have changed with the move: mtime_ns, by clip.
Times = Mapping[str, int]


def move(folder: Path, provenance: Provenance, compare: Callable[[pa.Table], Times]) -> None:
    """Note that a collection has moved. Nothing happens if its place is known already.

    The manifest is written last. If the process is killed at any moment, the folder is as it was,
    except for times of files that nobody looks for there any more.

    Args:
        folder: the embedding folder.
        provenance: that of a run on the collection where it is now.
        compare: is given the journal, raises if the collection is another one, and returns the new
            times of files whose times have changed.

    Raises:
        EmbeddingFolderError: the folder was made with other settings, or another run writes to it.
    """
    with FileLock(folder / ".manifest-lock"):  # shares of one run may begin at once
        known = read_manifest(folder)
        known.check_same(replace(provenance, audio_root=known.audio_root), folder)
        if known.audio_root == provenance.audio_root:
            return
        with only_run(folder):
            _note_times(folder, compare(read_journal(folder)))
            content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            content["audio_root"] = provenance.audio_root
            with atomic_write(folder / MANIFEST) as file:
                file.write(json.dumps(content, indent=2, ensure_ascii=False).encode())


def with_times(journal: pa.Table, times: Times) -> pa.Table:
    """A journal, or a part of one, with new times of files.

    Args:
        journal: the rows.
        times: new mtime_ns by clip.

    Returns:
        the rows with the new times.
    """
    clips, column = journal["clip"].to_pylist(), journal["mtime_ns"].to_pylist()
    new = [times.get(clip, old) for clip, old in zip(clips, column, strict=True)]
    index = journal.schema.get_field_index("mtime_ns")
    return journal.set_column(index, journal.schema.field(index), pa.array(new, pa.int64()))


def _note_times(folder: Path, times: Times) -> None:
    for shard in sorted({part.shard for part in list_parts(folder)}) if times else ():
        with rewriting(folder, shard):
            for part in list_parts(folder, shard):
                path = folder / FILES / part.name
                journal = pq.read_table(path)
                if not times.keys().isdisjoint(journal["clip"].to_pylist()):
                    with atomic_write(path) as file:
                        pq.write_table(with_times(journal, times), file, compression="zstd")
