"""Every command that takes labels takes those that have a beginning and an end."""

import json
from pathlib import Path

import pytest
from command import run, succeed
from made import draw, write_table_of

from embedkit.classifiers import sizes as sizes_module
from embedkit.errors import DatasetError
from embedkit.labels.answers import Answers

SEGMENTS = (
    60  # of each recording: 10 of them tits, 10 wrens, apart from all others by their vectors
)
CENTRES = {"tit": 3.0, "wren": -3.0}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in `emb`, and as labels.csv, as Raven's and as Audacity's what is in them."""
    folder = tmp_path_factory.mktemp("work")
    clips, rows, raven = {}, ["path,start_s,end_s,label"], []
    (folder / "audacity").mkdir()
    for number in range(6):
        vectors = draw(SEGMENTS, 8, number)
        lines = []
        for start, (label, centre) in zip((10 + number, 30), CENTRES.items(), strict=True):
            vectors[start : start + 10, :4] += centre
            rows.append(f"{number}.wav,{start},{start + 10},{label}")
            raven.append(f"{len(raven) + 1}\t1\t{start}\t{start + 10}\t{number}.wav\t{label}")
            lines.append(f"{start}\t{start + 10}\t{label}\n")
        clips[f"{number}.wav"] = vectors
        (folder / "audacity" / f"{number}.txt").write_text("".join(lines))
    write_table_of(folder / "emb", clips, root=folder)
    (folder / "labels.csv").write_text("\n".join(rows))
    header = "Selection\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies"
    (folder / "all.selections.txt").write_text("\n".join([header, *raven]))
    return folder


@pytest.mark.parametrize("labels", ["labels.csv", "all.selections.txt", "audacity"])
def test_from_a_table_to_what_is_in_every_second(work: Path, labels: str, tmp_path: Path) -> None:
    given = ("--labels", work / labels, "--marked", "all")
    done = run("classify", "fit", work / "emb", *given, "--out", tmp_path / "classifier", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "classifier": str(tmp_path / "classifier"),
        "clips": 6,
        "segments": 360,
        "labels": ["tit", "wren"],
    }
    assert "labels have times: they are of segments, not of whole clips" in done.stderr
    predicted = json.loads(
        succeed(
            *("classify", "predict", work / "emb", "--classifier", tmp_path / "classifier"),
            *("--segments", "--json"),
        )
    )
    found = {
        (row["clip"], row["start_s"], label)
        for row in predicted
        for label, score in row["scores"].items()
        if score >= 0.5
    }
    starts = {(n, label): start for n in range(6) for label, start in
              zip(CENTRES, (10 + n, 30), strict=True)}  # fmt: skip
    assert found == {
        (f"{n}.wav", start + second, label)
        for (n, label), start in starts.items()
        for second in range(10)
    }


def test_evaluation_is_on_segments_of_recordings_held_out(work: Path) -> None:
    given = ("classify", "evaluate", work / "emb", "--labels", work / "labels.csv", "--json")
    done = json.loads(succeed(*given, "--marked", "all", "--test-share", 0.5))
    assert (done["clips"], done["segments"]) == (3, 180)
    assert done["per_class"]["tit"]["segments"] == 30
    assert done["map"] > 0.99
    one_each = json.loads(succeed(*given, "--test-share", 0.5))  # marked segments alone
    assert (one_each["segments"], one_each["correct"]) == (60, 60)
    narrow = run(*given, "--cover", 0, "--test-share", 0.5)
    assert narrow.returncode == 2
    assert "more than 0, and at most 1" in narrow.stderr
    assert run(*given, "--marked", "none").returncode == 2


def test_search_is_among_the_segments_that_have_a_label(work: Path) -> None:
    found = json.loads(
        succeed(
            *("search", work / "emb", "0.wav@10-20", "--labels", work / "labels.csv"),
            *("--where", "wren", "--top", 100, "--segments", "--json"),
        )
    )[0]["results"]
    assert {(hit["clip"], hit["start_s"]) for hit in found} == {
        (f"{number}.wav", 30.0 + second) for number in range(1, 6) for second in range(10)
    }


def test_search_by_words_is_among_them_too(work: Path, tmp_path: Path) -> None:
    labels = ("--labels", work / "labels.csv")
    succeed("classify", "fit", work / "emb", *labels, "--out", tmp_path / "classifier")
    found = json.loads(
        succeed(
            *("search", work / "emb", "--text", "tit", "--classifier", tmp_path / "classifier"),
            *(*labels, "--where", "wren", "--top", 100, "--segments", "--json"),
        )
    )[0]["results"]
    assert {(hit["clip"], hit["start_s"]) for hit in found} == {
        (f"{number}.wav", 30.0 + second) for number in range(6) for second in range(10)
    }


def test_the_map_is_of_segments(work: Path, tmp_path: Path) -> None:
    given = ("map", work / "emb", "--labels", work / "labels.csv", "--out", tmp_path / "map.png")
    done = run(*given)
    assert done.returncode == 0, done.stderr
    assert "map.png: 120 sounds" in done.stderr
    assert "360 sounds" in run(*given, "--marked", "all").stderr


def test_sizes_are_compared_on_segments(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes_module, "ROWS", 100)  # how long they take is not asked
    done = json.loads(
        succeed(
            *("bench", "sizes", "--embeddings", work / "emb", "--labels", work / "labels.csv"),
            *("--sizes", "4", "--marked", "all", "--test-share", 0.5, "--json"),
        )
    )
    assert done["rows"][0]["figures"]["logistic"] > 0.99  # mAP
    assert set(done["rows"][0]["figures"]) == {"logistic", "knn", "retrieval"}


@pytest.mark.parametrize("command", ["scene", "evaluate"])
def test_what_decides_whole_clips_says_so(work: Path, command: str) -> None:
    done = run(command, work / "emb", work / "labels.csv")
    assert done.returncode == 2
    assert (
        "its labels have times or signs, but this command takes labels of whole clips"
        in done.stderr
    )


@pytest.mark.parametrize(
    "text",
    ["path,start_s,end_s,label\na.wav,1,2,x\n", "path,label,sign\na.wav,x,-\n"],
    ids=["times", "signs"],
)
def test_a_file_of_stretches_is_never_overwritten_by_labels_of_clips(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"here labels are given to whole clips.*Name another"):
        Answers(path)
    answers = Answers(tmp_path / "others.csv")
    answers.set("a.wav", "x")
    answers.path.write_text(text)  # meanwhile, by somebody else
    with pytest.raises(DatasetError, match="what that file says would be lost"):
        answers.set("b.wav", "y")
    assert (path.read_text(), answers.path.read_text()) == (text, text)
