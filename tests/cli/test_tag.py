"""embedkit tag: what it prints and writes, of names that a made classifier gives."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import run, succeed
from made import log_odds, namer, write_table_of

from embedkit.classifiers.classifier import Classifier
from embedkit.names.bundled import load_names
from embedkit.names.summary import summarise
from embedkit.names.tagging import tag_clips, tag_stretches
from embedkit.store import EmbeddingTable


@pytest.fixture
def emb(tmp_path: Path) -> Path:
    clips = {
        "b.wav": log_odds((0.9, 0.1), (0.9, 0.1), (0.9, 0.8)),
        "a.wav": log_odds((0.2, 0.1), (0.2, 0.1)),
    }
    return write_table_of(tmp_path / "emb", clips).folder


@pytest.fixture
def names(tmp_path: Path) -> Path:
    namer("dog", "rain").save(tmp_path / "names")
    return tmp_path / "names"


def test_clips_are_listed_with_their_names_and_with_none(emb: Path, names: Path) -> None:
    done = run("tag", emb, "--classifier", names, "--least", 0.15)
    assert done.stdout.splitlines() == [
        "clip   names", "a.wav  dog 0.20", "b.wav  dog 0.90; rain 0.19"
    ]  # fmt: skip
    assert done.stderr == ""
    done = run("tag", emb, "--classifier", names)
    assert done.stdout.splitlines() == ["clip   names", "a.wav  none", "b.wav  dog 0.90"]
    assert done.stderr == "1 of 2 clips have no name of probability 0.2 or more\n"


def test_stretches_are_listed_by_time(emb: Path, names: Path) -> None:
    printed = succeed("tag", emb, "--classifier", names, "--stretches", "--around", 1)
    assert printed.splitlines() == [
        "clip   start_s  end_s  name  score",
        "a.wav     0.00   1.50  none",
        "b.wav     0.00   2.50  dog    0.90",
        "b.wav     2.00   2.50  rain   0.80",
    ]


@pytest.mark.parametrize("stretches", [False, True])
def test_json_and_the_file_say_what_the_library_says(
    emb: Path, names: Path, tmp_path: Path, stretches: bool
) -> None:
    options = ["--stretches"] * stretches
    found = json.loads(succeed("tag", emb, "--classifier", names, "--json", *options))
    table, fitted = EmbeddingTable.open(emb), Classifier.load(names)
    tagged = list(tag_stretches(table, fitted) if stretches else tag_clips(table, fitted))
    expected = {
        clip.clip: [(span.start_s, span.end_s, span.label, span.score) for span in clip.spans]
        for clip in tagged
    }
    assert [answer["clip"] for answer in found] == ["a.wav", "b.wav"]
    assert [answer["duration_s"] for answer in found] == [1.5, 2.5]
    for answer in found:
        if stretches:
            mine = [tuple(name.values()) for name in answer["names"]]
        else:
            mine = [(0.0, answer["duration_s"], *name.values()) for name in answer["names"]]
        assert mine == expected[answer["clip"]]

    out = tmp_path / "tags.csv"
    assert succeed("tag", emb, "--classifier", names, "--out", out, *options) == ""
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for clip, spans in expected.items():
        mine = [row for row in rows if row["clip"] == clip]
        assert [(row["name"], row["score"]) for row in mine] == [
            (label, str(score)) for *_, label, score in spans
        ] or [("", "")]


def test_tracks_are_of_stretches(emb: Path, names: Path, tmp_path: Path) -> None:
    done = run("tag", emb, "--classifier", names, "--audacity", tmp_path / "a", "--around", 1)
    assert done.stdout == ""
    assert (tmp_path / "a" / "a.wav.txt").read_text() == ""
    assert (tmp_path / "a" / "b.wav.txt").read_text() == (
        "0.000000\t2.500000\tdog\n2.000000\t2.500000\train\n"
    )
    assert done.stderr.splitlines()[0] == f"{tmp_path / 'a'}: names of 2 clips"
    succeed("tag", emb, "--classifier", names, "--raven", tmp_path / "r", "--json")
    assert "dog\t" in (tmp_path / "r" / "b.wav.txt").read_text()


def test_a_folder_without_clips_gives_a_table_without_rows(names: Path, tmp_path: Path) -> None:
    emb = write_table_of(tmp_path / "none", {}, size=2).folder
    assert succeed("tag", emb, "--classifier", names) == "clip  names\n"
    assert json.loads(succeed("tag", emb, "--classifier", names, "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--classifier", "names", "--model", "model"), 2, "leave out --model"),
        (("--classifier", "names", "--out", "tags.txt"), 2, "ends in .csv or .parquet"),
        (("--classifier", "emb"), 1, "not a classifier"),
        (("--top", 0), 2, "--top"),
        ((), 1, "model: no such folder; name that of the model"),
    ],
)
def test_what_is_wrong_is_said(
    emb: Path, names: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
    code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(emb.parent)
    done = run("tag", "emb", *arguments)
    assert done.returncode == code
    assert message in done.stderr


@pytest.fixture(scope="module")
def sounds(
    tmp_path_factory: pytest.TempPathFactory,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., Any],
) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(3):
        write_audio(folder / f"{number}.wav", make_sound(2.4, seed=number))
    (folder / "text.wav").write_text("no sound")
    return folder


def test_extract_tags_what_it_has_embedded(sounds: Path, tmp_path: Path) -> None:
    emb, tags = tmp_path / "emb", tmp_path / "tags.csv"
    done = run("extract", sounds, "--out", emb, "--tag", tags)
    assert done.returncode == 3  # of the file that is no sound
    table = EmbeddingTable.open(emb)
    heard = summarise(table, load_names(table))
    assert done.stdout.splitlines()[1:] == [f"heard: {heard}"]
    succeed("tag", emb, "--out", tmp_path / "again.csv")
    assert tags.read_bytes() == (tmp_path / "again.csv").read_bytes()
    # A second run has nothing to embed, and tags the whole folder.
    tags.unlink()
    again = run("extract", sounds, "--out", emb, "--tag", tags, "--json")
    assert json.loads(again.stdout)["heard"] == heard.rows()
    assert tags.read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert sorted(path.name for path in emb.iterdir() if not path.name.startswith(".")) == [
        "files", "manifest.json", "rows"
    ]  # fmt: skip


def test_info_says_what_is_heard(sounds: Path, tmp_path: Path) -> None:
    run("extract", sounds, "--out", tmp_path / "emb")
    table = EmbeddingTable.open(tmp_path / "emb")
    heard = summarise(table, load_names(table))
    assert json.loads(succeed("info", table.folder, "--json"))["heard"] == heard.rows()
    lines = succeed("info", table.folder).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("heard ")] == [
        str(heard)
    ]


def test_duplicates_and_maps_have_names(sounds: Path, tmp_path: Path) -> None:
    run("extract", sounds, "--out", tmp_path / "emb")
    pairs = json.loads(succeed("duplicates", tmp_path / "emb", "--least", -1, "--json"))
    table = EmbeddingTable.open(tmp_path / "emb")
    clips, vectors = table.clip_vectors()
    names = load_names(table)
    shares = names.scores(vectors).mean(axis=0)  # of one group, of all clips
    likely = names.labels[shares.argmax()] if shares.max() >= 0.1 else ""
    assert {pair["name"] for pair in pairs} == {likely}
    table_lines = succeed("duplicates", tmp_path / "emb", "--least", -1).splitlines()
    assert table_lines[0].split() == ["similarity", "group", "name", "clip", "other"]
    succeed("map", tmp_path / "emb", "--out", tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text()
    assert (f', "{likely}"]]; // [x, y, name]' in text) is bool(likely)
    assert len(clips) == 3


def test_without_names_info_says_why_and_extract_does_not_begin(
    sounds: Path, model_dir: Path, tmp_path: Path
) -> None:
    emb = tmp_path / "emb"
    options = ("extract", sounds, "--out", emb, "--model", model_dir)
    done = run(*options, "--tag", tmp_path / "tags.csv")
    assert done.returncode == 1
    assert "this model brings no names" in done.stderr
    assert not emb.exists()
    done = run(*options, "--tag", tmp_path / "tags.txt")
    assert (done.returncode, emb.exists()) == (2, False)
    run(*options)
    assert json.loads(succeed("info", emb, "--json"))["heard"] is None
    assert f"not known: {model_dir}: this model brings no names" in succeed("info", emb)
