"""perch-hoplite's folders both ways: by ourselves, and against the real package where it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from made import draw, write_table_of

from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import DatasetError, UsageError
from embedkit.exchange.hoplite import read_annotations, write_hoplite
from embedkit.store import EmbeddingTable

CLIPS = {"a/one.wav": draw(3, size=8), "two.wav": draw(2, size=8, seed=1)}
LABELS = (
    "path,start_s,end_s,label,sign\na/one.wav,0.5,1.25,wren,+\na/one.wav,0,1,owl,-\n"
    "two.wav,0,0.5,wren,?\n"
)
MARKED = [
    Stretch(clip="a/one.wav", start_s=0.5, end_s=1.25, label="wren"),
    Stretch(clip="a/one.wav", start_s=0.0, end_s=1.0, label="owl", sign=Sign.NEGATIVE),
    Stretch(clip="two.wav", start_s=0.0, end_s=0.5, label="wren", sign=Sign.UNCERTAIN),
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    pytest.importorskip("usearch", reason="embedkit[hoplite] is not installed")
    table = write_table_of(tmp_path / "emb", CLIPS)
    (tmp_path / "labels.csv").write_text(LABELS)
    assert write_hoplite(table, tmp_path / "hoplite", str(tmp_path / "labels.csv")) == (5, 3)
    return tmp_path / "hoplite"


def check(emb: Path) -> None:
    rows = EmbeddingTable.open(emb).rows()
    for clip, vectors in CLIPS.items():
        mine = rows.clips == clip
        order = np.argsort(rows.start_s[mine])
        np.testing.assert_array_equal(
            rows.embeddings[mine][order], vectors.astype(np.float16).astype(np.float32)
        )
        np.testing.assert_array_equal(rows.start_s[mine][order], np.arange(len(vectors)))
        assert rows.end_s[mine].max() == len(vectors) - 0.5


def test_there_and_back(written: Path, tmp_path: Path) -> None:
    back, labels = tmp_path / "back", tmp_path / "back.csv"
    words = ("convert", written, "--from", "hoplite", "--name", "toy", "--out", back)
    succeed(*words, "--labels", labels)
    check(back)
    assert sorted(read_annotations(written)) == sorted(MARKED)
    assert sorted(labels.read_text().splitlines()[1:]) == [
        "a/one.wav,0.0,1.0,owl,-",
        "a/one.wav,0.5,1.25,wren,+",
        "two.wav,0.0,0.5,wren,?",
    ]
    table = EmbeddingTable.open(back)
    assert write_hoplite(table, tmp_path / "again", str(labels)) == (5, 3)
    with pytest.raises(UsageError, match="is there already"):
        write_hoplite(table, tmp_path / "again")


def test_the_real_package_reads_ours(written: Path) -> None:
    real = pytest.importorskip("perch_hoplite.db.sqlite_usearch_impl", reason="no perch-hoplite")
    database = real.SQLiteUSearchDB.create(str(written))
    windows = {one.id: one for one in database.get_all_windows()}
    recordings = {one.id: one.filename for one in database.get_all_recordings()}
    assert sorted(recordings.values()) == sorted(CLIPS)
    assert len(windows) == 5
    for number, window in windows.items():
        clip = recordings[window.recording_id]
        start = round(window.offsets[0])
        expected = CLIPS[clip][start].astype(np.float16)
        np.testing.assert_array_equal(database.get_embedding(number), expected)
    found = {
        (recordings[one.recording_id], *one.offsets, one.label, one.label_type.value)
        for one in database.get_all_annotations()
    }
    assert found == {
        ("a/one.wav", 0.5, 1.25, "wren", 1),
        ("a/one.wav", 0.0, 1.0, "owl", 0),
        ("two.wav", 0.0, 0.5, "wren", 2),
    }


def test_reads_what_the_real_package_writes(tmp_path: Path) -> None:
    real = pytest.importorskip("perch_hoplite.db.sqlite_usearch_impl", reason="no perch-hoplite")
    from perch_hoplite.db.datatypes import LabelType  # type: ignore[import-not-found]

    folder = tmp_path / "hoplite"
    database: Any = real.SQLiteUSearchDB.create(str(folder), real.get_default_usearch_config(8))
    place = database.insert_deployment("forest", "birds", 48.1, 11.5)
    numbers = {
        name: database.insert_recording(name, deployment_id=place) for name in reversed(CLIPS)
    }
    for clip, vectors in CLIPS.items():
        for start in reversed(range(len(vectors))):
            end = start + (1.0 if start < len(vectors) - 1 else 0.5)
            database.insert_window(numbers[clip], [float(start), end], vectors[start])
    for one in MARKED:
        kind = {"+": LabelType.POSITIVE, "-": LabelType.NEGATIVE, "?": LabelType.UNCERTAIN}
        offsets = [one.start_s, one.end_s]
        database.insert_annotation(numbers[one.clip], offsets, one.label, kind[one.sign], "me")
    database.commit()
    succeed(
        *("convert", folder, "--from", "hoplite", "--name", "toy", "--out", tmp_path / "emb"),
        *("--labels", tmp_path / "labels.csv"),
    )
    check(tmp_path / "emb")
    assert sorted(read_annotations(folder)) == sorted(MARKED)


def test_says_what_is_no_folder_of_hoplites(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"it has no hoplite\.sqlite"):
        read_annotations(tmp_path)
    (tmp_path / "hoplite.sqlite").write_text("no database")
    with pytest.raises(DatasetError, match="cannot be read as hoplite's"):
        read_annotations(tmp_path)
    words = ("convert", tmp_path, "--from", "npy", "--name", "a", "--out", tmp_path / "out")
    done = run(*words, "--labels", "labels.csv")
    assert (done.returncode, "--labels goes with hoplite" in done.stderr) == (2, True)
