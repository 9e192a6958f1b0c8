"""Labels join vectors: by place, by path, by folder, for clips and segments."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from made import draw, write_table_of

from embedkit.classifiers import splits
from embedkit.errors import DatasetError
from embedkit.labels import reading
from embedkit.labels.join import Unit, join_labels
from embedkit.store import EmbeddingTable


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """Clips a/1.wav, a/2.wav, b/1.wav, loose.wav of the folder audio."""
    clips = {name: draw(1) for name in ("a/1.wav", "a/2.wav", "b/1.wav", "loose.wav")}
    return write_table_of(tmp_path / "emb", clips, root=tmp_path / "audio")


def write_labels(path: Path, lines: Iterable[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("place", "prefix"),
    [("labels.csv", "audio/"), ("audio/labels.csv", ""), ("else/labels.csv", "../audio/"),
     ("else/labels.csv", ""), ("else/labels.csv", "./")],
    ids=["beside", "inside", "elsewhere", "moved", "moved-with-dot"],
)  # fmt: skip
def test_labels_join_by_place_or_by_the_same_relative_path(
    tmp_path: Path, table: EmbeddingTable, place: str, prefix: str
) -> None:
    rows = [f"{prefix}{name},{label},{fold},{group}" for name, label, fold, group in (
        ("loose.wav", "y", "1", ""), ("a/1.wav", "x", "2", "g"), ("b/1.wav", "y", "2", "g"),
        ("a/2.wav", "z", "1", ""), ("not/extracted.wav", "w", "3", ""),
    )]  # fmt: skip
    data = join_labels(table, write_labels(tmp_path / place, ["path,label,fold,group", *rows]))
    assert data.clips == ["a/1.wav", "a/2.wav", "b/1.wav", "loose.wav"]
    assert [data.labels[index] for index in data.classes] == ["x", "z", "y", "y"]
    assert (data.labels, data.several_labels) == (("x", "y", "z"), False)
    assert data.folds == ["2", "1", "2", "1"]
    assert data.groups[0] == data.groups[2] == "g"
    assert len(set(data.groups)) == 3
    np.testing.assert_array_equal(data.vectors, table.clip_vectors()[1])


def test_the_place_of_a_clip_counts_more_than_its_text(
    tmp_path: Path, table: EmbeddingTable
) -> None:
    lines = ["path,label", "a/1.wav,wrong", "audio/a/1.wav,right"]
    assert join_labels(table, write_labels(tmp_path / "m.csv", lines)).labels == ("right",)


def test_a_manifest_named_relative_to_the_working_folder_joins(
    tmp_path: Path, table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / "m.csv", ["path,label", "audio/b/1.wav,x"])
    monkeypatch.chdir(tmp_path)
    assert join_labels(table, "m.csv").clips == ["b/1.wav"]


def test_folders_give_the_first_folder_as_label(table: EmbeddingTable) -> None:
    data = join_labels(table, "folders")
    assert data.clips == ["a/1.wav", "a/2.wav", "b/1.wav"]
    np.testing.assert_array_equal(data.targets, [[1, 0], [1, 0], [0, 1]])
    assert (data.labels, data.folds) == (("a", "b"), None)
    assert len(set(data.groups)) == 3


def test_several_labels_join_as_a_matrix(tmp_path: Path, table: EmbeddingTable) -> None:
    data = join_labels(
        table, write_labels(tmp_path / "m.csv", ["path,labels", "audio/a/1.wav,q;p", "a/2.wav,q"])
    )
    assert (data.labels, data.several_labels) == (("p", "q"), True)
    np.testing.assert_array_equal(data.targets, [[1, 1], [0, 1]])


def test_clips_without_a_label_are_left_out_and_counted(
    tmp_path: Path, table: EmbeddingTable, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_labels(tmp_path / "m.csv", ["path,label", "audio/a/1.wav,x", "audio/b/1.wav,y"])
    assert join_labels(table, path).clips == ["a/1.wav", "b/1.wav"]
    assert "2 of 4 clips have no label: left out" in caplog.text


def test_labels_join_through_a_linked_folder(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "audio").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    write_labels(real / "m.csv", ["path,label", "audio/1.wav,x"])
    # The folder was extracted as link/audio, and stands in the manifest as it really is.
    table = write_table_of(tmp_path / "emb", {"1.wav": draw(1)}, root=(tmp_path / "link/audio"))
    assert join_labels(table, str(real / "m.csv")).clips == ["1.wav"]
    assert join_labels(table, str(tmp_path / "link" / "m.csv")).clips == ["1.wav"]


def test_labels_that_join_nothing_show_paths_of_both_sides(
    tmp_path: Path, table: EmbeddingTable
) -> None:
    path = write_labels(tmp_path / "m.csv", ["path,label", "wavs/a-1.wav,x", "wavs/b-1.wav,y"])
    with pytest.raises(DatasetError) as caught:
        join_labels(table, path)
    for part in ("no label joins a clip", path, "wavs/a-1.wav, wavs/b-1.wav", "a/1.wav, a/2.wav"):
        assert part in str(caught.value)


def test_clips_without_folders_cannot_be_labelled_by_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no clip stands in a folder .*: x\.wav"):
        join_labels(write_table_of(tmp_path, {"x.wav": draw(1)}), "folders")


def test_segments_have_the_labels_folds_and_groups_of_their_clips(tmp_path: Path) -> None:
    clips = {f"{name}/{n}.wav": draw(n + 1, 4, n) for name in "ab" for n in range(3)}
    table = write_table_of(tmp_path / "emb", clips)
    lines = ["path,label,fold,group", *(f"{clip},{clip[0]},{clip[2]},g{clip[2]}" for clip in clips)]
    source = write_labels(tmp_path / "labels.csv", lines)
    data = join_labels(table, source, Unit.SEGMENT)
    rows = table.rows()
    assert data.clips == rows.clips.tolist()
    np.testing.assert_array_equal(data.vectors, rows.embeddings)
    assert [data.labels[index] for index in data.classes] == [clip[0] for clip in data.clips]
    assert data.folds == [clip[2] for clip in data.clips]
    assert data.groups == [f"g{clip[2]}" for clip in data.clips]
    for fitted, held in splits.published_folds(data):  # segments of one clip stay together
        assert not {data.clips[n] for n in fitted} & {data.clips[n] for n in held}


@pytest.mark.parametrize("unit", list(Unit))
def test_of_too_many_vectors_a_sample_is_read(
    tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clips = {f"{'ab'[n % 2]}/{n}.wav": draw(3, 4, n) for n in range(20)}
    table = write_table_of(tmp_path / "emb", clips)
    whole = join_labels(table, "folders", unit)
    monkeypatch.setattr(reading, "MOST", 12)
    data = join_labels(table, "folders", unit)
    assert f"12 of {len(whole.clips)} labelled {unit}s, drawn at random" in caplog.text
    assert len(data.clips) == 12
    known = {(clip, tuple(vector)) for clip, vector in zip(whole.clips, whole.vectors, strict=True)}
    drawn = {(clip, tuple(vector)) for clip, vector in zip(data.clips, data.vectors, strict=True)}
    assert len(drawn & known) == 12
    again = join_labels(table, "folders", unit)
    np.testing.assert_array_equal(again.vectors, data.vectors)
