"""Appends to an embedding folder."""

import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedkit.atomic import publish, unpublished
from embedkit.store.layout import (
    FILES,
    FILES_SCHEMA,
    ROWS,
    FileRecord,
    Part,
    Provenance,
    list_parts,
    rows_schema,
    start_folder,
    with_provenance,
)
from embedkit.store.locks import lock_to_append
from embedkit.store.rewriting import remove_shard_leftovers

# When a part closes, at the end of a clip.
PART_SECONDS = 60.0
PART_BYTES = 64 * 2**20
PART_FILES = 10_000
ROW_GROUP_BYTES = 4 * 2**20


class EmbeddingWriter:
    """Appends clips to an embedding folder as one shard of it.

    Rows of a clip are added, then the clip is finished; a part closes at a clip's end. If the
    process dies, what was not closed is gone without a trace, and its clips are not in the journal.
    """

    def __init__(self, folder: Path, provenance: Provenance, shard: int = 0) -> None:
        """Open the folder for appending, and remove what a killed run of this shard left.

        Args:
            folder: the embedding folder.
            provenance: the settings of the run.
            shard: number of the shard.

        Raises:
            EmbeddingFolderError: the folder was made with other settings, another process writes
                the shard, or the file system does not lock.
        """
        self.folder = folder
        self.shard = shard
        self._schema = with_provenance(rows_schema(provenance.embedding_size), provenance)
        self._files_schema = with_provenance(FILES_SCHEMA, provenance)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_to_append(folder, shard)
        try:
            start_folder(folder, provenance)
            for name in (ROWS, FILES):
                (folder / name).mkdir(exist_ok=True)
            remove_shard_leftovers(folder, shard)
        except BaseException:
            self._lock.release()
            raise
        numbers = [part.number for part in list_parts(folder, shard)]
        self._number = max(numbers, default=-1) + 1
        self._writer: pq.ParquetWriter | None = None
        self._hidden = ExitStack()  # the open part's rows, until it closes
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
                self.close_part()
            elif self._writer is not None:
                self._writer.close()
            self._hidden.close()
            remove_shard_leftovers(self.folder, self.shard)
        finally:
            self._hidden.close()
            self._lock.release()

    def add_rows(
        self,
        clip: str,
        segments: NDArray[np.int32],
        start_s: NDArray[np.float64],
        end_s: NDArray[np.float64],
        embeddings: NDArray[np.float32],
    ) -> None:
        """Add segments of a clip and their vectors.

        Args:
            clip: name of the clip.
            segments: numbers of the segments [n].
            start_s: their beginnings in seconds [n].
            end_s: their ends in seconds [n].
            embeddings: their vectors float32 [n, D].
        """
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

    def finish_file(self, record: FileRecord) -> list[FileRecord]:
        """Journal a file whose rows, if any, have all been added.

        Returns:
            the records that this call has brought safely to the disk: usually none, and all of a
                part when it closes.
        """
        self._journal.append(record)
        if (
            self._bytes >= PART_BYTES
            or len(self._journal) >= PART_FILES
            or time.monotonic() - self._opened >= PART_SECONDS
        ):
            return self.close_part()
        return []

    def _open_part(self) -> None:
        self._clips: list[str] = []
        self._journal: list[FileRecord] = []
        self._bytes = 0
        self._opened = time.monotonic()
        self._writer = None

    def _flush(self) -> None:
        if self._writer is None:
            self._rows = self._hidden.enter_context(unpublished(self._path(ROWS)))
            self._writer = pq.ParquetWriter(
                self._rows,
                self._schema,
                compression="zstd",
                use_dictionary=["clip"],  # of numbers that never repeat it would be as large
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

    def close_part(self) -> list[FileRecord]:
        """Bring the finished files to the disk, and begin another part.

        Returns:
            the records of the part.
        """
        records = self._journal
        if records:
            self._write_part(records)
            self._open_part()
        return records

    def _write_part(self, records: list[FileRecord]) -> None:
        self._flush()
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        journal = pa.Table.from_pylist([asdict(record) for record in records], self._files_schema)
        with unpublished(self._path(FILES)) as files:
            pq.write_table(journal, files, compression="zstd")
            for path in (self._rows, files):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            publish(self._rows, self._path(ROWS))
            publish(files, self._path(FILES))  # the journal last: it makes the part count
        self._hidden.close()
        self._number += 1

    def _path(self, name: str) -> Path:
        return self.folder / name / Part(self.shard, self._number).name
