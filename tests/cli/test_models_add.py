"""embedkit models add: what a file says of itself, and what stands in the user's folder then."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run, succeed
from foreign import LABELS, RATE, TABLE, TFLITE, network, toy_network
from onnx import helper

from embedkit.extractor import Extractor
from embedkit.runtime import installed
from embedkit.runtime.description import read_description
from embedkit.runtime.foreign import open_foreign


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(installed, "user_data_path", lambda name: tmp_path / "data" / name)
    (tmp_path / "toy.onnx").write_bytes(toy_network())
    (tmp_path / "labels.csv").write_text(TABLE)
    return tmp_path / "data" / "embedkit" / "models"


def test_adds_what_it_sees_and_lists_it(place: Path, tmp_path: Path, write_audio: Any) -> None:
    file = tmp_path / "toy.onnx"
    done = run("models", "add", file)
    assert (done.returncode, "name it with --sample-rate" in done.stderr) == (2, True)
    words = ("--sample-rate", RATE, "--window", 0.1, "--licence", "MIT", "--name", "my toy")
    done = run("models", "add", file, *words, "--labels", tmp_path / "labels.csv")
    assert done.returncode == 0, done.stderr
    assert "takes 'waveform' (batch samples), 800 samples at 8000 Hz; gives 'embedding', 3" in (
        done.stderr
    )
    assert "names its vectors with 2 labels" in done.stderr
    assert open_foreign(place / "my toy").labels == LABELS
    [row] = json.loads(succeed("models", "--json"))["installed"]
    assert row == {
        "name": "my toy", "what": "my toy", "sample_rate": RATE, "window_s": 0.1, "labels": 2,
        "licence": "MIT", "path": str(place / "my toy"),
    }  # fmt: skip
    assert "my toy  my toy  8000" in succeed("models")
    done = run("models", "add", file, *words)
    assert (done.returncode, "is installed already" in done.stderr) == (2, True)
    done = run("models", "add", file, *words[:-1], "fast")
    assert (done.returncode, "fast is the name of a model" in done.stderr) == (
        2,
        True,
    )

    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 2000).astype(np.float32)
    write_audio(tmp_path / "sounds" / "one.wav", sound, RATE)
    succeed("extract", tmp_path / "sounds", "--model", "my toy", "--out", tmp_path / "emb")
    found = Extractor.load(place / "my toy").embed(sound)
    assert len(found) == 3
    assert json.loads(succeed("tag", tmp_path / "emb", "--json"))[0]["names"]


def test_what_fails_leaves_nothing(place: Path, tmp_path: Path) -> None:
    words = ("models", "add", tmp_path / "toy.onnx", "--sample-rate", RATE)
    done = run(*words, "--embedding", "embeding")
    assert (done.returncode, "no output 'embeding'; did you mean embedding" in done.stderr) == (
        *(1, True),
    )
    assert not list(place.iterdir())
    done = run(*words, "--name", "../up")
    assert (done.returncode, "a model called '../up'" in done.stderr) == (2, True)


def test_looks_into_files(tmp_path: Path) -> None:
    facts, samples = installed.look(TFLITE)
    assert samples == 800
    assert facts["input"] == {"name": "waveform", "layout": "batch samples"}
    # Its own output is another one: these are what its last layer takes and gives.
    assert facts["output"] == {"embedding": "features/embedding", "logits": "logits"}
    maps = helper.make_node("Unsqueeze", ["waveform", "axes"], ["features"])
    content = network([maps], ("features",), {"axes": np.array([1, 2])})
    (tmp_path / "map.onnx").write_bytes(content)
    facts, samples = installed.look(tmp_path / "map.onnx")
    assert (facts["input"]["layout"], samples) == ("batch samples", None)
    assert facts["output"]["embedding"] == "features"


@pytest.mark.parametrize(
    ("shape", "message"),
    [(("b", 1, 64, 96), "which is no waveform"), (("b", 64, 96), "which is no waveform")],
)
def test_refuses_networks_of_features(tmp_path: Path, shape: tuple[Any, ...], message: str) -> None:
    node = helper.make_node("Identity", ["waveform"], ["embedding"])
    (tmp_path / "n.onnx").write_bytes(network([node], shape=shape))
    done = run("models", "add", tmp_path / "n.onnx", "--sample-rate", 16000)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_a_path_goes_before_a_name(place: Path, tmp_path: Path) -> None:
    (place / "toy").mkdir(parents=True)
    (place / "toy" / "extractor.toml").touch()
    assert installed.resolve(Path("toy")) == place / "toy"
    assert installed.resolve(tmp_path) == tmp_path
    assert installed.resolve(Path("no") / "toy") == Path("no") / "toy"
    assert installed.resolve(Path("other")) == Path("other")


def test_what_is_known_is_whole(tmp_path: Path) -> None:
    """Every known network makes a description that can be read."""
    entries = tomllib.loads(installed.KNOWN.read_text())
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in entries)
    for sha256, entry in entries.items():
        facts = installed.known(sha256)
        assert facts is not None
        assert isinstance(entry["tested"], bool)
        labels = {"labels": "labels.csv", "label_column": "display_name"}
        facts["output"] |= labels
        (tmp_path / "n.onnx").touch()
        (tmp_path / "labels.csv").write_text(TABLE)
        tables = {"": facts[""], "network": {"file": "n.onnx", "sha256": sha256}, **facts}
        (tmp_path / "extractor.toml").write_text(installed.as_toml(tables))
        description = read_description(tmp_path)
        assert description.licence
        assert description.source.startswith("https://")
    assert installed.known("0" * 64) is None
