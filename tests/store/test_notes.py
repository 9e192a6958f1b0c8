"""When and where files were recorded, in the journal: written, read, and kept."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made import draw, write_table_of

from embedkit.errors import EmbeddingFolderError
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FieldNote,
    FileRecord,
    Provenance,
    forget,
    move,
    note,
)

NOTED = FieldNote(
    recorded_at=datetime(2023, 3, 26, 0, 30, 0, 250_000, UTC),
    timezone="Europe/Berlin",
    site="Grünau",
    latitude=52.4,
    longitude=13.6,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_table_of(tmp_path / "emb", {"a.wav": draw(3), "b.wav": draw(2)}).folder


def append(folder: Path, clip: str, shard: int = 0) -> None:
    provenance = EmbeddingTable.open(folder).provenance
    with EmbeddingWriter(folder, provenance, shard) as writer:
        index = np.arange(2, dtype=np.int32)
        writer.add_rows(clip, index, 1.0 * index, index + 1.0, draw(2))
        writer.finish_file(
            FileRecord(clip=clip, size=1, mtime_ns=1, duration_s=2, rows=2, kind="", message="")
        )


def test_a_folder_that_nobody_has_described_has_empty_notes(folder: Path) -> None:
    table = EmbeddingTable.open(folder)
    assert table.notes == {"a.wav": FieldNote(), "b.wav": FieldNote()}


def test_notes_are_read_as_they_were_written_and_the_rest_stays(folder: Path) -> None:
    before = EmbeddingTable.open(folder)
    journal, rows = before.journal_table(), before.rows()
    note(folder, {"a.wav": NOTED})
    after = EmbeddingTable.open(folder)
    assert after.notes == {"a.wav": NOTED, "b.wav": FieldNote()}
    assert after.journal_table().equals(journal)
    assert after.journal == before.journal
    np.testing.assert_array_equal(after.rows().embeddings, rows.embeddings)
    note(folder, {"b.wav": NOTED})
    assert EmbeddingTable.open(folder).notes == {"a.wav": NOTED, "b.wav": NOTED}


def test_the_same_notes_write_nothing(folder: Path) -> None:
    note(folder, {"a.wav": NOTED})
    [part] = (folder / "files").glob("*.parquet")
    before = part.stat()
    note(folder, {"a.wav": NOTED})
    assert part.stat().st_ino == before.st_ino  # a written file would be another one


def test_what_is_appended_afterwards_has_none_until_it_is_described(folder: Path) -> None:
    note(folder, {"a.wav": NOTED})
    append(folder, "c.wav")
    append(folder, "d.wav", shard=7)
    table = EmbeddingTable.open(folder)
    assert table.notes == {
        "a.wav": NOTED, **dict.fromkeys(["b.wav", "c.wav", "d.wav"], FieldNote())
    }  # fmt: skip
    assert [record.clip for record in table.journal] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    note(folder, {"d.wav": NOTED})
    assert EmbeddingTable.open(folder).notes["d.wav"] == NOTED
    assert EmbeddingTable.open(folder).notes["a.wav"] == NOTED


def test_rewriting_and_moving_keep_the_notes(folder: Path, tmp_path: Path) -> None:
    note(folder, {"a.wav": NOTED, "b.wav": NOTED})
    forget(folder, ["b.wav"])
    assert EmbeddingTable.open(folder).notes == {"a.wav": NOTED}
    known = EmbeddingTable.open(folder).provenance
    moved = Provenance(**{**vars(known), "audio_root": str(tmp_path)})
    move(folder, moved, lambda journal: {"a.wav": 7})
    table = EmbeddingTable.open(folder)
    assert (table.notes, table.journal[0].mtime_ns) == ({"a.wav": NOTED}, 7)


def test_columns_of_another_type_are_refused(folder: Path) -> None:
    note(folder, {"a.wav": NOTED})
    [part] = (folder / "files").glob("*.parquet")
    journal = pq.read_table(part)
    where = journal.schema.get_field_index("site")
    pq.write_table(journal.set_column(where, "site", journal["latitude"]), part)
    with pytest.raises(EmbeddingFolderError, match="site double"):
        EmbeddingTable.open(folder)
