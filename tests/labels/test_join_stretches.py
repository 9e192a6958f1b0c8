"""Labels with a beginning and an end join the segments of recordings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made import draw, write_table_of

from embedkit.classifiers import splits
from embedkit.datasets import read_dataset
from embedkit.errors import DatasetError
from embedkit.labels import marked, reading
from embedkit.labels.join import Labelled, Unit, join_labels
from embedkit.labels.stretches import Marked, Rule, segment_targets
from embedkit.store import EmbeddingTable

ALL = Rule(marked=Marked.ALL)
RECORDINGS = {"a/one.wav": 40, "a/two.wav": 30, "b/three.wav": 20}  # segments of 1 s


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """Each vector begins with the number of its recording and of its segment."""
    clips = {}
    for number, (name, count) in enumerate(RECORDINGS.items()):
        clips[name] = draw(count, 4, number)
        clips[name][:, 0], clips[name][:, 1] = number, np.arange(count)
    return write_table_of(tmp_path / "emb", clips, root=tmp_path / "audio")


def write_labels(path: Path, rows: Sequence[str], more: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"path,start_s,end_s,label{more}", *rows]))
    return str(path)


def places(data: Labelled) -> list[tuple[int, int]]:
    """The recording and the segment of each vector, as the vectors themselves tell."""
    return [(int(vector[0]), int(vector[1])) for vector in data.vectors]


@pytest.fixture
def labels(tmp_path: Path) -> str:
    rows = ["a/one.wav,3,5,wren", "a/one.wav,4.2,7.5,tit", "b/three.wav,8.6,9.4,wren"]
    return write_labels(tmp_path / "audio" / "labels.csv", rows)


def test_where_everything_was_marked_every_segment_is_known_by_the_rule(
    table: EmbeddingTable, labels: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    data = join_labels(table, labels, rule=ALL)
    assert "labels have times: they are of segments, not of whole clips" in caplog.text
    assert "1 of 3 clips have no label: left out" in caplog.text
    assert data.several_labels
    assert data.labels == ("tit", "wren")
    assert places(data) == [(0, n) for n in range(40)] + [(2, n) for n in range(20)]
    assert data.clips == ["a/one.wav"] * 40 + ["b/three.wav"] * 20
    for number, name in ((0, "a/one.wav"), (2, "b/three.wav")):
        rows = table.clip_rows(name)
        [clip] = [clip for clip in read_dataset(Path(labels)).clips if clip.path.match(name)]
        expected = segment_targets(rows.start_s, rows.end_s, clip.stretches, data.labels, ALL)
        own = data.vectors[:, 0] == number
        np.testing.assert_array_equal(data.targets[own], expected)
        assert data.start_s is not None
        assert data.seconds is not None
        np.testing.assert_array_equal(data.start_s[own], rows.start_s)
        np.testing.assert_array_equal(data.seconds[own], rows.end_s - rows.start_s)


def test_by_default_only_marked_segments_are_known(table: EmbeddingTable, labels: str) -> None:
    data = join_labels(table, labels)
    # Of the tit's 3.3 s the last half second reaches segment 7; each edge of the wren's 0.8 s is
    # half of it.
    assert places(data) == [(0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (2, 8), (2, 9)]
    assert data.names == ["wren", "tit, wren", "tit", "tit", "tit", "wren", "wren"]
    assert data.several_labels  # one segment has both


def test_with_one_label_a_segment_what_touches_another_is_left_out(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    rows = ["a/one.wav,3,5,wren", "a/one.wav,5.9,8.2,tit", "b/three.wav,2,4,tit"]
    data = join_labels(table, write_labels(tmp_path / "audio" / "t.csv", rows))
    assert not data.several_labels
    assert places(data) == [(0, 3), (0, 4), (0, 6), (0, 7), (2, 2), (2, 3)]
    assert [data.labels[n] for n in data.classes] == ["wren", "wren", "tit", "tit", "tit", "tit"]
    rows[0] = "a/one.wav,3,6,wren"  # its last segment has a tenth of the tit, too
    data = join_labels(table, write_labels(tmp_path / "audio" / "t.csv", rows))
    assert (0, 5) not in places(data)


def test_one_label_alone_is_learned_against_unmarked_sound(
    table: EmbeddingTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(marked, "LEAST_BACKGROUND", 5)
    rows = [
        "a/one.wav,3,5,wren,+",
        "a/one.wav,10.2,10.7,wren,?",
        "a/one.wav,20,30,wren,-",
        "b/three.wav,6.9,8.2,wren,",
    ]
    source = write_labels(tmp_path / "audio" / "t.csv", rows, ",sign")
    data = join_labels(table, source)
    assert data.several_labels
    truth = dict(zip(places(data), data.targets[:, 0].tolist(), strict=True))
    assert {place for place, value in truth.items() if value == 1} == {(0, 3), (0, 4), (2, 7)}
    marked_not = {(0, n) for n in range(20, 30)}
    assert marked_not < {place for place, value in truth.items() if value == 0}
    drawn = set(truth) - marked_not - {(0, 3), (0, 4), (2, 7)}
    assert len(drawn) == 30  # ten for each that has the label
    assert "one label, wren: 30 segments of unmarked sound, drawn at random" in caplog.text
    # Neither what is uncertain nor what touches a stretch is background.
    assert not drawn & {(0, 10), (2, 6), (2, 8)}
    whole = join_labels(table, source, rule=ALL)
    assert len(whole.clips) == 60 - 3
    again = join_labels(table, source)
    np.testing.assert_array_equal(again.vectors, data.vectors)


def test_of_too_many_segments_those_that_have_a_label_are_kept(
    table: EmbeddingTable,
    labels: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(reading, "MOST", 12)
    data = join_labels(table, labels, rule=ALL)
    assert len(data.clips) == 12
    assert (data.targets == 1).any(axis=1).sum() == 7
    assert "5 of 53 segments that have none, drawn at random" in caplog.text
    monkeypatch.setattr(reading, "MOST", 4)
    assert (join_labels(table, labels, rule=ALL).targets == 1).any(axis=1).all()
    assert "4 of 7 segments that have a label, drawn at random" in caplog.text


@pytest.mark.parametrize("unit", list(Unit))
def test_signs_without_times_are_of_whole_clips_or_of_all_their_segments(
    table: EmbeddingTable, tmp_path: Path, unit: Unit
) -> None:
    path = tmp_path / "audio" / "t.csv"
    path.parent.mkdir()
    path.write_text(
        "path,label,sign\na/one.wav,wren,+\na/two.wav,wren,-\nb/three.wav,tit,+\na/two.wav,tit,?\n"
    )
    data = join_labels(table, str(path), unit)
    known = dict(zip(data.clips, data.targets.tolist(), strict=True))
    np.testing.assert_array_equal(
        [known[name] for name in RECORDINGS], [[0, 1], [np.nan, 0], [1, 0]]
    )
    assert len(data.clips) == (3 if unit is Unit.CLIP else 90)
    if unit is Unit.CLIP:
        np.testing.assert_array_equal(data.vectors, table.clip_vectors()[1])


def test_labels_of_whole_clips_say_the_same_with_the_times_of_their_clips(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    with_times = write_labels(
        tmp_path / "audio" / "times.csv",
        ["a/one.wav,0,39.5,wren", "a/two.wav,0:00,0:29.5,tit", "b/three.wav,,,wren"],
    )
    whole = tmp_path / "audio" / "whole.csv"
    whole.write_text("path,label\na/one.wav,wren\na/two.wav,tit\nb/three.wav,wren\n")
    one, other = join_labels(table, with_times), join_labels(table, str(whole), Unit.SEGMENT)
    assert (one.clips, one.labels, one.groups) == (other.clips, other.labels, other.groups)
    assert one.several_labels == other.several_labels
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.targets, other.targets)


def test_stretches_of_no_use_are_counted_and_named(
    table: EmbeddingTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["a/one.wav,3,5,wren", "a/two.wav,29.02,41,wren", "a/one.wav,50,51.5,wren"]
    join_labels(table, write_labels(tmp_path / "audio" / "t.csv", rows))
    assert "1 stretches reach no segment: a/one.wav, 50 to 51.5 s, wren" in caplog.text
    assert (
        "2 stretches end after their clips do: a/one.wav, 50 to 51.5 s, wren; a/two.wav, 29.02 to"
        " 41 s, wren" in caplog.text
    )


def test_times_that_reach_no_segment_at_all_are_an_error(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no segment has a label of: wren"):
        join_labels(table, write_labels(tmp_path / "audio" / "t.csv", ["a/one.wav,77,78,wren"]))


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("a/one.wav", "a/one.wav"),
        ("a/one", "a/one.wav"),  # as in a label file's name
        ("one.wav", "a/one.wav"),  # as in Raven's Begin File
        ("three", "b/three.wav"),
        ("D:\\field\\a\\one.wav", "a/one.wav"),  # as in Raven's Begin Path
        ("/home/me/old/b/three.wav", "b/three.wav"),
        ("one.flac", None),
        ("One.wav", None),
    ],
)
def test_a_recording_is_known_by_what_is_left_of_its_path(
    table: EmbeddingTable, tmp_path: Path, name: str, joined: str | None
) -> None:
    source = write_labels(tmp_path / "tables" / "t.csv", [f"{name},3,5,wren"])
    if joined is None:
        with pytest.raises(DatasetError, match="no label joins a clip"):
            join_labels(table, source)
    else:
        assert set(join_labels(table, source).clips) == {joined}


def test_a_name_that_two_recordings_have_joins_neither(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = {name: draw(9) for name in ("a/one.wav", "b/one.wav", "b/two.wav")}
    table = write_table_of(tmp_path / "emb", clips)
    rows = ["one.wav,3,5,wren", "two.wav,3,5,wren"]
    data = join_labels(table, write_labels(tmp_path / "t.csv", rows))
    assert set(data.clips) == {"b/two.wav"}
    assert "1 of 2 labels have no clip with vectors, as that of one.wav" in caplog.text


def test_a_folder_of_label_files_that_stands_elsewhere_mirrors_the_sounds(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "a").mkdir(parents=True)
    (folder / "a/one.txt").write_text("3.0\t5.0\twren\n")
    (folder / "three.Table.1.selections.txt").write_text(
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tCall\n1\tSpectrogram 1\t8.6\t9.4\twren\n"
    )
    data = join_labels(table, str(folder), rule=ALL)
    assert [place for place, value in zip(places(data), data.targets, strict=True) if value[0]] == [
        *((0, 3), (0, 4), (2, 8), (2, 9)),
    ]


def test_no_split_separates_a_recording_or_its_group(table: EmbeddingTable, tmp_path: Path) -> None:
    rows = [
        *("a/one.wav,3,5,wren,g", "a/one.wav,13,15,tit,g", "a/two.wav,1,2,wren,g"),
        *("b/three.wav,3,9,tit,h", "b/three.wav,12,15,wren,h"),
    ]
    data = join_labels(table, write_labels(tmp_path / "audio" / "t.csv", rows, ",group"))
    for chosen in (splits.choose(data, share=0.5)[1], splits.choose(data, folds=2)[1]):
        for fitted, held in chosen:
            assert {data.groups[n] for n in fitted} | {data.groups[n] for n in held} == {"g", "h"}
            assert not {data.groups[n] for n in fitted} & {data.groups[n] for n in held}
    alone = join_labels(table, write_labels(tmp_path / "audio" / "u.csv", [r[:-2] for r in rows]))
    for fitted, held in splits.choose(alone, folds=3)[1]:
        assert not {alone.clips[n] for n in fitted} & {alone.clips[n] for n in held}
