"""From a sheet that is filled in to thresholds that detect uses."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from command import run, succeed
from made import draw as vectors_of
from made import fit, labelled, write_table_of
from scipy.special import expit, logit

from embedkit.classifiers.calibration import Bins, density, thresholds
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.evaluate import predict
from embedkit.classifiers.review import PER_BIN, draw, label_scores, review, write_sheet
from embedkit.classifiers.thresholds import REVIEWED
from embedkit.errors import DatasetError
from embedkit.labels.join import Unit
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of a, b and c, and a collection of 1,500 segments."""
    root = tmp_path_factory.mktemp("review")
    fit(labelled(3), several_labels=True).save(root / "classifier")
    spread = np.array([1, 10, 0.1, 1, 1, 1]) * 1.5
    clips = {f"d/{n}.wav": (vectors_of(50, 6, n) * spread + 3) for n in range(30)}
    write_table_of(
        root / "emb", {name: rows.astype(np.float32) for name, rows in clips.items()}, root=root
    )
    return root


def loaded(place: Path) -> tuple[EmbeddingTable, Classifier]:
    return EmbeddingTable.open(place / "emb"), Classifier.load(place / "classifier")


def fill_in(sheet: Path, seed: int = 0) -> pd.DataFrame:
    """Answer by a truth that is a curve of the score."""
    rows = pd.read_csv(sheet)
    chance = expit(3 + 2 * logit(rows["score"]))
    rows["sign"] = np.where(np.random.default_rng(seed).random(len(rows)) < chance, "right", "-")
    rows.loc[3, "sign"] = "?"
    rows.loc[7, "sign"] = ""
    rows.to_csv(sheet, index=False)
    return rows


def test_a_sample_has_equally_many_of_each_bin(place: Path) -> None:
    table, fitted = loaded(place)
    spans = draw(table, fitted, "b", 83)
    assert len(set(spans)) == 83
    assert spans == sorted(spans)
    everything = {
        (clip, start, end): scores[1]
        for batch in predict(table, fitted, Unit.SEGMENT)
        for clip, start, end, scores in zip(
            batch.clips, batch.start_s, batch.end_s, batch.scores, strict=True
        )
    }
    assert all(everything[span[:3]] == span.score for span in spans)
    bins = Bins.of(label_scores(table, fitted, "b"), PER_BIN)
    assert len(bins.counts) == 8
    counts = np.bincount(bins.place(np.array([span.score for span in spans])))
    assert sorted(counts) == [10] * 5 + [11] * 3
    assert draw(table, fitted, "b", 83, seed=1) != spans
    assert len(draw(table, fitted, "b", 1400)) == 1400
    assert len(draw(table, fitted, "b", 9999)) == 1500


def test_answers_become_thresholds_and_a_density(place: Path, tmp_path: Path) -> None:
    table, fitted = loaded(place)
    write_sheet(tmp_path / "b.csv", draw(table, fitted, "b", 120))
    rows = fill_in(tmp_path / "b.csv")
    found = review(table, fitted, "b", tmp_path / "b.csv")
    known = rows["sign"].isin(["right", "-"]).to_numpy()
    right = rows["sign"].eq("right").to_numpy()
    assert (found.right, found.wrong, found.unsure) == (right.sum(), 118 - right.sum(), 2)
    bins = Bins.of(label_scores(table, fitted, "b"), PER_BIN)
    scores = rows["score"].to_numpy()
    expected = thresholds(bins, scores[known], right[known])
    for precision, measured in expected.items():
        np.testing.assert_allclose(found.thresholds[precision], measured, rtol=1e-6)
    np.testing.assert_allclose(found.density, density(bins, scores[known], right[known]))
    assert found.thresholds[0.9].low < expit((logit(0.9) - 3) / 2) < found.thresholds[0.9].high


def test_detect_uses_what_review_found(place: Path, tmp_path: Path) -> None:
    asked = ("review", place / "emb", "--classifier", place / "classifier", "--label", "b")
    sheet = tmp_path / "b.csv"
    assert "100 segments to listen to" in succeed(*asked, "--answers", sheet)
    done = run(*asked, "--answers", sheet)
    assert done.returncode == 1
    assert "has no answer yet" in done.stderr
    detect = ("detect", place / "emb", "--classifier", place / "classifier", "--json")
    done = run(*detect, "--precision", 0.95)
    assert done.returncode == 2
    assert "`embedkit review` finds them" in done.stderr
    fill_in(sheet)
    found = json.loads(succeed(*asked, "--answers", sheet, "--json"))
    assert found["thresholds"]["0.95"]["value"] > found["thresholds"]["0.9"]["value"]
    text = succeed(*asked, "--answers", sheet)
    assert f"{found['thresholds']['0.95']['value']:.4f}" in text
    assert re.search(r"share of all segments that have it: 0\.\d+ \(0\.\d+ to 0\.\d+\)", text)
    least = found["thresholds"]["0.95"]["value"]
    spans = json.loads(succeed(*detect, "--precision", 0.95))
    assert {span["label"] for span in spans} == {"b"}
    assert len(spans) > 3
    assert spans == json.loads(succeed(*detect, "--labels", "b", "--threshold", least))
    done = run(*detect, "--precision", 0.5)
    assert done.returncode == 2
    assert "there are: 0.9, 0.95, 0.99" in done.stderr
    done = run(*detect, "--precision", 0.95, "--labels", "a,b")
    assert done.returncode == 2
    assert "has no threshold of a" in done.stderr
    # Another label's are kept beside them.
    other = ("review", place / "emb", "--classifier", place / "classifier", "--label", "c")
    succeed(*other, "--answers", tmp_path / "c.csv")
    fill_in(tmp_path / "c.csv", seed=1)
    succeed(*other, "--answers", tmp_path / "c.csv")
    kept = json.loads((place / "classifier" / REVIEWED).read_text())
    assert sorted(kept["labels"]) == ["b", "c"]
    assert kept["labels"]["b"]["0.95"][0] == least


def test_another_fit_has_no_thresholds_of_the_one_before(place: Path, tmp_path: Path) -> None:
    table, fitted = loaded(place)
    fitted.save(tmp_path / "classifier")
    write_sheet(tmp_path / "b.csv", draw(table, fitted, "b", 60))
    fill_in(tmp_path / "b.csv")
    asked = ("review", place / "emb", "--classifier", tmp_path / "classifier", "--label", "b")
    succeed(*asked, "--answers", tmp_path / "b.csv")
    detect = ("detect", place / "emb", "--classifier", tmp_path / "classifier", "--precision", 0.9)
    succeed(*detect)
    fit(labelled(3), several_labels=True, c=1.0).save(tmp_path / "classifier")
    done = run(*detect)
    assert done.returncode == 1
    assert "is of another fit" in done.stderr
    done = run(*asked, "--answers", tmp_path / "b.csv")
    assert done.returncode == 1
    assert "draw a new sheet" in done.stderr


def test_a_sheet_is_a_table_of_labels(place: Path, tmp_path: Path) -> None:
    table, fitted = loaded(place)
    write_sheet(tmp_path / "b.csv", draw(table, fitted, "b", 100))
    rows = fill_in(tmp_path / "b.csv")
    rows["sign"] = rows["sign"].replace("", "?")
    rows.to_csv(tmp_path / "b.csv", index=False)
    learn = ("classify", "fit", place / "emb", "--labels", tmp_path / "b.csv", "-C", 0.1)
    found = json.loads(succeed(*learn, "--out", tmp_path / "again", "--json"))
    assert found["labels"] == ["b"]
    assert found["segments"] > 98


@pytest.mark.parametrize("options", [[], ["--label", "a,b"], ["--label", "d"]])
def test_one_label_is_reviewed(place: Path, tmp_path: Path, options: list[str]) -> None:
    asked = ("review", place / "emb", "--classifier", place / "classifier", *options)
    done = run(*asked, "--answers", tmp_path / "x.csv")
    assert done.returncode == 2
    assert ("no label 'd'" if "d" in options else "name one --label of a, b, c") in done.stderr
    assert not (tmp_path / "x.csv").exists()


def test_what_is_drawn_can_be_cut_out(tmp_path: Path) -> None:
    rate = 8000
    soundfile.write(tmp_path / "a.wav", np.zeros(20 * rate), rate)
    fitted = fit(labelled(3), several_labels=True)
    fitted.save(tmp_path / "classifier")
    write_table_of(tmp_path / "emb", {"a.wav": labelled(3).vectors[:20]}, root=tmp_path)
    asked = ("review", tmp_path / "emb", "--classifier", tmp_path / "classifier", "--label", "a")
    succeed(*asked, "--answers", tmp_path / "s.csv", "--count", 5, "--save-clips", tmp_path / "cut")
    rows = pd.read_csv(tmp_path / "s.csv")
    names = {path.name for path in (tmp_path / "cut" / "a").iterdir()}
    assert names == {f"a.wav_{row.start_s:.3f}-{row.end_s:.3f}.flac" for row in rows.itertuples()}
    assert len(names) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sign": "maybe"}, r"row 2: expected \+ \(right\)"),
        ({"label": "a"}, "row 2: is about 'a', not about 'b'"),
        ({"path": "elsewhere.wav", "sign": "+"}, "has no such segment"),
        ({"start_s": 0.3, "sign": "+"}, "has no such segment"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_said(
    place: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    table, fitted = loaded(place)
    write_sheet(tmp_path / "b.csv", draw(table, fitted, "b", 30))
    rows = pd.read_csv(tmp_path / "b.csv")
    for column, value in change.items():
        rows.loc[0, column] = value
    rows.to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DatasetError, match=words):
        review(table, fitted, "b", tmp_path / "b.csv")
