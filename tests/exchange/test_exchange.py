"""Vectors out to other formats and in from other tools: read back by the tools themselves."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from filelock import FileLock

from embedkit.errors import DatasetError, EmbedkitError, UsageError
from embedkit.exchange import EXPORTS, Foreign, apart, export, import_vectors, imports
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance
from embedkit.store.table import Rows

SIZE = 6
CLIPS = {'a/rain, "heavy".wav': 3, "a/wind\tand\nsea.wav": 1, "b/🐦.flac": 4, "empty.wav": 0}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    """Three clips of awkward names in two parts, and one without rows."""
    folder = tmp_path_factory.mktemp("emb")
    provenance = Provenance(
        audio_root="/audio", model="m", fingerprint="f" * 64, embedding_size=SIZE,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="torch",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with EmbeddingWriter(folder, provenance) as writer:
        for name, count in CLIPS.items():
            index = np.arange(count, dtype=np.int32)
            vectors = rng.standard_normal((count, SIZE)).astype(np.float32)
            writer.add_rows(name, index, index * 1.0, index + 0.75, vectors)
            facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=name, rows=count, duration_s=float(count), **facts))
            if name.startswith("b"):
                writer.close_part()
    return EmbeddingTable.open(folder)


@pytest.fixture(scope="module")
def rows(table: EmbeddingTable) -> Rows:
    return table.rows()


def check(rows: Rows, clips: object, segments: object, start: object, vectors: object) -> None:
    """The same rows, in any order."""
    order = np.lexsort((np.asarray(segments), np.asarray(clips, str)))
    np.testing.assert_array_equal(np.asarray(clips, object)[order], rows.clips)
    np.testing.assert_array_equal(np.asarray(segments)[order], rows.segments)
    np.testing.assert_array_equal(np.asarray(start)[order], rows.start_s)
    np.testing.assert_array_equal(np.asarray(vectors)[order], rows.embeddings)


def test_npy_is_vectors_and_the_table_of_their_rows(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    export(table, "npy", tmp_path / "out")
    found = pc.read_csv(
        tmp_path / "out" / "rows.csv", parse_options=pc.ParseOptions(newlines_in_values=True)
    )
    vectors = np.load(tmp_path / "out" / "vectors.npy", allow_pickle=False)
    check(rows, found["clip"].to_pylist(), found["segment"], found["start_s"], vectors)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"rows.csv", "vectors.npy"}


def test_npz_needs_no_pickle(table: EmbeddingTable, rows: Rows, tmp_path: Path) -> None:
    export(table, "npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        check(rows, found["clip"], found["segment"], found["start_s"], found["embedding"])
        np.testing.assert_array_equal(np.sort(found["end_s"]), np.sort(rows.end_s))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_csv_has_a_column_for_each_number(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    export(table, "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    vectors = [[np.float32(row[f"e{n}"]) for n in range(SIZE)] for row in found]
    check(
        rows,
        [row["clip"] for row in found],
        [int(row["segment"]) for row in found],
        [float(row["start_s"]) for row in found],
        vectors,
    )


def test_lance_is_read_and_searched_by_lancedb(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    lancedb = pytest.importorskip("lancedb")
    export(table, "lance", tmp_path / "out.lance")
    found = lancedb.connect(tmp_path).open_table("out")
    arrow = found.to_arrow()
    vectors = np.stack(arrow["embedding"].to_numpy())
    check(rows, arrow["clip"].to_pylist(), arrow["segment"], arrow["start_s"], vectors)
    nearest = found.search(rows.embeddings[2], vector_column_name="embedding").metric("cosine")
    best = nearest.limit(1).to_list()[0]
    assert (best["clip"], best["segment"]) == (rows.clips[2], rows.segments[2])


def test_a_hugging_face_dataset_is_loaded_from_disk(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    export(table, "hf", tmp_path / "out")
    found = datasets.load_from_disk(tmp_path / "out").with_format("numpy")
    check(rows, found["clip"][:], found["segment"][:], found["start_s"][:], found["embedding"][:])


def test_tensorboards_projector_has_a_line_for_each_vector(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    export(table, "tensorboard", tmp_path / "out")
    vectors = np.loadtxt(tmp_path / "out" / "vectors.tsv", delimiter="\t")
    with (tmp_path / "out" / "metadata.tsv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file, delimiter="\t")
    assert header == ["clip", "segment", "start_s", "end_s"]
    assert len(lines) == len(vectors) == len(rows.clips)
    assert "a/wind and sea.wav" in {line[0] for line in lines}  # one line of one field
    np.testing.assert_allclose(
        np.sort(vectors, axis=0), np.sort(rows.embeddings, axis=0), rtol=1e-5
    )
    text = (tmp_path / "out" / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "vectors.tsv"' in text


def test_tracks_have_a_label_for_each_segment(table: EmbeddingTable, tmp_path: Path) -> None:
    export(table, "audacity", tmp_path / "audacity")
    text = (tmp_path / "audacity" / "b" / "🐦.flac.txt").read_text()
    assert text.splitlines()[1] == "1.000000\t1.750000\tsegment 1"
    export(table, "raven", tmp_path / "raven")
    text = (tmp_path / "raven" / "b" / "🐦.flac.txt").read_text()
    assert text.splitlines()[2].split("\t")[3:7] == ["1.000000", "1.750000", "0.0", "8000.0"]
    assert len(list((tmp_path / "raven").rglob("*.txt"))) == 3


@pytest.mark.parametrize("form", EXPORTS)
def test_what_is_there_is_not_written_over(
    table: EmbeddingTable, tmp_path: Path, form: str
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export(table, form, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_npy_out_and_in_again_gives_the_same_rows(
    table: EmbeddingTable, rows: Rows, tmp_path: Path
) -> None:
    export(table, "npy", tmp_path / "npy")
    count = import_vectors(tmp_path / "npy", "npy", Foreign(name="m"), tmp_path / "emb")
    assert count == (3, 8)
    found = EmbeddingTable.open(tmp_path / "emb")
    check(rows, found.rows().clips, found.rows().segments, found.rows().start_s,
          found.rows().embeddings)  # fmt: skip
    assert found.provenance.model == "m"
    assert [record.rows for record in found.journal] == [3, 1, 4]


def test_parquet_of_another_tool_is_taken_by_its_own_names(
    tmp_path: Path, write_audio: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, 4))
    write_audio(tmp_path / "audio" / "y.wav", np.zeros(100))
    # Rows of two clips, out of order, in float64 lists of any length.
    foreign = pa.table(
        {
            "path": ["y.wav", "x.wav", "y.wav", "x.wav", "x.wav"],
            "start": [3.0, 0.0, 0.0, 6.0, 3.0],
            "vector": vectors.tolist(),
        }
    )
    pq.write_table(foreign, tmp_path / "birdnet.parquet")
    done = run(
        "convert", tmp_path / "birdnet.parquet", "--from", "parquet", "--name", "BirdNET",
        "--window", 3, "--audio", tmp_path / "audio", "--out", tmp_path / "emb",
    )  # fmt: skip
    assert done.stderr.endswith("5 rows of 2 clips by BirdNET\n")
    table = EmbeddingTable.open(tmp_path / "emb")
    rows = table.rows()
    assert rows.clips.tolist() == ["x.wav"] * 3 + ["y.wav"] * 2
    assert rows.segments.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(rows.end_s, rows.start_s + 3)
    np.testing.assert_array_equal(rows.embeddings, vectors[[1, 4, 3, 2, 0]].astype(np.float32))
    assert (table.provenance.segment_s, table.provenance.hop_s) == (3.0, 3.0)
    assert [record.size > 0 for record in table.journal] == [False, True]
    # Every back-end serves them.
    found = json.loads(succeed("search", tmp_path / "emb", "x.wav", "--json"))
    assert "y.wav" in json.dumps(found)
    assert "BirdNET" in succeed("info", tmp_path / "emb")


def test_a_clip_may_stand_in_several_files_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    vectors = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    clips, starts = ["b", "a", "b", "a", "a", "b", "a"], [4.0, 0.0, 0.0, 1.0, 2.0, 2.0, 3.0]
    (tmp_path / "l3").mkdir()
    for number, rows in enumerate([slice(0, 4), slice(4, 7)]):
        save(
            tmp_path / "l3" / f"{number}.parquet",
            clip=clips[rows], start_s=starts[rows], vector=vectors[rows].tolist(),
        )  # fmt: skip
    foreign = Foreign(name="OpenL3", window_s=1.0)
    assert import_vectors(tmp_path / "l3", "parquet", foreign, tmp_path / "emb") == (2, 7)
    rows = EmbeddingTable.open(tmp_path / "emb").rows()
    assert rows.clips.tolist() == ["a"] * 4 + ["b"] * 3
    np.testing.assert_array_equal(rows.embeddings, vectors[[1, 3, 4, 6, 2, 5, 0]])
    save(tmp_path / "l3" / "2.parquet", clip=["c"], start_s=[0.0], vector=[[1.0, 2.0]])
    with pytest.raises(DatasetError, match="has vectors of 2 and 3 numbers"):
        import_vectors(tmp_path / "l3", "parquet", foreign, tmp_path / "none")


def test_a_file_for_each_clip_as_openl3_writes_them(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    (tmp_path / "l3" / "birds").mkdir(parents=True)
    np.savez(tmp_path / "l3" / "birds" / "a.npz", embedding=vectors, timestamps=0.1 * np.arange(4))
    np.save(tmp_path / "l3" / "b.npy", vectors[:2])
    foreign = Foreign(name="OpenL3", window_s=1.0, hop_s=0.1)
    assert import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb") == (2, 6)
    rows = EmbeddingTable.open(tmp_path / "emb").rows()
    assert rows.clips.tolist() == ["b"] * 2 + ["birds/a"] * 4
    np.testing.assert_allclose(rows.start_s, [0, 0.1, 0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(rows.end_s - rows.start_s, 1)
    with pytest.raises(UsageError, match=r"b\.npy: tells no times: say --hop"):
        import_vectors(tmp_path / "l3", "npy", Foreign(name="OpenL3"), tmp_path / "none")


def test_clips_are_named_as_their_sounds_below_the_folder_of_audio(
    tmp_path: Path, write_audio: Callable[..., Path]
) -> None:
    sounds = [f"{label}/{n}.WAV" for label in ("dog", "cat") for n in range(4)]
    for sound in sounds:
        write_audio(tmp_path / "audio" / sound, np.zeros(100))
    write_audio(tmp_path / "audio" / "dog" / "0.flac", np.zeros(100))  # two of one stem
    manifest = tmp_path / "audio" / "labels.csv"
    lines = [f"{sound},{sound[:3]},{sound[4]}" for sound in sounds]
    manifest.write_text("\n".join(["path,label,fold", *lines]) + "\n")
    vectors = {sound: np.full((1, 2), float(sound[0] == "d")) for sound in sounds}
    for sound in sounds:
        path = (tmp_path / "l3" / sound).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vectors[sound])
    save(
        tmp_path / "paths.parquet", file=[str(tmp_path / "audio" / sound) for sound in sounds],
        start=[0.0] * 8, vector=[vectors[sound][0].tolist() for sound in sounds],
    )  # fmt: skip
    known = {"name": "x", "window_s": 1.0, "hop_s": 1.0, "audio": tmp_path / "audio"}
    for form, source, clips in (("npy", "l3", 7), ("parquet", "paths.parquet", 8)):
        out = tmp_path / form
        import_vectors(tmp_path / source, form, Foreign(**known), out)
        there = {record.clip for record in EmbeddingTable.open(out).journal}
        assert there == {sounds[0] if clips == 8 else "dog/0", *sounds[1:]}
        found = json.loads(
            succeed("classify", "evaluate", out, "--labels", manifest, "--method", "knn", "--json")
        )
        assert (found["clips"], found["accuracy"]) == (clips, 1.0)


def test_a_failed_import_leaves_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "l3").mkdir()
    foreign = Foreign(name="OpenL3", window_s=1.0, hop_s=1.0)
    np.save(tmp_path / "l3" / "a.npy", np.ones((2, 3)))
    np.save(tmp_path / "l3" / "b.npy", np.full((2, 3), np.nan))
    with pytest.raises(DatasetError, match="the vectors of b hold NaN"):
        import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb")
    assert [path.name for path in tmp_path.iterdir()] == ["l3"]
    (tmp_path / "l3" / "b.npy").unlink()
    np.savez(tmp_path / "l3" / "a.npz", embedding=np.ones((2, 3)))
    with pytest.raises(DatasetError, match="clip a is there twice"):
        import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb")
    (tmp_path / "l3" / "a.npy").unlink()
    np.savez(tmp_path / "l3" / "a.npz", embedding=np.ones((2, 3)), timestamps=[0.0])
    with pytest.raises(DatasetError, match="1 timestamps of 2 vectors"):
        import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb")
    np.savez(tmp_path / "l3" / "a.npz", embedding=np.ones((2, 3)))
    (tmp_path / "emb").mkdir()
    assert import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb") == (1, 2)


def test_two_imports_into_one_folder_at_once_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "l3").mkdir()
    np.save(tmp_path / "l3" / "a.npy", np.ones((2, 3)))
    foreign = Foreign(name="OpenL3", window_s=1.0, hop_s=1.0)
    left = tmp_path / ".emb.tmp/folder"  # by an import that was killed
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{}")
    with FileLock(left.parent / ".lock"), pytest.raises(UsageError, match="another import"):
        import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb")
    assert left.exists()
    assert import_vectors(tmp_path / "l3", "npy", foreign, tmp_path / "emb") == (1, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb", "l3"]


def save(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


ONE = {"clip": ["a"], "start_s": [0.0], "end_s": [1.0], "embedding": [[1.0, 2.0]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": None}, r"has no column embedding \(or embeddings, vector\); it has: clip"),
        ({"end_s": None}, "has no column end_s .* --window gives the length of all"),
        ({"embedding": [[1.0, float("nan")]]}, "the vectors of a hold NaN or infinity"),
        ({"embedding": ["x"]}, "not lists"),
        ({"end_s": [0.0]}, "a has a segment that ends before it begins"),
        ({"clip": ["../a"]}, "its name leads out of"),
        ({"clip": ["/etc/a"]}, "its name leads out of"),
        ({"clip": pa.array([None], pa.string())}, "a row names no clip"),
    ],
)
def test_foreign_vectors_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    columns = {name: value for name, value in {**ONE, **changes}.items() if value is not None}
    with pytest.raises(EmbedkitError, match=message):
        import_vectors(
            save(tmp_path / "x.parquet", **columns), "parquet", Foreign(name="x"), tmp_path / "emb"
        )
    assert not (tmp_path / "emb" / "manifest.json").exists() or not len(
        EmbeddingTable.open(tmp_path / "emb")
    )


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("a.npz", lambda data: data[:-30]),
        ("a.npz", lambda data: data[:60] + bytes(20) + data[80:]),
        ("a.npz", lambda data: b"no archive"),
        ("a.npy", lambda data: data.replace(b"}", b" ")),
        ("a.npy", lambda data: data[:-5]),
    ],
)
def test_damaged_arrays_are_refused_by_name(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    vectors = np.ones((3, 2), np.float32)
    if name.endswith("z"):
        np.savez(path, embedding=vectors, timestamps=np.arange(3.0))
    else:
        np.save(path, vectors)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read as vectors"):
        import_vectors(path.parent, "npy", Foreign(name="x", hop_s=1), tmp_path / "emb")


def test_pickled_arrays_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot be read as vectors"):
        import_vectors(tmp_path, "npy", Foreign(name="x", hop_s=1), tmp_path / "emb")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name one of --to and --from"),
        (("--to", "npy", "--from", "npy"), "name one of --to and --from"),
        (("--to", "matlab"), "no format 'matlab'; there are: npy, npz, csv, lance"),
        (("--from", "npy"), "name the extractor that made the vectors with --name"),
        (("--from", "mat", "--name", "x"), "no format 'mat'; there are: hoplite, npy, parquet"),
    ],
)
def test_wrong_usage_is_said(
    table: EmbeddingTable, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("convert", table.folder, "--out", tmp_path / "out", *options)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_folder_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync, publish = set(), os.fsync, apart.publish
    before: set[int] = set()

    def watched(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def published(temporary: Path, path: Path) -> None:
        before.update(synced)
        publish(temporary, path)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(apart, "publish", published)
    with apart.written_apart(tmp_path / "out") as folder:
        (folder / "deep").mkdir(parents=True)
        for name in ("one", "deep/another"):
            (folder / name).write_bytes(b"content")
    files = {path.stat().st_ino for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(files) == 2
    assert files <= before
    assert tmp_path.stat().st_ino in synced  # the folder that now names it
