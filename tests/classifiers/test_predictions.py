"""Predictions as tables and tracks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from command import run, succeed
from made import draw, fit, labelled, write_table_of

from embedkit.classifiers import evaluate as classify
from embedkit.classifiers import tracks as predictions_module
from embedkit.classifiers.tracks import (
    Span,
    TrackFormat,
    above,
    best,
    merge,
    write_table,
    write_tracks,
)
from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.labels.join import Unit
from embedkit.store import writer as writer_module


@pytest.mark.parametrize("unit", list(Unit))
def test_predictions_read_back_equal_from_csv_and_parquet(tmp_path: Path, unit: Unit) -> None:
    clips = ["a.wav", 'say "hi", 2.wav', "two\nlines.wav", "Ünï 鸟.wav", "NA", "007"]
    labels = ("dog, big", 'the "cat"', "x")
    scores = np.random.default_rng(0).dirichlet(np.ones(3), len(clips))
    scores[0] = [1e-300, 1 - 2**-53, 0.1]
    start = np.arange(6) / 3 if unit is Unit.SEGMENT else None
    end = None if start is None else start + 0.5
    batches = [
        classify.Predictions(
            clips=clips[part],
            start_s=None if start is None else start[part],
            end_s=None if end is None else end[part],
            scores=scores[part],
        )
        for part in (slice(0, 4), slice(4, 6))
    ]
    for name in ("p.csv", "p.parquet"):
        assert list(write_table(tmp_path / name, labels, batches, unit)) == batches
    text = {"clip": str, "label": str}
    frames = [
        pd.read_csv(tmp_path / "p.csv", dtype=text, keep_default_na=False),
        pd.read_parquet(tmp_path / "p.parquet"),
    ]
    spans = [] if start is None else ["start_s", "end_s"]
    for frame in frames:
        names = [f"score:{label}" for label in labels]
        assert list(frame) == ["clip", *spans, "label", "score", *names]
        assert frame["clip"].tolist() == clips
        assert frame["label"].tolist() == [labels[row.argmax()] for row in scores]
        # To the last digit but one: so pandas reads numbers from text.
        np.testing.assert_allclose(frame["score"], scores.max(axis=1), rtol=1e-15)
        np.testing.assert_allclose(frame[names].to_numpy(), scores, rtol=1e-15)
        if start is not None:
            np.testing.assert_allclose(frame["start_s"], start, rtol=1e-15)
    with pytest.raises(UsageError, match=r"name a file that ends in \.csv or \.parquet"):
        list(write_table(tmp_path / "p.txt", labels, batches, unit))


@pytest.mark.parametrize("unit", list(Unit))
def test_a_folder_without_rows_is_a_table_without_rows(tmp_path: Path, unit: Unit) -> None:
    fitted = fit(labelled(3))
    fitted.save(tmp_path / "classifier")
    for name, clips in (("some", {"a.wav": draw(2, 6)}), ("none", {})):
        write_table_of(tmp_path / name, clips, size=6)
        for suffix in ("csv", "parquet"):
            succeed(
                *("classify", "predict", tmp_path / name, "--classifier", tmp_path / "classifier"),
                *("--out", tmp_path / f"{name}.{suffix}"),
                *(["--segments"] if unit is Unit.SEGMENT else []),
            )
    none = pyarrow.parquet.read_table(tmp_path / "none.parquet")
    assert len(none) == 0
    assert none.schema == pyarrow.parquet.read_schema(tmp_path / "some.parquet")
    lines = (tmp_path / "none.csv").read_text().splitlines()
    assert lines == (tmp_path / "some.csv").read_text().splitlines()[:1]
    assert lines == [",".join(f'"{name}"' for name in none.schema.names)]


def test_neighbours_of_one_label_become_one_span() -> None:
    def span(clip: str, start: float, end: float, label: str, score: float) -> Span:
        return Span(clip, start, end, label, score)

    found = merge(
        [
            span("b", 0, 1, "x", 0.5),
            span("a", 1, 2, "x", 0.8),
            span("a", 0, 1, "x", 0.6),
            span("a", 1.5, 2.5, "x", 0.7),  # windows may overlap
            span("a", 3, 4, "x", 0.9),  # a gap
            span("a", 4, 5, "y", 0.9),
        ]
    )
    assert found == [
        ("a", 0, 2.5, "x", 0.8),
        ("a", 3, 4, "x", 0.9),
        ("a", 4, 5, "y", 0.9),
        ("b", 0, 1, "x", 0.5),
    ]


def test_labels_at_once_are_spans_side_by_side() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.5], [0.1, 0.3, 0.9]])
    rows = classify.Predictions(
        clips=["a"] * 3, scores=scores, start_s=np.arange(3.0), end_s=np.arange(3.0) + 1
    )
    found = merge(above(rows, ("dog", "rain", "wind"), 0.5))
    assert found == [
        ("a", 0, 1, "rain", 0.8),
        ("a", 0, 2, "dog", 0.9),
        ("a", 1, 3, "wind", 0.9),
    ]


def test_labels_at_once_stand_in_both_tracks_and_in_what_is_printed(tmp_path: Path) -> None:
    # A label for each number: logistic regression on these is sure of its sign.
    targets = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 5, np.float32)
    vectors = 8 * targets - 4
    data = replace(labelled(2, 10), vectors=vectors, labels=("dog", "rain"))
    fitted = fit(data, targets=targets, several_labels=True)
    fitted.save(tmp_path / "classifier")
    write_table_of(tmp_path / "emb", {"a.wav": vectors[[0, 1, 3]], "b.wav": vectors[[3]]}, last_s=1)
    predict = ("classify", "predict", tmp_path / "emb", "--classifier", tmp_path / "classifier")
    succeed(*predict, "--audacity", tmp_path / "audacity", "--raven", tmp_path / "raven")
    assert [path.name for path in (tmp_path / "audacity").iterdir()] == ["a.wav.txt"]
    text = (tmp_path / "audacity" / "a.wav.txt").read_text()
    assert text == "0.000000\t1.000000\train\n0.000000\t2.000000\tdog\n"
    frame = pd.read_csv(tmp_path / "raven" / "a.wav.txt", sep="\t")
    assert frame["Label"].tolist() == ["rain", "dog"]
    assert frame["End Time (s)"].tolist() == [1, 2]
    scores = fitted.scores(vectors[:2])
    np.testing.assert_allclose(frame["Score"], [scores[0, 1], scores[:, 0].max()], atol=1e-4)
    lines = [line.split() for line in succeed(*predict, "--segments").splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["a.wav", "0.00", "1.00", "dog"],
        ["a.wav", "0.00", "1.00", "rain"],
        ["a.wav", "1.00", "2.00", "dog"],
    ]


@pytest.mark.parametrize("several", [False, True])
def test_tracks_written_as_they_come_are_those_of_all_spans_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    monkeypatch.setattr(writer_module, "ROW_GROUP_BYTES", 5 * (4 * 6 + 24))  # 5 rows
    clips = {f"{n}.wav": draw(n % 9 + 1, 6, n) for n in range(40)}  # some in three groups
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3), several_labels=several)
    fitted.save(tmp_path / "classifier")
    spans = [
        span
        for batch in classify.predict(table, fitted, Unit.SEGMENT)
        for span in (above(batch, fitted.labels, 0.4) if several else best(batch, fitted.labels))
        if span.score >= 0.4
    ]
    held = []

    def spy(folder: Path, form: TrackFormat, spans: list[Span], sample_rate: int) -> int:
        held.append(len(spans))
        return write_tracks(folder, form, spans, sample_rate)

    monkeypatch.setattr(predictions_module, "write_tracks", spy)
    done = run(
        *("classify", "predict", tmp_path / "emb", "--classifier", tmp_path / "classifier"),
        *("--audacity", tmp_path / "audacity", "--raven", tmp_path / "raven", "--least", "0.4"),
    )
    for form in TrackFormat:
        count = write_tracks(tmp_path / "whole" / form, form, spans, 16000)
        assert f"{form}: tracks of {count} clips" in done.stderr
        found, expected = (
            {path.name: path.read_text() for path in folder.iterdir()}
            for folder in (tmp_path / form, tmp_path / "whole" / form)
        )
        assert found == expected
    assert sum(held) == 2 * len(merge(spans))
    assert max(held) <= 3 * 15  # of a few clips, and of none twice


def test_tracks_are_what_audacity_and_raven_read(tmp_path: Path) -> None:
    spans = [Span("d/a.wav", 0, 1, "dog\tbark", 0.75), Span("d/a.wav", 2, 3.5, "cat", 0.5)]
    assert write_tracks(tmp_path / "audacity", TrackFormat.AUDACITY, spans, 16000) == 1
    text = (tmp_path / "audacity" / "d" / "a.wav.txt").read_text()
    assert text == "0.000000\t1.000000\tdog bark\n2.000000\t3.500000\tcat\n"
    write_tracks(tmp_path / "raven", TrackFormat.RAVEN, spans, 16000)
    frame = pd.read_csv(tmp_path / "raven" / "d" / "a.wav.txt", sep="\t")
    assert frame["Selection"].tolist() == [1, 2]
    assert frame["Begin Time (s)"].tolist() == [0, 2]
    assert frame["End Time (s)"].tolist() == [1, 3.5]
    assert frame["High Freq (Hz)"].tolist() == [8000, 8000]
    assert frame["Label"].tolist() == ["dog bark", "cat"]
    assert frame["Score"].tolist() == [0.75, 0.5]


def test_a_clip_whose_name_leads_out_of_the_folder_has_no_track(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingFolderError, match="leads out of"):
        write_tracks(tmp_path / "t", TrackFormat.AUDACITY, [Span("../x", 0, 1, "a", 1.0)], 16000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", list(Unit))
def test_predict_names_the_best_label_of_every_clip_or_segment(tmp_path: Path, unit: Unit) -> None:
    clips = {f"{number}.wav": draw(number % 3 + 1, 6, number) for number in range(7)}
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3))
    spans = [span for part in classify.predict(table, fitted, unit) for span in best(part, "abc")]
    if unit is Unit.CLIP:
        names, vectors = table.clip_vectors()
        keys = [(name, 0.0, 0.0) for name in names]
    else:
        rows = table.rows()
        vectors = rows.embeddings
        keys = list(zip(rows.clips, rows.start_s, rows.end_s, strict=True))
    scores = fitted.scores(vectors)
    expected = [
        (*key, "abc"[row.argmax()], pytest.approx(row.max()))
        for key, row in zip(keys, scores, strict=True)
    ]
    assert sorted(spans) == expected
