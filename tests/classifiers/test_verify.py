"""Verification: the ratio of pairs, trial lists and the equal error rate, against closed forms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from scipy.stats import norm

from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.verify import plda_of, read_trials, score_trials
from embedkit.errors import DatasetError
from embedkit.metrics import equal_error_rate
from embedkit.store import EmbeddingTable


def test_the_equal_error_rate_of_two_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    for apart in (0.5, 1.0, 3.0):
        same = np.arange(300_000) >= 200_000
        scores = rng.standard_normal(300_000) + apart * same
        error, threshold = equal_error_rate(same, scores)
        assert error == pytest.approx(norm.cdf(-apart / 2), abs=0.004)  # in the middle of the two
        assert threshold == pytest.approx(apart / 2, abs=0.02)
        assert equal_error_rate(same, 7 * scores - 3)[0] == pytest.approx(error)


@pytest.mark.parametrize(
    ("same", "scores", "error"),
    [
        ([1, 1, 0, 0], [4, 3, 2, 1], 0.0),
        ([0, 0, 1, 1], [4, 3, 2, 1], 1.0),
        ([1, 0, 1, 0], [4, 3, 2, 1], 0.5),
        ([1, 1, 1, 0, 1, 0, 0, 0], [8, 7, 6, 5, 4, 3, 2, 1], 0.25),
        ([1, 0], [1, 1], 0.5),
    ],
)
def test_the_equal_error_rate_by_hand(same: list[int], scores: list[float], error: float) -> None:
    found, _ = equal_error_rate(np.array(same, bool), np.array(scores, float))
    assert found == pytest.approx(error)


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Path:
    """Six clips each of four chirps in noise, and PLDA of them."""
    root = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(0)
    for number in range(24):
        sound = make_sound(1.0, seed=number % 4) * rng.uniform(0.3, 1)
        sound = sound + 0.02 * rng.standard_normal(len(sound))
        write_audio(root / "audio" / f"{number % 4}" / f"{number:02d}.wav", sound)
    succeed("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    succeed(
        *("classify", "fit", root / "emb", "--labels", "folders", "--method", "plda"),
        *("--out", root / "plda"),
    )
    names, _ = EmbeddingTable.open(root / "emb").clip_vectors()
    lines = [f"{a},{b},{int(a[0] == b[0])}" for n, a in enumerate(names) for b in names[n + 1 :]]
    (root / "trials.csv").write_text("\n".join(["first,second,same", *lines]))
    return root


def test_two_sounds_and_a_trial_of_them_have_one_ratio(work: Path) -> None:
    plda = ("--classifier", work / "plda")
    found = json.loads(
        succeed("verify", work / "emb", "0/00.wav", work / "audio/0/04.wav", *plda, "--json")
    )
    table = EmbeddingTable.open(work / "emb")
    trials = read_trials(work / "trials.csv")
    ratios = score_trials(table, plda_of(Classifier.load(work / "plda")), trials)
    pair = next(
        number
        for number, names in enumerate(zip(trials.first, trials.second, strict=True))
        if names == ("0/00.wav", "0/04.wav")
    )
    assert found["log_likelihood_ratio"] == pytest.approx(ratios[pair], abs=0.05)
    assert found["log_likelihood_ratio"] > 0
    text = succeed("verify", work / "emb", "0/00.wav", "1/01.wav", *plda)
    assert text.strip().endswith("two")


def test_the_command_prints_the_equal_error_rate_and_writes_the_ratios(
    work: Path, tmp_path: Path
) -> None:
    figures = json.loads(
        succeed(
            *("verify", work / "emb", "--trials", work / "trials.csv", "--json"),
            *("--classifier", work / "plda", "--out", tmp_path / "ratios.csv"),
        )
    )
    rows = (tmp_path / "ratios.csv").read_text().splitlines()
    assert rows[0] == "first,second,same,log_likelihood_ratio"
    cells = [row.split(",") for row in rows[1:]]
    same = np.array([cell[2] == "1" for cell in cells])
    ratios = np.array([float(cell[3]) for cell in cells])
    assert figures["trials"] == len(cells) == 24 * 23 // 2
    assert figures["same"] == same.sum() == 4 * 15
    assert figures["equal_error_rate"] == pytest.approx(equal_error_rate(same, ratios)[0])
    assert figures["equal_error_rate"] < 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no column first; it has: a, b"),
        ("first,second,same\nx,y,maybe\n", "row 2: expected two clips, and 1 or 0"),
        ("first,second,same\nx,,1\n", "row 2: expected two clips, and 1 or 0"),
        ("first,second,same\nx,y,1\n", "expected trials of both kinds"),
    ],
)
def test_what_is_no_list_of_trials_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "trials.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_trials(tmp_path / "trials.csv")


def test_errors_of_the_command(work: Path, tmp_path: Path) -> None:
    plda = ("--classifier", work / "plda")
    done = run("verify", work / "emb", "0/00.wav", *plda)
    assert (done.returncode, "name two sounds, or --trials" in done.stderr) == (2, True)
    (tmp_path / "trials.csv").write_text("first,second,same\n0/00.wav,x,1\nx,0/00.wav,0\n")
    done = run("verify", work / "emb", "--trials", tmp_path / "trials.csv", *plda)
    assert (done.returncode, "has no clip x" in done.stderr) == (1, True)
    succeed("classify", "fit", work / "emb", "--labels", "folders", "--out", tmp_path / "c")
    done = run("verify", work / "emb", "0/00.wav", "1/01.wav", "--classifier", tmp_path / "c")
    assert (done.returncode, "fit one with `classify fit --method plda`" in done.stderr) == (
        2,
        True,
    )
