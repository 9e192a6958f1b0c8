"""Reads an embedding folder, without torch."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.errors import EmbeddingFolderError
from embedkit.numbering import numbered, shared
from embedkit.store.layout import (
    FILES,
    FILES_SCHEMA,
    NOTED_SCHEMA,
    NOTES_SCHEMA,
    ROWS,
    FieldNote,
    FileRecord,
    Part,
    Provenance,
    list_parts,
    read_manifest,
    rows_schema,
)
from embedkit.store.reading import RewrittenError, check_schema, checked, reading, repair

JOINED = 256  # parts whose columns are joined at a time: a table for each takes 20 kB


@dataclass(frozen=True)
class Rows:
    """Some rows of an embedding folder, as arrays of one length n.

    Attributes:
        clips: names of their clips, object array of str [n].
        segments: numbers of their segments, int32 [n].
        start_s, end_s: their times in seconds, float64 [n].
        embeddings: their vectors, float32 [n, D].
    """

    clips: NDArray[np.object_]
    segments: NDArray[np.int32]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    embeddings: NDArray[np.float32]


class StoredPart(NamedTuple):
    """A part as it is stored: its file's name, number of rows, size in bytes and time of change."""

    name: str
    rows: int
    size: int
    mtime_ns: int


class EmbeddingTable:
    """Reads an embedding folder as it was when it was opened. Needs no torch.

    Runs may go on to append to the folder. If a run has rewritten a part since (`--refresh`,
    `--retry-errors`), reading that part raises RewrittenError: open the folder again.

    Examples:
        >>> table = embedkit.EmbeddingTable.open("embeddings")
        >>> clips, vectors = table.clip_vectors()  # one vector a clip
        >>> clips, vectors.shape
        (['crow.wav', 'rooster.wav'], (2, 256))

    Attributes:
        folder: the embedding folder.
        provenance: what its vectors depend on.
    """

    def __init__(self, folder: Path, provenance: Provenance, parts: list[str]) -> None:
        self.folder = folder
        self.provenance = provenance
        self._parts = parts

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder; its parts are read when they are needed.

        Raises:
            EmbeddingFolderError: it is no embedding folder, a part does not fit the manifest, or a
                journal has another number of rows than its rows part.
        """
        folder = Path(folder)
        table = cls(folder, read_manifest(folder), [])
        checked: set[Part] = set()
        while True:
            parts = list_parts(folder)
            try:
                for part in parts:
                    if part not in checked:
                        table._check(part.name)
                        checked.add(part)
            except RewrittenError as error:
                if list_parts(folder) == parts:
                    raise EmbeddingFolderError(
                        f"{folder}: has files/{part.name}, and no rows/{part.name};"
                        f" {repair(part.name)}"
                    ) from error
            else:
                table._parts = [part.name for part in parts]
                return table

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        return self.provenance.embedding_size

    def __len__(self) -> int:
        """The number of rows."""
        total = 0
        for name in self._parts:
            with reading(self.folder / ROWS / name) as part:
                total += part.metadata.num_rows
        return total

    @cached_property
    def journal(self) -> list[FileRecord]:
        """One record per finished input file, sorted by clip."""
        return [FileRecord(**row) for row in self.journal_table().sort_by("clip").to_pylist()]

    def journal_table(self) -> pa.Table:
        """The journal as Arrow columns, in the order of the parts; it takes a tenth of the memory.

        Raises:
            EmbeddingFolderError: a clip is in it twice.
        """
        import pyarrow.compute as pc

        journal = self._read(FILES, self._parts, FILES_SCHEMA)
        counts = pc.value_counts(journal["clip"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        if len(twice):
            raise EmbeddingFolderError(f"{self.folder}: {twice[0]} is in the journal twice")
        return journal

    @cached_property
    def notes(self) -> dict[str, FieldNote]:
        """When and where each file was recorded, by clip, as far as `describe` has noted it."""
        table = self.notes_table()
        if all(table[name].null_count == len(table) for name in NOTES_SCHEMA.names):
            return dict.fromkeys(table["clip"].to_pylist(), FieldNote())  # one: they are many
        return {row.pop("clip"): FieldNote(**row) for row in table.to_pylist()}

    def notes_table(self) -> pa.Table:
        """The notes as Arrow columns, after `clip`, in the order of the parts."""
        schema = pa.schema([FILES_SCHEMA.field("clip"), *NOTES_SCHEMA])
        return self._read(FILES, self._parts, schema)

    def _read(self, folder: str, parts: Sequence[str], schema: pa.Schema) -> pa.Table:
        """Some columns of some parts; empty in those that do not have them."""
        found = [schema.empty_table()]
        for start in range(0, len(parts), JOINED):
            some = []
            for name in parts[start : start + JOINED]:
                with reading(self.folder / folder / name) as part:
                    there = [name for name in schema.names if name in part.schema_arrow.names]
                    some.append(checked(part.read(there)).replace_schema_metadata())
            found.append(pa.concat_tables(some, promote_options="default").combine_chunks())
        return pa.concat_tables(found, promote_options="default").combine_chunks()

    @property
    def parts(self) -> list[StoredPart]:
        """The parts that hold the rows."""
        found = []
        for name in self._parts:
            path = self.folder / ROWS / name
            with reading(path) as part:
                rows, status = part.metadata.num_rows, path.stat()
            found.append(StoredPart(name, rows, status.st_size, status.st_mtime_ns))
        return found

    def spans(self, parts: Sequence[str]) -> Rows:
        """The rows of some parts, in that order, without vectors: embeddings are float32 [n, 0]."""
        schema = pa.schema(list(rows_schema(self.embedding_size))[:-1])
        table = self._read(ROWS, parts, schema)
        return Rows(
            clips=shared(table["clip"]),
            segments=table["segment"].to_numpy(),
            start_s=table["start_s"].to_numpy(),
            end_s=table["end_s"].to_numpy(),
            embeddings=np.zeros((len(table), 0), np.float32),
        )

    def clip_rows(self, clip: str) -> Rows:
        """The rows of one clip, by segment; none if there is no such clip."""
        import pyarrow.compute as pc

        found = []
        for name in self._parts:
            with reading(self.folder / ROWS / name) as part:
                for group in range(part.num_row_groups):
                    about = part.metadata.row_group(group).column(0).statistics
                    unknown = about is None or not about.has_min_max
                    if unknown or about.min <= clip <= about.max:
                        table = checked(part.read_row_group(group))
                        found.append(table.filter(pc.equal(table["clip"], clip)))
        if not found:
            found = [rows_schema(self.embedding_size).empty_table()]
        table = pa.concat_tables(table.replace_schema_metadata() for table in found)
        return self._rows(table.combine_chunks().sort_by("segment").combine_chunks())

    def has_clip(self, clip: str) -> bool:
        """Whether a clip of that name has rows."""
        import pyarrow.compute as pc

        try:
            wanted = pa.scalar(clip, pa.string())
        except (UnicodeEncodeError, pa.ArrowException):  # the name of a file that is not UTF-8
            return False
        return bool(pc.any(pc.equal(self._clips, wanted)).as_py())

    def clip_names(self) -> list[str]:
        """Names of the clips that have rows."""
        found: list[str] = self._clips.to_pylist()
        return found

    @cached_property
    def _clips(self) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        journal = self.journal_table()
        return journal.filter(pc.greater(journal["rows"], 0))["clip"]

    def clip_vector(
        self, clip: str, start_s: float = 0.0, end_s: float = np.inf
    ) -> NDArray[np.float32]:
        """The vector of a clip, or of a span of it.

        Each segment counts by its seconds within the span.

        Args:
            clip: name of the clip.
            start_s: beginning of the span in seconds.
            end_s: end of the span in seconds; by default the clip's end.

        Returns:
            float32 [D].

        Raises:
            EmbeddingFolderError: there is no such clip, or no segment of it in the span.
        """
        rows = self.clip_rows(clip)
        inside = (rows.start_s < end_s) & (rows.end_s > start_s)
        if not inside.any():
            raise EmbeddingFolderError(
                f"{self.folder}: {clip} has no segment from {start_s:g} to {end_s:g} s"
            )
        seconds = (rows.end_s.clip(max=end_s) - rows.start_s.clip(min=start_s))[inside]
        return scoring.clip_mean(rows.embeddings[inside], seconds).astype(np.float32)

    def batches(self, parts: Sequence[str] | None = None) -> Iterator[Rows]:
        """All rows, or those of some parts, a row group at a time, in the order of the parts."""
        for name in self._parts if parts is None else parts:
            with reading(self.folder / ROWS / name) as part:
                for group in range(part.num_row_groups):
                    yield self._rows(checked(part.read_row_group(group)).combine_chunks())

    def rows(self) -> Rows:
        """All rows, sorted by clip and segment: the same however they were written."""
        spans = self.spans(self._parts)
        order = np.lexsort((spans.segments, numbered(spans.clips)[1]))
        place = np.argsort(order)
        embeddings = np.empty((len(order), self.embedding_size), np.float32)
        done = 0
        for batch in self.batches():  # to their places at once: they may fill half of the memory
            embeddings[place[done : done + len(batch.clips)]] = batch.embeddings
            done += len(batch.clips)
        return Rows(
            clips=spans.clips[order],
            segments=spans.segments[order],
            start_s=spans.start_s[order],
            end_s=spans.end_s[order],
            embeddings=embeddings,
        )

    def clip_vectors(
        self, only: Collection[str] | None = None
    ) -> tuple[list[str], NDArray[np.float32]]:
        """One vector per clip, as `embedkit.scoring` defines it.

        Args:
            only: names of the clips to read; by default all.

        Returns:
            names of the clips that have rows, sorted, and their vectors float32 [clips, D].
        """
        names: list[str] = []
        vectors = [np.zeros((0, self.embedding_size), np.float32)]
        for some, means in self.clip_batches():
            kept = [index for index, name in enumerate(some) if only is None or name in only]
            names += [some[index] for index in kept]
            vectors.append(means[kept])
        order = np.argsort(np.array(names, object), kind="stable")
        return [names[index] for index in order], np.concatenate(vectors)[order]

    def clip_batches(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """The clips that have rows and their vectors, some at a time, in the order of the parts."""
        journal = self.journal_table()
        left = dict(zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True))
        unfinished: dict[str, NDArray[np.float64]] = {}  # sums of clips that have rows to come
        for batch in self.batches():
            names, owner, counts = np.unique(batch.clips, return_inverse=True, return_counts=True)
            seconds = batch.end_s - batch.start_s
            totals = scoring.no_sums(len(names), self.embedding_size)
            scoring.add(totals, batch.embeddings, seconds, owner)
            done = []
            for number, (name, count) in enumerate(zip(names, counts.tolist(), strict=True)):
                if name not in left:
                    raise EmbeddingFolderError(
                        f"{self.folder}: clip {name!r} has rows that the journal does not know"
                    )
                if name in unfinished:
                    totals[number] += unfinished.pop(name)
                left[name] -= count
                if left[name]:
                    unfinished[name] = totals[number].copy()
                else:
                    done.append(number)
            vectors = scoring.means(totals[done]).astype(np.float32)
            yield [str(names[number]) for number in done], vectors
        if unfinished:
            raise EmbeddingFolderError(
                f"{self.folder}: clip {min(unfinished)!r} has fewer rows than the journal says"
            )

    def _rows(self, table: pa.Table) -> Rows:
        vectors = table["embedding"].combine_chunks()
        return Rows(
            clips=shared(table["clip"]),
            segments=table["segment"].to_numpy(),
            start_s=table["start_s"].to_numpy(),
            end_s=table["end_s"].to_numpy(),
            # The zero-copy way out of a fixed-size list.
            embeddings=vectors.flatten().to_numpy().reshape(-1, self.embedding_size),
        )

    def _check(self, name: str) -> None:
        """Compare a part with the manifest, and its journal with its rows.

        Its name may become another part's between two looks, so that a difference must last.
        """
        said, stored = self._count_rows(name)
        if said != stored:
            said, stored = self._count_rows(name)
        if said != stored:
            raise EmbeddingFolderError(
                f"{self.folder}: the journal files/{name} has {said:,} rows, rows/{name} has"
                f" {stored:,}; {repair(name)}"
            )

    def _count_rows(self, name: str) -> tuple[int, int]:
        """The number of rows that a part's journal states, and the number that there are."""
        import pyarrow.compute as pc

        own, path = self.provenance.fingerprint, self.folder / ROWS / name
        with reading(path) as part:
            check_schema(part, path, rows_schema(self.embedding_size), own)
            stored = part.metadata.num_rows
        path = self.folder / FILES / name
        with reading(path) as part:
            noted = "recorded_at" in part.schema_arrow.names
            check_schema(part, path, NOTED_SCHEMA if noted else FILES_SCHEMA, own)
            said = pc.sum(part.read(["rows"])["rows"]).as_py() or 0
        return said, stored


def read_journal(folder: Path) -> pa.Table:
    """A folder's journal, as `EmbeddingTable.journal_table` gives it, even while others rewrite it.

    Raises:
        EmbeddingFolderError: as for `EmbeddingTable.open`.
    """
    while True:
        with suppress(RewrittenError):
            return EmbeddingTable.open(folder).journal_table()
