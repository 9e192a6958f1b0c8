"""Names of clips and stretches: against closed forms, and surroundings by brute force."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from made import draw, log_odds, namer, write_table_of
from scipy.special import expit

from embedkit.classifiers.tracks import Span, TrackFormat
from embedkit.errors import EmbedkitError, UsageError
from embedkit.names import surroundings
from embedkit.names.surroundings import surrounded
from embedkit.names.tagging import Tagged, tag_clips, tag_stretches, write_tags, write_track
from embedkit.store import EmbeddingTable, writer

NAMES = namer("dog", "rain", "speech, quiet")


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """Of 1 s a row; the last second of a clip has 0.5 s of sound."""
    return write_table_of(
        tmp_path / "emb",
        {
            "b.wav": log_odds((0.9, 0.1, 0.4), (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.9, 0.1, 0.1)),
            "a.wav": log_odds((0.2, 0.1, 0.1), (0.2, 0.1, 0.1)),
            "c.wav": log_odds((0.6, 0.7, 0.5)),
        },
    )


def brief(tagged: Tagged) -> list[tuple[Any, ...]]:
    return [(span.start_s, span.end_s, span.label, round(span.score, 5)) for span in tagged.spans]


def test_the_probability_that_a_name_must_have_is_enough(table: EmbeddingTable) -> None:
    [_, _, whole] = tag_clips(table, NAMES, least=0)
    least = whole.spans[1].score
    [_, _, found] = tag_clips(table, NAMES, least=least)
    assert found.spans == whole.spans[:2]
    [_, _, fewer] = tag_clips(table, NAMES, least=np.nextafter(least, 1))
    assert fewer.spans == whole.spans[:1]


@pytest.mark.parametrize("rows_at_once", [1, 7, 10_000])
@pytest.mark.parametrize(("hop_s", "around_s"), [(1.0, 3.0), (1.0, 6.4), (0.5, 3.0), (0.4, 0.0)])
def test_surroundings_are_what_lies_in_the_seconds_about_a_segment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows_at_once: int,
    hop_s: float,
    around_s: float,
) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", rows_at_once * (4 * 4 + 24))
    monkeypatch.setattr(surroundings, "AT_ONCE", 5)
    lengths = {"d.wav": 1, "a.wav": 23, "c.wav": 2, "b.wav": 9}
    clips = {name: draw(rows, seed=rows) for name, rows in lengths.items()}
    table = write_table_of(tmp_path / "emb", clips, last_s=0.7, hop_s=hop_s)

    found = list(surrounded(table, around_s))
    assert max(len(rows.clips) for rows in found) <= 5
    vectors = np.concatenate([rows.embeddings for rows in found])
    expected = []
    for clip in lengths:
        rows = table.clip_rows(clip)
        for middle in rows.start_s + 0.5:
            low, high = middle - max(around_s, 1) / 2 - 1e-6, middle + max(around_s, 1) / 2 + 1e-6
            inside = (rows.start_s >= low) & (rows.start_s + 1 <= high)
            seconds = (rows.end_s - rows.start_s)[inside]
            expected.append(np.average(rows.embeddings[inside], axis=0, weights=seconds))
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)
    places = [(clip, segment) for clip, rows in lengths.items() for segment in range(rows)]
    given = [place for rows in found for place in zip(rows.clips, rows.segments, strict=True)]
    assert given == places

    some = list(surrounded(table, around_s, every=3))
    np.testing.assert_array_equal(np.concatenate([rows.embeddings for rows in some]), vectors[::3])


def test_of_a_long_clip_some_rows_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 10 * (4 * 4 + 24))
    table = write_table_of(tmp_path / "emb", {"a.wav": draw(500)})
    held = []

    def join(*parts: Any) -> Any:
        held.append(sum(len(part.clips) for part in parts if part is not None))
        return real(*parts)

    real = surroundings._join
    monkeypatch.setattr(surroundings, "_join", join)
    assert sum(len(rows.clips) for rows in surrounded(table, 7.0)) == 500
    assert max(held) <= 10 + 2 * 3


def test_slivers_count_in_the_means_and_have_no_name(tmp_path: Path) -> None:
    vectors = log_odds((0.9,), (0.9,), (0.1,))
    table = write_table_of(tmp_path / "emb", {"a.wav": vectors}, last_s=0.2)
    (tagged,) = tag_stretches(table, namer("dog"))
    last = expit(np.average(vectors[:, 0], weights=[1, 1, 0.2]))
    assert tagged.duration_s == 2.2
    assert [(span.start_s, span.end_s) for span in tagged.spans] == [(0.0, 2.0)]
    (alone,) = tag_stretches(table, namer("dog"), least=0.88)
    assert 0.8 < last < 0.88
    assert brief(alone) == [(0.0, 1.0, "dog", 0.9)]


def test_a_clip_is_named_by_its_mean_vector(table: EmbeddingTable) -> None:
    found = {tagged.clip: tagged for tagged in tag_clips(table, NAMES, least=0.3)}
    assert list(found) == ["a.wav", "b.wav", "c.wav"]
    rows = table.clip_rows("b.wav").embeddings
    scores = expit(np.average(rows, axis=0, weights=[1, 1, 1, 0.5]))
    assert brief(found["b.wav"]) == [(0.0, 3.5, "dog", round(scores[0], 5))]
    assert scores[0] > 0.3 > max(scores[1:])
    assert found["a.wav"] == Tagged(clip="a.wav", duration_s=1.5, spans=[])
    whole = (0.0, 0.5)
    assert brief(found["c.wav"]) == [
        (*whole, "rain", 0.7), (*whole, "dog", 0.6), (*whole, "speech, quiet", 0.5)
    ]  # fmt: skip


def test_at_most_so_many_names_and_none_below_the_least(table: EmbeddingTable) -> None:
    def names(**settings: Any) -> dict[str, list[str]]:
        found = tag_clips(table, NAMES, **settings)
        return {tagged.clip: [span.label for span in tagged.spans] for tagged in found}

    assert names(top=1)["c.wav"] == ["rain"]
    assert names(least=0.55)["c.wav"] == ["rain", "dog"]
    assert names(least=0.71)["c.wav"] == []
    assert names(least=0.0)["a.wav"] == ["dog", "rain", "speech, quiet"]


def test_neighbours_of_one_name_are_a_stretch(table: EmbeddingTable) -> None:
    found = {tagged.clip: tagged for tagged in tag_stretches(table, NAMES, around_s=1.0)}
    assert brief(found["b.wav"]) == [
        (0.0, 1.0, "speech, quiet", 0.4),
        (0.0, 2.0, "dog", 0.9),
        (2.0, 3.0, "rain", 0.8),
        (3.0, 3.5, "dog", 0.9),
    ]
    assert found["a.wav"] == Tagged(clip="a.wav", duration_s=1.5, spans=[])


def test_a_segment_is_heard_with_its_neighbours(table: EmbeddingTable) -> None:
    found = {tagged.clip: tagged for tagged in tag_stretches(table, NAMES, top=1)}
    rows = table.clip_rows("b.wav")
    scores = []
    for segment in range(4):
        near = slice(max(0, segment - 1), segment + 2)
        seconds = (rows.end_s - rows.start_s)[near]
        scores.append(expit(np.average(rows.embeddings[near], axis=0, weights=seconds)))
    # Rain alone has the third second, and half of it the fourth.
    assert np.argmax(scores, axis=1).tolist() == [0, 0, 0, 1]
    assert [span[1:4] for span in found["b.wav"].spans] == [
        (0.0, 3.0, "dog"), (3.0, 3.5, "rain")
    ]  # fmt: skip
    assert found["b.wav"].spans[1].score == pytest.approx(scores[3][1])


def test_names_of_other_vectors_are_refused(tmp_path: Path) -> None:
    table = write_table_of(tmp_path / "emb", {"a.wav": draw(3, size=2)})
    for tag in (tag_clips, tag_stretches):
        with pytest.raises(EmbedkitError, match="its vectors have 2 numbers"):
            next(tag(table, NAMES))


@pytest.mark.parametrize("stretches", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_holds_every_name_and_the_clips_without(
    table: EmbeddingTable, tmp_path: Path, suffix: str, stretches: bool
) -> None:
    path = tmp_path / f"tags{suffix}"
    tagged = list(tag_stretches(table, NAMES) if stretches else tag_clips(table, NAMES))
    assert list(write_tags(path, tagged)) == tagged
    if suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row.update({key: float(row[key]) for key in ("start_s", "end_s")})
            row.update(
                name=row["name"] or None, score=float(row["score"]) if row["score"] else None
            )
    else:
        rows = pq.read_table(path).to_pylist()
    expected: list[tuple[Any, ...]] = []
    for clip in tagged:
        expected += clip.spans or [(clip.clip, 0.0, clip.duration_s, None, None)]
    assert [tuple(row.values()) for row in rows] == expected
    assert list(rows[0]) == ["clip", "start_s", "end_s", "name", "score"]


def test_a_table_of_no_clips_has_its_columns(tmp_path: Path) -> None:
    assert list(write_tags(tmp_path / "tags.csv", [])) == []
    assert (tmp_path / "tags.csv").read_text() == '"clip","start_s","end_s","name","score"\n'
    table = write_table_of(tmp_path / "emb", {})
    assert list(surrounded(table)) == []
    with pytest.raises(UsageError, match=r"ends in \.csv or \.parquet"):
        list(write_tags(tmp_path / "tags.txt", []))


def test_label_tracks_hold_the_stretches(table: EmbeddingTable, tmp_path: Path) -> None:
    for form in TrackFormat:
        for clip in tag_stretches(table, NAMES, around_s=1.0):
            write_track(tmp_path / form, form, clip, 16000)
    lines = (tmp_path / "audacity" / "b.wav.txt").read_text().splitlines()
    assert lines[1] == "0.000000\t2.000000\tdog"
    assert len(lines) == 4
    # One that an earlier run left with names must not stand for a clip without.
    assert (tmp_path / "audacity" / "a.wav.txt").read_text() == ""
    with (tmp_path / "raven" / "b.wav.txt").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    got = [
        Span("b.wav", float(row["Begin Time (s)"]), float(row["End Time (s)"]), row["Label"],
             float(row["Score"]))
        for row in rows
    ]  # fmt: skip
    spans = next(
        clip.spans for clip in tag_stretches(table, NAMES, around_s=1.0) if clip.clip == "b.wav"
    )
    assert got == [span._replace(score=round(span.score, 4)) for span in spans]
