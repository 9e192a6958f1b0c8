"""The Parquet contract, with pandas, Polars and DuckDB as independent readers."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made import draw, write_table_of
from numpy.typing import NDArray

from embedkit.errors import EmbeddingFolderError
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FileRecord,
    Provenance,
    read_manifest,
    remove_leftovers,
    start_folder,
)
from embedkit.store import writer as store_writer

D = 5
NAMES = ["a.wav", "ä/ß 🎵.mp3", "caf\\xe9.wav", "new\nline.wav", "'quotes\".wav"]

PROVENANCE = Provenance(
    audio_root="/sound",
    model="/model",
    fingerprint="f" * 64,
    embedding_size=D,
    features={"sample_rate": 16000},
    segment_s=1.0,
    hop_s=0.5,
    channel="mix",
    runtime="torch",
)

Row = tuple[str, int, float, float, NDArray[np.float32]]


def record(clip: str, rows: int, **changes: Any) -> FileRecord:
    good = FileRecord(
        clip=clip, size=2**40, mtime_ns=2**60, duration_s=0.5, rows=rows, kind="", message=""
    )
    return replace(good, **changes)


def add(writer: EmbeddingWriter, clip: str, segments: int, *, seed: int = 0) -> list[Row]:
    """Write a clip whose last segment is a short one, and return its rows."""
    rng = np.random.default_rng([seed, *clip.encode()])
    number = np.arange(segments, dtype=np.int32)
    start = number * 0.5
    end = start + 1 - 0.9 * rng.random() * (number == segments - 1)
    vectors = rng.standard_normal((segments, D)).astype(np.float32)
    if segments:
        # In two calls, as when a batch ends within a clip.
        for part in (slice(0, segments // 2), slice(segments // 2, None)):
            writer.add_rows(clip, number[part], start[part], end[part], vectors[part])
    writer.finish_file(record(clip, segments))
    rows = zip(number.tolist(), start.tolist(), end.tolist(), vectors, strict=True)
    return [(clip, *row) for row in rows]


def by_clip(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row[:2])


def check_equal(found: list[Row], expected: list[Row]) -> None:
    found, expected = by_clip(found), by_clip(expected)
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one[4], np.float32), other[4])


def read(folder: Path) -> list[Row]:
    rows = EmbeddingTable.open(folder).rows()
    columns = (rows.clips, rows.segments, rows.start_s, rows.end_s)
    return list(zip(*(column.tolist() for column in columns), rows.embeddings, strict=True))


def parts(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "emb"


@pytest.fixture
def filled(folder: Path) -> tuple[Path, list[Row]]:
    """A folder of three parts from two shards, with odd names, and its rows."""
    rows = []
    for shard, clips in ((0, NAMES[:2]), (1, NAMES[2:4]), (0, [*NAMES[4:], "z.wav"])):
        with EmbeddingWriter(folder, PROVENANCE, shard) as writer:
            for number, clip in enumerate(clips):
                rows += add(writer, clip, 1 + 2 * number)
            writer.finish_file(record(f"bad{shard}{clips[0]}", 0, kind="empty", message="bad"))
    return folder, rows


def with_pandas(folder: Path) -> list[Row]:
    frame = pytest.importorskip("pandas").read_parquet(folder / "rows")
    return list(frame.itertuples(index=False, name=None))


def with_polars(folder: Path) -> list[Row]:
    return list(pytest.importorskip("polars").read_parquet(folder / "rows").iter_rows())


def with_duckdb(folder: Path) -> list[Row]:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql(f"select * from '{folder}/rows/*.parquet'").fetchall()


def with_datasets(folder: Path) -> list[Row]:
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset.from_parquet(f"{folder}/rows/*.parquet", cache_dir=folder.parent / "c")
    return [tuple(row.values()) for row in found]


@pytest.mark.parametrize("reader", [read, with_pandas, with_polars, with_duckdb, with_datasets])
def test_every_reader_finds_the_rows_that_were_written(filled, reader):
    folder, rows = filled
    check_equal(reader(folder), rows)
    assert len(EmbeddingTable.open(folder)) == len(rows)


def test_duckdb_finds_the_nearest_by_cosine(filled):
    folder, rows = filled
    duckdb = pytest.importorskip("duckdb")
    vectors = np.stack([row[4] for row in rows]).astype(float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit[0]
    best = [rows[number][:2] for number in np.argsort(-similarity)[:3]]
    found = duckdb.execute(
        f"""SELECT clip, segment, array_cosine_similarity(embedding::FLOAT[{D}], ?::FLOAT[{D}]) AS s
        FROM '{folder}/rows/*.parquet' ORDER BY s DESC LIMIT 3""",
        [vectors[0].tolist()],
    ).fetchall()
    assert [row[:2] for row in found] == best
    np.testing.assert_allclose([row[2] for row in found], np.sort(similarity)[:-4:-1], atol=1e-5)


def test_rows_are_sorted_by_clip_and_segment_whoever_wrote_them(filled):
    folder, rows = filled
    assert [row[:2] for row in read(folder)] == sorted(row[:2] for row in rows)


def test_columns_are_those_of_the_contract(filled):
    folder, _ = filled
    paths = sorted((folder / "rows").iterdir())
    assert len(paths) == 3
    for path in paths:
        schema = pq.read_schema(path)
        assert {field.name: str(field.type) for field in schema} == {
            "clip": "string",
            "segment": "int32",
            "start_s": "double",
            "end_s": "double",
            "embedding": f"fixed_size_list<element: float not null>[{D}]",
        }
        assert not any(field.nullable for field in schema)
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_provenance_stands_in_the_manifest_and_in_every_part(filled):
    folder, _ = filled
    assert read_manifest(folder) == EmbeddingTable.open(folder).provenance == PROVENANCE
    for path in folder.glob("*/*.parquet"):
        assert json.loads(pq.read_schema(path).metadata[b"embedkit"]) == asdict(PROVENANCE)


def test_the_journal_gives_back_the_records_sorted_by_clip(folder):
    records = [
        record("b.wav", 0, size=0, duration_s=1.25),
        record("a.wav", 0, kind="truncated", message='ends "after"\n0.00 s – ü'),
    ]
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        add(writer, "c.wav", 1)
        for one in records:
            writer.finish_file(one)
    assert EmbeddingTable.open(folder).journal == [*reversed(records), record("c.wav", 1)]


def test_a_folder_without_rows_reads_as_none_of_the_right_types(folder):
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        writer.finish_file(record("bad.wav", 0, kind="empty", message="0 bytes"))
    table = EmbeddingTable.open(folder)
    rows = table.rows()
    assert [record.clip for record in table.journal] == ["bad.wav"]
    assert (len(table), rows.embeddings.shape) == (0, (0, D))
    assert (rows.segments.dtype, rows.embeddings.dtype) == (np.int32, np.float32)
    assert table.clip_vectors()[0] == []


def test_clip_vectors_are_means_weighted_by_real_duration(filled):
    folder, rows = filled
    sums: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for clip, _, start, end, vector in rows:
        sums.setdefault(clip, [0.0] * D)
        for index in range(D):
            sums[clip][index] += (end - start) * float(vector[index])
        seconds[clip] = seconds.get(clip, 0.0) + end - start
    clips, vectors = EmbeddingTable.open(folder).clip_vectors()
    assert clips == sorted(sums)
    expected = [[value / seconds[clip] for value in sums[clip]] for clip in clips]
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-7)


def test_a_second_writer_is_refused_on_the_same_shard_only(folder):
    with EmbeddingWriter(folder, PROVENANCE, 3) as first:
        with pytest.raises(EmbeddingFolderError, match="another run is writing shard 3"):
            EmbeddingWriter(folder, PROVENANCE, 3)
        with EmbeddingWriter(folder, PROVENANCE, 4) as other:
            rows = add(other, "b.wav", 2)
        remove_leftovers(folder)  # of the dead only
        rows += add(first, "a.wav", 3)
    with EmbeddingWriter(folder, PROVENANCE, 3) as later:
        rows += add(later, "c.wav", 1)
    check_equal(read(folder), rows)


OTHER = {
    "audio_root": "/other",
    "fingerprint": "0" * 64,
    "embedding_size": D + 1,
    "features": {"sample_rate": 32000},
    "segment_s": 2.0,
    "hop_s": 0.25,
    "channel": "1",
    "runtime": "onnx",
    "track": 2,
    "speed": 0.5,
    "band": "2000-8000",
}


def test_runs_that_begin_with_a_folder_at_once_agree_on_its_settings(tmp_path):
    barrier = threading.Barrier(8)

    def start(hop_s: float, folder: Path) -> float | None:
        barrier.wait()
        try:
            start_folder(folder, replace(PROVENANCE, hop_s=hop_s))
        except EmbeddingFolderError:
            return None
        return hop_s

    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            folder = tmp_path / str(number)
            begun = set(pool.map(start, [0.5, 1.0] * 4, [folder] * 8)) - {None}
            assert begun == {read_manifest(folder).hop_s}


@pytest.mark.parametrize("name", OTHER)
def test_going_on_with_another_setting_is_refused_by_its_name(filled, name):
    folder, rows = filled
    before = parts(folder)
    with pytest.raises(EmbeddingFolderError) as error:
        EmbeddingWriter(folder, replace(PROVENANCE, **{name: OTHER[name]}))
    for word in (name, repr(asdict(PROVENANCE)[name]), repr(OTHER[name])):
        assert word in str(error.value)
    assert parts(folder) == before
    with EmbeddingWriter(folder, PROVENANCE) as writer:  # the refusal has let go of the lock
        rows += add(writer, "more.wav", 2)
    check_equal(read(folder), rows)


def test_every_setting_but_the_place_of_the_model_is_compared():
    # What is said of an extractor of others beside its fingerprint changes no vector.
    assert {*OTHER, "model", "extractor"} == set(asdict(PROVENANCE))


def test_a_model_that_moved_is_the_same_model(folder):
    for number, model in enumerate(("/model", "/elsewhere")):
        with EmbeddingWriter(folder, replace(PROVENANCE, model=model)) as writer:
            add(writer, f"{number}.wav", 1)
    assert len(EmbeddingTable.open(folder)) == 2


def leave_behind(folder: Path) -> set[str]:
    """What a run killed at its worst moments leaves: rows without journal, temporary files."""
    left = {"rows/part-00000-00007.parquet"}
    left |= {f"{name}/.part-00000-00008.parquet.tmp" for name in ("rows", "files")}
    source = min((folder / "rows").glob("part-*"))
    for name in left:
        shutil.copy(source, folder / name)
    return left


@pytest.mark.parametrize("clean", [remove_leftovers, lambda f: EmbeddingWriter(f, PROVENANCE)])
def test_leftovers_never_count_and_go_when_the_folder_is_opened_again(filled, clean):
    folder, rows = filled
    before = parts(folder)
    left = leave_behind(folder)
    (folder / ".lock-00000").touch()
    check_equal(read(folder), rows)
    assert len(EmbeddingTable.open(folder)) == len(rows)
    assert parts(folder) == before | left
    writer = clean(folder)
    assert parts(folder) == before
    if writer is not None:
        with writer:
            rows += add(writer, "new.wav", 3)
    check_equal(read(folder), rows)


def test_a_part_closes_at_the_end_of_the_clip_that_fills_it(folder, monkeypatch):
    monkeypatch.setattr(store_writer, "PART_BYTES", 10 * (4 * D + 24))  # ten rows
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        rows = [row for number in range(6) for row in add(writer, f"{number}.wav", 4)]
        assert len(parts(folder)) == 4  # two parts of 3 clips, open to readers at once
        check_equal(read(folder), rows)
        rows += add(writer, "long.wav", 50)
    paths = sorted((folder / "rows").iterdir())
    assert [pq.read_metadata(path).num_rows for path in paths] == [12, 12, 50]
    check_equal(read(folder), rows)


def test_a_part_closes_when_its_time_is_over(folder, monkeypatch):
    monkeypatch.setattr(store_writer, "PART_SECONDS", 0)
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        for number in range(3):
            add(writer, f"{number}.wav", 2)
            assert len(EmbeddingTable.open(folder)) == 2 * (number + 1)
    assert len(parts(folder)) == 6


def test_a_part_stays_open_until_then(folder):
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        for number in range(9):
            add(writer, f"{number}.wav", 2)
        assert len(EmbeddingTable.open(folder)) == 0
    assert len(parts(folder)) == 2


def test_row_groups_bound_what_is_held_and_read_at_once(folder, monkeypatch):
    monkeypatch.setattr(store_writer, "ROW_GROUP_BYTES", 3 * (4 * D + 24))
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        rows = add(writer, "a.wav", 16)  # added 8 rows at a time
        rows += add(writer, "b.wav", 2)
    batches = list(EmbeddingTable.open(folder).batches())
    assert [len(batch.clips) for batch in batches] == [3] * 6
    check_equal(read(folder), rows)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_closed_parts_and_no_half_one(filled, monkeypatch, error):
    folder, rows = filled
    before = parts(folder)
    monkeypatch.setattr(store_writer, "ROW_GROUP_BYTES", 1)  # the half part is on disk already

    def interrupted() -> None:
        with EmbeddingWriter(folder, PROVENANCE) as writer:
            add(writer, "never.wav", 4)
            assert parts(folder) > before
            raise error

    with pytest.raises(error):
        interrupted()
    assert parts(folder) == before
    with EmbeddingWriter(folder, PROVENANCE) as writer:
        rows += add(writer, "later.wav", 2)
    check_equal(read(folder), rows)


def test_a_part_of_another_model_is_refused(filled, tmp_path):
    folder, _ = filled
    stranger = tmp_path / "stranger"
    with EmbeddingWriter(stranger, replace(PROVENANCE, fingerprint="0" * 64), 9) as writer:
        add(writer, "x.wav", 2)
    for name in ("rows", "files"):
        shutil.copy(stranger / name / "part-00009-00000.parquet", folder / name)
    with pytest.raises(EmbeddingFolderError, match=r"part-00009-00000\.parquet: made by another"):
        EmbeddingTable.open(folder)


MANIFEST = {"format": 1, "embedkit_version": "0", **asdict(PROVENANCE)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        json.dumps({}).encode(),
        json.dumps(MANIFEST | {"format": 2}).encode(),
        json.dumps(MANIFEST | {"surprise": 1}).encode(),
        json.dumps({key: value for key, value in MANIFEST.items() if key != "hop_s"}).encode(),
        json.dumps(MANIFEST | {"embedding_size": "many"}).encode(),
        json.dumps(MANIFEST | {"embedding_size": -1}).encode(),
        json.dumps(MANIFEST | {"fingerprint": None}).encode(),
        json.dumps(MANIFEST | {"features": {"sample_rate": None}}).encode(),
        json.dumps(MANIFEST | {"hop_s": float("nan")}).encode(),
        json.dumps(MANIFEST | {"speed": 10**400}).encode(),
    ],
)
def test_a_manifest_that_is_none_is_refused_by_its_name(filled, content):
    folder, _ = filled
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(EmbeddingFolderError, match=r"manifest\.json"):
        EmbeddingTable.open(folder)


def test_a_folder_that_is_none_is_refused_by_its_name(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(EmbeddingFolderError, match="not an embedding folder"):
            EmbeddingTable.open(folder)


def rewrite(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def scramble(path: Path) -> None:
    """Break the data and leave the footer: it shows only when the columns are read."""
    data = bytearray(path.read_bytes())
    data[4:200] = b"\x55" * 196
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"PAR1" + bytes(100) + b"PAR1"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "scrambled": scramble,
    "column-missing": rewrite(lambda table: table.drop_columns("clip")),
    "column-more": rewrite(lambda table: table.append_column("x", table["clip"])),
    "of-another-type": rewrite(
        lambda table: table.set_column(0, "clip", pa.array([1] * len(table)))
    ),
    "metadata": rewrite(lambda table: table.replace_schema_metadata({"embedkit": "x"})),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("name", ["rows", "files"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_refused_by_its_name(filled, name, damage):
    folder, _ = filled
    path = folder / name / "part-00000-00000.parquet"
    DAMAGE[damage](path)

    def read_everything() -> None:
        table = EmbeddingTable.open(folder)
        table.rows()
        table.clip_vectors()

    with pytest.raises(EmbeddingFolderError, match=f"{name}/{path.name}"):
        read_everything()


def test_a_journal_without_its_rows_is_refused_by_the_name_of_the_rows(filled):
    folder, _ = filled
    (folder / "rows/part-00000-00000.parquet").unlink()
    with pytest.raises(EmbeddingFolderError, match=r"rows/part-00000-00000\.parquet"):
        EmbeddingTable.open(folder)


@pytest.mark.parametrize("kind", ["rows", "files"])
def test_names_that_are_no_text_and_parts_without_statistics_are_refused_or_read(
    tmp_path: Path, kind: str
) -> None:
    """Arrow takes any bytes for text, and a writer need not say what its row groups hold."""
    table = write_table_of(tmp_path, {"a.wav": draw(3), "b.wav": draw(2)})
    [path] = (tmp_path / kind).iterdir()
    content = pq.read_table(path)
    pq.write_table(content, path, write_statistics=False)
    assert len(EmbeddingTable.open(tmp_path).clip_rows("a.wav").clips) == 3
    names = pa.array([b"\xffa.wav"] * len(content), pa.binary()).view(pa.string())
    pq.write_table(content.set_column(0, content.schema.field(0), names), path)
    table = EmbeddingTable.open(tmp_path)
    part = [part.name for part in table.parts]
    reads = {
        "rows": (table.rows, lambda: table.clip_rows("a.wav"), lambda: table.spans(part)),
        "files": (table.journal_table, table.clip_names, lambda: table.notes, table.clip_vectors),
    }
    for read in reads[kind]:
        with pytest.raises(EmbeddingFolderError, match=f"{path.name}: cannot be read"):
            read()
