"""Marks, the detector that learns from them, and pictures of recordings; without a browser."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
import soundfile
from command import succeed
from made import draw, write_table_of
from pages import open_page

from embedkit.datasets import read_dataset
from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection
from embedkit.web.uploads import Uploads

SECONDS, RATE = 400, 8000
CALLS = np.random.default_rng(5).choice(SECONDS, 40, replace=False)  # seconds in which it calls
TONE, TONE_S = 3000.0, 4.0  # Hz, and from when it sounds for a second

mpl.use("agg")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, write_audio: Any) -> Path:
    """Two recordings of 400 s, made up but for the sound of the first, in which a tone sounds."""
    root = tmp_path_factory.mktemp("marking")
    time = np.arange(SECONDS * RATE) / RATE
    sound = 0.001 * np.random.default_rng(0).standard_normal(len(time))
    inside = (time >= TONE_S) & (time < TONE_S + 1)
    sound[inside] += 0.25 * np.sin(2 * np.pi * TONE * time[inside])
    write_audio(root / "audio/one.wav", sound.astype(np.float32), RATE)
    clips = {}
    for number, name in enumerate(("one.wav", "two.wav")):
        clips[name] = draw(SECONDS, 8, seed=number)
        clips[name][CALLS] += [2.5, 2.5, 0, 0, 0, 0, 0, 0]
    write_table_of(root / "emb", clips, root=root / "audio", last_s=1.0)
    return root


@pytest.fixture
def client(root: Path, tmp_path: Path) -> Any:
    collection = Collection(EmbeddingTable.open(root / "emb"))
    return open_page(collection, Uploads(collection.table.provenance), tmp_path / "labels.csv")[0]


def raven(calls: Any, label: str = "wren") -> str:
    head = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
    rows = [
        f"{number}\tSpectrogram 1\t1\t{at}.0\t{at + 1}.0\t0\t4000\t{label}"
        for number, at in enumerate(calls, start=1)
    ]
    return "\n".join([f"{head}\tAnnotation", *rows, ""])


@pytest.fixture
def fitted(client: Any) -> Any:
    """With the first 20 calls of the first recording marked by a Raven table, and fitted."""
    table = {"name": "one.Table.1.selections.txt", "text": raven(CALLS[:20])}
    done = client.post("/marks/table", json=table).json()
    assert (done["added"], done["labels"], done["clips"]) == (20, {"wren": 20}, 1)
    assert client.post("/marks/table", json=table).json()["added"] == 0  # they are there
    client.post("/detector/fit").raise_for_status()
    return client


def test_marks_are_on_the_disk_as_other_commands_read_them(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels-stretches.csv"
    wren = {"clip": 0, "start_s": 3.25, "end_s": 4.5, "label": "wren", "sign": "+"}
    owl = {"clip": 1, "start_s": 7, "end_s": 8, "label": "owl", "sign": "-"}
    for mark in (wren, owl, wren):
        marks = client.post("/marks", json=mark).json()
    assert [(each["name"], each["label"], each["sign"]) for each in marks] == [
        ("two.wav", "owl", "-"), ("one.wav", "wren", "+"),
    ]  # fmt: skip
    with path.open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert sorted(rows) == [("one.wav", "3.25", "4.5", "wren", "+"),
                            ("two.wav", "7", "8", "owl", "-")]  # fmt: skip
    found = {clip.path.name: clip.stretches for clip in read_dataset(path).clips}
    assert [(s.start_s, s.end_s, s.sign) for s in found["one.wav"]] == [(3.25, 4.5, "+")]
    before = path.read_bytes()
    for wrong, words in (
        ({**wren, "start_s": 4, "end_s": 6, "sign": "-"}, "correct one of them"),
        ({**wren, "end_s": 3}, "ends after it begins"),
        ({**wren, "label": " "}, "1 to 100 characters"),
    ):
        done = client.post("/marks", json=wrong)
        assert done.status_code == 422
        assert words in done.json()["detail"]
        assert path.read_bytes() == before
    assert client.post("/marks", json={**wren, "sign": "-"}).json()[-1]["sign"] == "-"
    assert client.post("/marks", json={**wren, "sign": ""}).json() == marks[:1]


def test_what_brings_no_times_is_refused(client: Any) -> None:
    table = {"name": "t.csv", "text": "path,label\none.wav,wren\n"}
    done = client.post("/marks/table", json=table)
    assert done.status_code == 422
    assert "no beginning and end" in done.json()["detail"]


def test_detections_are_those_of_the_commands(fitted: Any, root: Path, tmp_path: Path) -> None:
    marks = tmp_path / "labels-stretches.csv"
    succeed("classify", "fit", root / "emb", "--labels", marks, "--segments", "--c", "0.1",
            "--out", tmp_path / "own")  # fmt: skip
    asked = {"thresholds": {"wren": 0.3}}
    found = fitted.post("/detector/found", json=asked).json()
    command = ("detect", root / "emb", "--classifier", tmp_path / "own", "--threshold", "0.3")
    spans = json.loads(succeed(*command, "--json"))
    assert found["total"] == len(spans) > 20
    for span, own in zip(found["found"], spans, strict=True):
        assert (span["name"], span["start_s"], span["end_s"]) == (
            own["path"], own["start_s"], own["end_s"],
        )  # fmt: skip
        assert span["score"] == pytest.approx(own["score"], abs=1e-6)
    columns = fitted.post("/detector/found/1", json=asked).json()
    along = zip(*(columns[name] for name in ("start_s", "end_s", "label")), strict=True)
    assert list(along) == [
        (span["start_s"], span["end_s"], "wren") for span in spans if span["path"] == "two.wav"
    ]
    own = tmp_path / "labels-detector"  # what the page fitted, by the command
    for form, name in (("csv", "d.csv"), ("raven", "d.selections.txt"), ("birdnet", "b.csv")):
        succeed("detect", root / "emb", "--classifier", own, "--threshold", "0.3", "--format", form,
                "--out", tmp_path / name)  # fmt: skip
        sent = fitted.post(f"/detector/file/{form}", json=asked)
        assert sent.content == (tmp_path / name).read_bytes()
    tracks = fitted.post("/detector/file/audacity", json=asked).content
    with zipfile.ZipFile(io.BytesIO(tracks)) as archive:
        lines = sum(archive.read(name).count(b"\n") for name in archive.namelist())
    assert lines == len(spans)
    assert fitted.post("/detector/file/parquet", json=asked).content[:4] == b"PAR1"
    assert fitted.post("/detector/file/zip", json=asked).status_code == 404
    wrong = fitted.post("/detector/found", json={"thresholds": {"wen": 0.5}})
    assert "did you mean wren?" in wrong.json()["detail"]


def test_segments_are_joined_into_detections_as_the_command_joins_them(
    fitted: Any, root: Path, tmp_path: Path
) -> None:
    """With the thresholds of two labels, gaps and a least length, in every format, byte by byte."""
    for at in np.setdiff1d(np.arange(SECONDS), CALLS)[:20].tolist():
        mark = {"clip": 0, "start_s": at, "end_s": at + 1, "label": "wind", "sign": "+"}
        fitted.post("/marks", json=mark).raise_for_status()
    fitted.post("/detector/fit").raise_for_status()
    thresholds = tmp_path / "thresholds.csv"
    thresholds.write_text("label,threshold\nwren,0.3\nwind,0.9\n")
    asked = {"thresholds": {"wren": 0.3, "wind": 0.9}}
    command = ("detect", root / "emb", "--classifier", tmp_path / "labels-detector",
               "--thresholds", thresholds)  # fmt: skip
    totals = []
    for gap, least in ((0, 0), (3, 0), (3, 4.5)):
        own = {**asked, "gap_s": gap, "least_s": least}
        for form, name in (("csv", "d.csv"), ("raven", "d.selections.txt"),
                           ("birdnet", "b.csv"), ("parquet", "d.parquet")):  # fmt: skip
            succeed(*command, "--gap", gap, "--least", least, "--format", form,
                    "--out", tmp_path / name)  # fmt: skip
            sent = fitted.post(f"/detector/file/{form}", json=own).content
            assert sent == (tmp_path / name).read_bytes(), (gap, least, form)
        totals.append(fitted.post("/detector/found", json=own).json()["total"])
    assert totals[0] > totals[1] > totals[2] > 0
    assert fitted.post("/detector/found", json={**asked, "gap_s": -1}).status_code == 422


def test_the_histogram_is_of_all_segments(fitted: Any) -> None:
    [label] = fitted.get("/detector").json()["labels"]
    assert (label["label"], label["marked"]) == ("wren", {"+": 20, "-": 0, "?": 0})
    scores = np.concatenate(
        [np.frombuffer(fitted.get(f"/detector/scores/{clip}").content, "f4") for clip in (0, 1)]
    )
    assert len(scores) == 2 * SECONDS
    assert label["histogram"] == np.histogram(scores, bins=50, range=(0, 1))[0].tolist()


def test_a_review_says_what_the_command_says(fitted: Any, root: Path, tmp_path: Path) -> None:
    asked = {"label": "wren", "count": 60}
    drawn = fitted.post("/detector/review", json=asked).json()
    assert len(drawn["items"]) == 60
    assert drawn["said"] is None
    assert {item["sign"] for item in drawn["items"]} == {"?"}
    assert fitted.post("/detector/review", json=asked).json() == drawn  # not drawn again
    for number, item in enumerate(drawn["items"]):
        right = item["start_s"] in CALLS
        answer = {"label": "wren", "number": number, "sign": "+" if right else "-",
                  "other": "" if right else "wind"}  # fmt: skip
        done = fitted.post("/detector/answer", json=answer).json()
        assert done["warning"] == ""
    rights = sum(item["start_s"] in CALLS for item in drawn["items"])
    assert (done["said"]["right"], done["said"]["wrong"]) == (rights, 60 - rights)
    shown = succeed("review", root / "emb", "--classifier", tmp_path / "labels-detector", "--label",
                    "wren", "--answers", tmp_path / "labels-detector" / done["sheet"],
                    "--json")  # fmt: skip
    said = json.loads(shown)
    plain = [said["density"]["value"], *said["density"]["interval"]]
    assert done["said"]["density"] == pytest.approx(plain)
    assert {name: values[0] for name, values in done["said"]["thresholds"].items()} == {
        name: each["value"] for name, each in said["thresholds"].items()
    }
    # It is true here: calls are a tenth of all.
    assert plain[1] < 0.1 < plain[2]
    # What was answered is marked, the other sound too, and the next fit learns from it.
    labels = {label["label"]: label for label in fitted.post("/detector/fit").json()["labels"]}
    assert labels["wind"]["marked"]["+"] == labels["wren"]["marked"]["-"] == 60 - rights
    assert fitted.post("/detector/review", json={"label": "wren"}).json()["items"] == []


def pixels(content: bytes) -> Any:
    """Brightness of a picture [rows from its foot, columns]."""
    return mpl.image.imread(io.BytesIO(content), "png")[::-1, :, :3].sum(axis=2)


@pytest.mark.parametrize(("start_s", "end_s"), [(3.5, 5.5), (0, 20), (0, 400)])
def test_a_tone_stands_at_its_hertz_and_second(client: Any, start_s: float, end_s: float) -> None:
    assert client.get("/recording/0").json() == {
        "clip": 0, "name": "one.wav", "rate": RATE, "duration_s": 400.0, "recorded_at": None,
        "site": None,
    }  # fmt: skip
    asked = f"/view/0?start_s={start_s}&end_s={end_s}&low_hz=1000&high_hz=4000"
    picture = pixels(client.get(asked).content)
    rows, columns = picture.shape
    bright = picture > 0.9 * picture.max()
    hertz = 1000 + (np.flatnonzero(bright.any(axis=1)) + 0.5) * 3000 / rows
    assert hertz.mean() == pytest.approx(TONE, abs=60)
    column_s = (end_s - start_s) / columns
    times = start_s + (np.flatnonzero(bright.any(axis=0)) + 0.5) * column_s
    assert times.min() == pytest.approx(TONE_S, abs=0.05 + column_s)
    assert times.max() == pytest.approx(TONE_S + 1, abs=0.05 + column_s)
    assert pixels(client.get(f"{asked}&gain_db=20").content).mean() > picture.mean()


def test_a_sound_is_heard_as_it_is_asked_for(client: Any) -> None:
    def heard(asked: str) -> Any:
        content = client.get(f"/audio/0?start_s=4.2&end_s=4.8&{asked}").content
        return soundfile.read(io.BytesIO(content))[0]

    plain = heard("")
    assert np.abs(heard("gain_db=6.0206")).max() == pytest.approx(2 * np.abs(plain).max(), rel=1e-3)
    assert len(heard("speed=0.5")) == 2 * len(plain)
    assert np.abs(heard("low_hz=100&high_hz=1000")).std() < 0.01 * np.abs(plain).std()
    for wrong in ("low_hz=5&high_hz=2", "speed=1000", "gain_db=nan", "high_hz=-1"):
        assert client.get(f"/audio/0?{wrong}").status_code == 422
    assert client.get("/view/0?start_s=2&end_s=1&low_hz=0&high_hz=9").status_code == 422


def test_before_a_fit_there_is_nothing_to_detect(client: Any) -> None:
    assert client.get("/detector").json()["labels"] == []
    for path, body in (("found", {"thresholds": {"a": 0.5}}), ("fit", None)):
        done = client.post(f"/detector/{path}", json=body)
        assert done.status_code == 422, path
