"""What is done to a folder grows with it, and not with its square."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from command import succeed
from made import draw, write_table_of

from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FileRecord,
    forget,
    remove_leftovers,
    rewriting,
)
from embedkit.store import layout as contract

EACH = 4  # clips of a part


def write(folder: Path, shards: int, parts: int) -> list[str]:
    """So many shards of so many parts; the names of their clips."""
    provenance = write_table_of(folder.with_name("one"), {"a": draw(1)}).provenance
    one = np.zeros(1)
    clips = []
    for shard in range(shards):
        with EmbeddingWriter(folder, provenance, shard) as writer:
            for part in range(parts):
                for number in range(EACH):
                    clips.append(f"{shard}/{part}-{number}.wav")
                    writer.add_rows(clips[-1], one.astype(np.int32), one, one + 1, draw(1))
                    facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
                    writer.finish_file(
                        FileRecord(clip=clips[-1], rows=1, duration_s=1.0, **facts)  # type: ignore[arg-type]
                    )
                writer.close_part()
    return clips


def test_each_part_is_asked_for_its_own_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    really = pc.is_in

    def is_in(values: pa.ChunkedArray, value_set: pa.Array) -> pa.ChunkedArray:
        nonlocal asked
        asked += len(value_set)
        return really(values, value_set)

    monkeypatch.setattr(pc, "is_in", is_in)
    clips = write(tmp_path / "emb", 2, 5)
    gone = [clip for clip in clips if not clip.endswith("-0.wav")]
    forget(tmp_path / "emb", gone)
    kept = sorted(set(clips) - set(gone))
    assert EmbeddingTable.open(tmp_path / "emb").rows().clips.tolist() == kept
    assert asked == len(gone)


def test_the_columns_of_many_parts_are_joined_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = write(tmp_path / "emb", 2, 4)
    opened = EmbeddingTable.open(tmp_path / "emb")
    whole, rows = opened.journal_table(), opened.rows()
    monkeypatch.setattr("embedkit.store.table.JOINED", 3)
    assert opened.journal_table().equals(whole)
    assert whole["clip"].to_pylist() == clips
    assert opened.rows().clips.tolist() == rows.clips.tolist() == sorted(clips)
    np.testing.assert_array_equal(opened.rows().embeddings, rows.embeddings)


def test_tidy_shards_are_not_listed_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "emb", 6, 1)
    listed: list[int | None] = []
    really = contract.list_parts

    def list_parts(folder: Path, shard: int | None = None) -> list[contract.Part]:
        listed.append(shard)
        return really(folder, shard)

    monkeypatch.setattr(rewriting, "list_parts", list_parts)
    remove_leftovers(tmp_path / "emb")
    assert listed == [None]
    left = tmp_path / "emb" / "rows" / "part-00004-00001.parquet"  # of a run that was killed
    left.touch()
    remove_leftovers(tmp_path / "emb")
    assert not left.exists()
    assert set(listed[1:]) == {None, 4}


def test_info_counts_without_a_record_of_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table_of(tmp_path / "emb", {"good": draw(3)}, last_s=0.5)
    with EmbeddingWriter(table.folder, table.provenance) as writer:
        for clip, kind, message in (
            ("a", "no-audio", "text"), ("b", "no-audio", ""), ("c", "crashed", "x"),
            ("d", "", "odd"),
        ):  # fmt: skip
            writer.finish_file(
                FileRecord(
                    clip=clip, size=1, mtime_ns=1, duration_s=450.0, rows=0, kind=kind,
                    message=message,
                )
            )  # fmt: skip

    def journal(table: EmbeddingTable) -> None:
        raise AssertionError("the records of a million files are a gigabyte")

    monkeypatch.setattr(EmbeddingTable, "journal", property(journal))
    found = json.loads(succeed("info", table.folder, "--json"))
    assert found["files"] == 5
    assert found["failed_or_damaged"] == {"crashed": 1, "no-audio": 2}
    assert found["remarks"] == 1
    assert found["audio_hours"] == round((4 * 450 + 2.5) / 3600, 4)
    assert (found["rows"], found["with_time"], found["with_site"]) == (3, 0, 0)
