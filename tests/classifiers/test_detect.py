"""Detections: their places, their scores, and the files that other tools read."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import run, succeed
from made import fit, labelled, write_table_of

from embedkit.classifiers.detect import Criteria, detect, own_parts, strongest
from embedkit.classifiers.detections import SCHEMA, DetectionFormat, write_detections
from embedkit.classifiers.evaluate import Predictions, predict
from embedkit.classifiers.thresholds import chosen, read_thresholds
from embedkit.classifiers.tracks import Span
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import Unit, find_labels
from embedkit.store import EmbeddingTable


def windows(clip: str, scores: list[float], hop: float, last_s: float = 1.0) -> Predictions:
    """Scores of one label of windows of 1 s; the last one ends after `last_s`."""
    start_s = np.arange(len(scores)) * hop
    end_s = start_s + 1
    end_s[-1] += last_s - 1
    return Predictions(
        clips=[clip] * len(scores), start_s=start_s, end_s=end_s, scores=np.array(scores)[:, None]
    )


def cut(whole: Predictions, places: list[int]) -> Iterator[Predictions]:
    for first, last in zip([0, *places], [*places, len(whole.clips)], strict=True):
        yield Predictions(
            clips=whole.clips[first:last],
            start_s=whole.start_s[first:last],
            end_s=whole.end_s[first:last],
            scores=whole.scores[first:last],
        )


def together(*parts: Predictions) -> Predictions:
    return Predictions(
        clips=[clip for part in parts for clip in part.clips],
        start_s=np.concatenate([part.start_s for part in parts]),
        end_s=np.concatenate([part.end_s for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
    )


def find(batches: Iterator[Predictions] | list[Predictions], **criteria: object) -> list[Span]:
    criteria = {"thresholds": {"x": 0.5}, **criteria}
    return list(detect(batches, ("x",), Criteria(**criteria)))


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_the_own_parts_of_segments_tile_each_clip(hop: float) -> None:
    whole = together(windows("a", [0.5] * 9, hop, 0.8), windows("b", [0.5] * 4, hop, 0.3))
    expected = together(*own_parts([whole]))
    for clip, count, last_s in (("a", 9, 0.8), ("b", 4, 0.3)):
        mine = np.array(expected.clips) == clip
        # The middle of what two have in common, which is as far from both of their middles.
        edges = (np.arange(1, count) + 0) * hop + (1 - hop) / 2
        end = (count - 1) * hop + last_s
        # The last but one may end behind the clip's real end in a test that makes it so.
        np.testing.assert_allclose(expected.start_s[mine], [0, *edges])
        np.testing.assert_allclose(expected.end_s[mine], [*edges, end])
    for places in ([1], [3, 9], [0, 5, 5, 12], list(range(13))):
        found = together(*own_parts(cut(whole, places)))
        assert found.clips == expected.clips
        np.testing.assert_array_equal(found.start_s, expected.start_s)
        np.testing.assert_array_equal(found.end_s, expected.end_s)


def test_segments_that_do_not_overlap_stay_as_they_are() -> None:
    for hop in (1.0, 1.5):
        whole = windows("a", [0.5] * 5, hop)
        found = together(*own_parts([whole]))
        np.testing.assert_array_equal(found.start_s, whole.start_s)
        np.testing.assert_array_equal(found.end_s, whole.end_s)


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 1.0])
def test_of_a_classifier_that_hears_what_is_labelled_detections_are_the_events(hop: float) -> None:
    # It hears an event in each window that the event covers half of: then both ends of what is
    # detected are at most half a hop from those of the event.
    rng = np.random.default_rng(0)
    count = int(59 / hop) + 1
    start = np.arange(count) * hop
    for _ in range(40):
        begin = rng.uniform(2, 30)
        end = begin + rng.uniform(1, 20)
        covered = np.minimum(start + 1, end) - np.maximum(start, begin)
        found = find([windows("a", list(np.where(covered >= 0.5 - 1e-9, 0.9, 0.1)), hop)])
        assert len(found) == 1
        assert abs(found[0].start_s - begin) <= hop / 2 + 1e-6
        assert abs(found[0].end_s - end) <= hop / 2 + 1e-6


def test_neighbours_are_one_detection_with_the_best_score() -> None:
    scores = [0.1, 0.6, 0.9, 0.5, 0.2, 0.7, 0.4, 0.4, 0.8]
    found = find([together(windows("a", scores, 1.0, 0.5), windows("b", [0.9, 0.1], 1.0))])
    assert found == [
        ("a", 1, 4, "x", 0.9),
        ("a", 5, 6, "x", 0.7),
        ("a", 8, 8.5, "x", 0.8),
        ("b", 0, 1, "x", 0.9),
    ]
    whole = [together(windows("a", scores, 1.0, 0.5), windows("b", [0.9, 0.1], 1.0))]
    assert find(whole, gap_s=1.0)[:2] == [("a", 1, 6, "x", 0.9), ("a", 8, 8.5, "x", 0.8)]
    assert find(whole, gap_s=2.0)[0] == ("a", 1, 8.5, "x", 0.9)
    assert find(whole, least_s=1.0) == [span for span in found if span.end_s != 8.5]
    assert find(whole, least_s=2.0) == found[:1]
    assert find(whole, top_per_file=1) == [found[0], found[3]]
    assert find(whole, thresholds={"x": 0.9}) == [("a", 2, 3, "x", 0.9), ("b", 0, 1, "x", 0.9)]
    assert find(whole, thresholds={}) == []
    assert find([]) == []


def test_detections_are_those_of_a_grid_of_seconds() -> None:
    rng = np.random.default_rng(1)
    labels = ("x", "y")
    for gap in (0.0, 1.0, 2.0):
        scores = {clip: rng.random((30, 2)) for clip in "abc"}
        whole = together(
            *(replace(windows(clip, [0.0] * 30, 1.0), scores=mine) for clip, mine in scores.items())
        )
        places = np.sort(rng.integers(0, 91, 7)).tolist()
        criteria = Criteria(thresholds={"x": 0.6, "y": 0.3}, gap_s=gap)
        found = list(detect(cut(whole, places), labels, criteria))
        expected = []
        for clip, mine in scores.items():
            for index, (label, least) in enumerate((("x", 0.6), ("y", 0.3))):
                lit = np.flatnonzero(mine[:, index] >= least)
                for run_ in np.split(lit, np.flatnonzero(np.diff(lit) > gap + 1) + 1):
                    best = mine[run_, index].max()
                    expected.append(Span(clip, run_[0], run_[-1] + 1, label, best))
        assert found == sorted(expected)


def test_detections_come_as_the_batches_do() -> None:
    def endless() -> Iterator[Predictions]:
        number = 0
        while True:
            yield windows(f"{number:06d}", [0.9, 0.1, 0.8], 1.0)
            number += 1

    found = list(islice(detect(endless(), ("x",), Criteria(thresholds={"x": 0.5})), 2000))
    assert found[-1] == ("000999", 2, 3, "x", 0.8)


def test_the_strongest_of_each_label_are_kept() -> None:
    rng = np.random.default_rng(2)
    spans = [
        Span(f"{rng.integers(9)}", float(n), n + 1.0, "xyz"[n % 3], float(rng.integers(50)))
        for n in range(3000)
    ]
    found = strongest(iter(spans), 7)
    for label in "xyz":
        mine = sorted((s for s in spans if s.label == label), key=lambda s: (-s.score, s))[:7]
        assert [span for span in found if span.label == label] == sorted(mine)


@pytest.fixture
def collection(tmp_path: Path) -> EmbeddingTable:
    rows = np.random.default_rng(0).permutation(labelled(3).vectors)
    clips = {f"d {n}/Ünï {n}.wav": rows[7 * n : 8 * n + 2] for n in range(5)}
    return write_table_of(tmp_path / "emb", clips, root=tmp_path / "audio")


def spans_of(table: EmbeddingTable) -> list[Span]:
    fitted = fit(labelled(3), several_labels=True)
    criteria = Criteria(thresholds=dict.fromkeys(fitted.labels, 0.4))
    return list(detect(predict(table, fitted, Unit.SEGMENT), fitted.labels, criteria))


def read_back(path: Path, form: DetectionFormat, table: EmbeddingTable) -> list[Span]:
    """As other programs read them."""
    root = f"{table.provenance.audio_root}/"
    if form is DetectionFormat.AUDACITY:
        return [
            Span(str(track.relative_to(path))[: -len(".txt")], float(start), float(end), label, 0)
            for track in path.rglob("*.txt")
            for start, end, label in (line.split("\t") for line in track.read_text().splitlines())
        ]
    if form is DetectionFormat.PARQUET:
        rows = pd.read_parquet(path)
        assert list(rows) == SCHEMA.names
    else:
        rows = pd.read_csv(path, sep="\t" if form is DetectionFormat.RAVEN else ",")
    if form is DetectionFormat.RAVEN:
        assert rows["Selection"].tolist() == list(range(1, len(rows) + 1))
        seconds = rows["End Time (s)"] - rows["Begin Time (s)"]
        rows = pd.DataFrame(
            {
                "path": rows["Begin Path"].str.removeprefix(root),
                "start_s": rows["File Offset (s)"],
                "end_s": rows["File Offset (s)"] + seconds,
                "label": rows["Label"],
                "score": rows["Score"],
            }
        )
    if form is DetectionFormat.BIRDNET:
        names = ["start_s", "end_s", "scientific", "label", "score", "path"]
        rows.columns = pd.Index(names)
        assert rows["scientific"].tolist() == rows["label"].tolist()
        rows["path"] = rows["path"].str.removeprefix(root)
    return [Span(*row) for row in rows[SCHEMA.names].itertuples(index=False)]


@pytest.mark.parametrize("form", list(DetectionFormat))
def test_every_format_reads_back(
    tmp_path: Path, collection: EmbeddingTable, form: DetectionFormat
) -> None:
    spans = spans_of(collection)
    assert len(spans) > 10
    path = tmp_path / "out" / "detections.x"
    assert write_detections(path, form, iter(spans), collection) == len(spans)
    found = sorted(read_back(path, form, collection))
    assert [span[0] for span in found] == [span.clip for span in spans]
    assert [span[3] for span in found] == [span.label for span in spans]
    np.testing.assert_allclose([span[1:3] for span in found], [span[1:3] for span in spans])
    if form is not DetectionFormat.AUDACITY:
        np.testing.assert_allclose(
            [span.score for span in found], [span.score for span in spans], atol=1e-4
        )


def test_raven_finds_the_place_in_all_files_one_behind_the_other(
    tmp_path: Path, collection: EmbeddingTable
) -> None:
    # They last n + 1.5 s.
    span = Span("d 3/Ünï 3.wav", 1.0, 2.0, "x", 1.0)
    write_detections(tmp_path / "r.selections.txt", DetectionFormat.RAVEN, [span], collection)
    row = pd.read_csv(tmp_path / "r.selections.txt", sep="\t").iloc[0]
    assert row["Begin Time (s)"] == 1.5 + 2.5 + 3.5 + 1
    assert row["End Time (s)"] == 1.5 + 2.5 + 3.5 + 2
    assert row["File Offset (s)"] == 1


def test_a_format_is_known_by_the_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.parquet", "c.selections.txt", "D.CSV"):
        assert DetectionFormat.of(tmp_path / name).value in {"csv", "parquet", "raven"}
    with pytest.raises(UsageError, match=r"name a file that ends in \.csv, \.parquet"):
        DetectionFormat.of(tmp_path / "tracks")


def test_labels_are_asked_for_one_by_one_or_several_at_once() -> None:
    labels = ("Dog", "Speech, male", "Cat")
    assert chosen(labels, None) == list(labels)
    assert chosen(labels, ["Cat, Dog"]) == ["Cat", "Dog"]
    assert chosen(labels, ["Speech, male", "Cat"]) == ["Speech, male", "Cat"]
    with pytest.raises(UsageError, match="no label 'dog'; did you mean Dog"):
        chosen(labels, ["Cat,dog"])


def test_thresholds_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.csv"
    path.write_text("Label;Threshold\nb;0,25\na;1\n")
    assert read_thresholds(path, ("a", "b", "c")) == {"a": 1, "b": 0.25}
    path.write_text("label,threshold\nd,0.5\n")
    with pytest.raises(DatasetError, match="row 2: no label 'd'"):
        read_thresholds(path, ("a", "b"))
    path.write_text("label,threshold\na,0.5\na,0.6\n")
    with pytest.raises(DatasetError, match="row 3: a second threshold of 'a'"):
        read_thresholds(path, ("a", "b"))


@pytest.mark.parametrize("several", [False, True])
def test_the_command_prints_and_writes_what_the_library_finds(
    tmp_path: Path, collection: EmbeddingTable, several: bool
) -> None:
    fitted = fit(labelled(3), several_labels=several)
    fitted.save(tmp_path / "classifier")
    detect_ = ("detect", collection.folder, "--classifier", tmp_path / "classifier")

    def expected(thresholds: dict[str, float], **more: object) -> list[Span]:
        criteria = Criteria(thresholds=thresholds, **more)
        batches = predict(collection, fitted, Unit.SEGMENT)
        return sorted(detect(batches, fitted.labels, criteria))

    everything = dict.fromkeys("abc", 0.5)
    out = tmp_path / "found.csv"
    assert succeed(*detect_, "--out", out) == ""
    rows = pd.read_csv(out)
    assert list(rows) == SCHEMA.names
    assert [Span(*row) for row in rows.itertuples(index=False)] == expected(everything)
    lines = [line.split() for line in succeed(*detect_, "--labels", "a,b").splitlines()]
    assert lines[0] == ["start_s", "end_s", "score", "label", "path"]
    mine = expected({"a": 0.5, "b": 0.5})
    assert len(mine) > 2
    assert [(float(line[0]), line[3]) for line in lines[1:]] == [(s.start_s, s.label) for s in mine]
    (tmp_path / "t.csv").write_text("label,threshold\na,0.9\nc,0.2\n")

    def printed(*options: object) -> list[Span]:
        rows = json.loads(succeed(*detect_, *options, "--json"))
        return [Span(*(row[name] for name in SCHEMA.names)) for row in rows]

    (tmp_path / "t.csv").write_text("label,threshold\na,0.9\nc,0.2\n")
    assert printed("--thresholds", tmp_path / "t.csv") == expected({"a": 0.9, "c": 0.2})
    found = expected(dict.fromkeys("abc", 0.3), gap_s=1.0, least_s=1.0)
    options = ("--threshold", "0.3", "--gap", 1, "--least", 1)
    assert printed(*options) == found
    assert printed(*options, "--top", 2) == strongest(found, 2)
    assert len(strongest(found, 2)) < len(found)
    best = expected(dict.fromkeys("abc", 0.3), gap_s=1.0, least_s=1.0, top_per_file=1)
    assert printed(*options, "--top-per-file", 1) == best


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--labels", "a,d"], "no label 'd'"),
        (["--out", "x.txt"], "name a file that ends in"),
        (["--format", "raven"], "--format needs --out"),
        (["--out", "x.csv", "--format", "mp3"], "no format 'mp3'"),
        (["--threshold", "0.5", "--thresholds", "t.csv"], "choose one of"),
        (["--labels", "a,b", "--thresholds", "t.csv"], "has no threshold of b"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    tmp_path: Path,
    collection: EmbeddingTable,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(labelled(3)).save(Path("classifier"))
    Path("t.csv").write_text("label,threshold\na,0.9\n")
    done = run("detect", collection.folder, "--classifier", "classifier", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (DetectionFormat.CSV, "detections.csv"),
        (DetectionFormat.PARQUET, "detections.parquet"),
        (DetectionFormat.RAVEN, "detections.selections.txt"),
        (DetectionFormat.AUDACITY, "tracks"),
        (DetectionFormat.BIRDNET, "birdnet.csv"),
    ],
)
def test_what_is_detected_are_labels(
    tmp_path: Path, collection: EmbeddingTable, form: DetectionFormat, name: str
) -> None:
    spans = spans_of(collection)
    write_detections(tmp_path / name, form, spans, collection)
    known, manifest = find_labels(collection.clip_names(), collection, str(tmp_path / name))
    assert manifest.has_times
    found = sorted(
        (clip, each.label, each.start_s, each.end_s)
        for clip in known
        for each in known[clip].stretches
    )
    expected = sorted((span.clip, span.label, span.start_s, span.end_s) for span in spans)
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    np.testing.assert_allclose(
        [each[2:] for each in found], [each[2:] for each in expected], atol=1e-5
    )
