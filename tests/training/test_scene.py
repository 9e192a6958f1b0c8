"""Long clips decided from their segments: by hand, and on a small TUT 2016."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run, succeed
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unexported import unexport

from embedkit.audio.decode import decode
from embedkit.classifiers.evaluate import evaluate
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.scene import Decision, compare_decisions, decide
from embedkit.classifiers.splits import training_split
from embedkit.datasets import read_published
from embedkit.labels.join import Unit, join_labels
from embedkit.models.module import ExtractorModule
from embedkit.store import EmbeddingTable

SCENES = ("beach", "bus")


def test_the_three_ways_by_hand() -> None:
    scores = np.array(
        [
            [0.6, 0.4], [0.6, 0.4], [0.0, 1.0],  # two against one, the one very sure
            [0.9, 0.1], [0.4, 0.6],  # one against one: the mean decides
            [0.2, 0.8],
        ]
    )  # fmt: skip
    owners, seconds = np.array([0, 0, 0, 1, 1, 2]), np.full(6, 0.5)
    mean = decide(scores, seconds, owners, Decision.MEAN_SCORE, 3)
    np.testing.assert_allclose(mean, [[0.4, 0.6], [0.65, 0.35], [0.2, 0.8]])
    majority = decide(scores, seconds, owners, Decision.MAJORITY, 3)
    assert majority.argmax(axis=1).tolist() == [0, 0, 1]
    assert mean.argmax(axis=1).tolist() == [1, 0, 1]
    assert majority.max() <= 1
    np.testing.assert_allclose(majority, [[2 / 3, 1 / 3], [1 / 2, 1 / 2], [0, 1]], atol=1e-5)
    assert majority[1, 0] > majority[1, 1]


def test_a_sliver_has_a_sliver_of_a_vote() -> None:
    # One second against 0.6 + 0.3 s: two votes against one if all counted alike.
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    seconds, owners = np.array([1.0, 0.6, 0.3]), np.zeros(3, np.int64)
    mean = decide(scores, seconds, owners, Decision.MEAN_SCORE, 1)
    np.testing.assert_allclose(mean, [[1.2 / 1.9, 0.7 / 1.9]])
    majority = decide(scores, seconds, owners, Decision.MAJORITY, 1)
    np.testing.assert_allclose(majority, [[1 / 1.9, 0.9 / 1.9]], atol=1e-5)


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Path:
    """TUT 2016 as it is published, but of 12 + 6 clips of 3 s and two scenes."""
    root = tmp_path_factory.mktemp("tut")
    development = root / "TUT-acoustic-scenes-2016-development"
    evaluation = root / "TUT-acoustic-scenes-2016-evaluation"
    rng = np.random.default_rng(0)

    def clip(folder: Path, number: int) -> str:
        scene = SCENES[number % 2]
        sound = 0.3 * make_sound(3.0, seed=number % 2) + 0.1 * rng.standard_normal(48000)
        name = f"audio/{chr(97 + number)}{number}_0_30.wav"
        write_audio(folder / name, sound.astype(np.float32))
        return f"{name}\t{scene}"

    lines = [clip(development, number) for number in range(12)]
    (development / "meta.txt").write_text("\n".join(lines) + "\n")
    setup = development / "evaluation_setup"
    setup.mkdir()
    for fold in range(4):
        test = [line for n, line in enumerate(lines) if n // 3 == fold]
        train = [line for n, line in enumerate(lines) if n // 3 != fold]
        (setup / f"fold{fold + 1}_train.txt").write_text("\n".join(train) + "\n")
        (setup / f"fold{fold + 1}_test.txt").write_text(
            "\n".join(line.split("\t")[0] for line in test) + "\n"
        )
        (setup / f"fold{fold + 1}_evaluate.txt").write_text("\n".join(test) + "\n")
    more = [clip(evaluation, number) for number in range(6)]
    (evaluation / "meta.txt").write_text("\n".join(more) + "\n")
    (evaluation / "evaluation_setup").mkdir()
    (evaluation / "evaluation_setup" / "evaluate.txt").write_text("\n".join(more) + "\n")
    (evaluation / "evaluation_setup" / "test.txt").write_text(
        "\n".join(line.split("\t")[0] for line in more) + "\n"
    )
    succeed("extract", root, "--model", model_dir, "--out", root / "emb")
    return root


@pytest.mark.parametrize(("options", "clips"), [((), 6), (("--folds",), 12)])
def test_the_published_protocols(work: Path, options: tuple[str, ...], clips: int) -> None:
    found = json.loads(
        succeed(
            *("scene", work / "emb", "--dataset", "tut2016", "--root", work, "--json"), *options
        )
    )
    assert list(found["decisions"]) == list(Decision)
    for done in found["decisions"].values():
        assert done["clips"] == clips
        assert done["accuracy"] > 0.9
        assert set(done["per_scene"]) == set(SCENES)
    text = succeed("scene", work / "emb", "--dataset", "tut2016", "--root", work, *options)
    assert text.splitlines()[0].split() == [
        "scene",
        "mean",
        "of",
        "scores",
        "majority",
        "mean",
        "vector",
    ]
    assert [line.split()[0] for line in text.splitlines()[1:]] == [*SCENES, "all", "95", "p"]


def test_the_folds_learn_nothing_of_the_evaluation_set(work: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tut"
    shutil.copytree(work, copy)
    place = copy / "TUT-acoustic-scenes-2016-evaluation"
    for path in (place / "meta.txt", place / "evaluation_setup" / "evaluate.txt"):
        fields = [line.split("\t") for line in path.read_text().splitlines()]
        wrong = ["\t".join([name, SCENES[0], *rest]) for name, _, *rest in fields]
        path.write_text("\n".join(wrong) + "\n")
    asked = ("scene", work / "emb", "--dataset", "tut2016", "--folds", "--json", "--root")
    assert succeed(*asked, copy) == succeed(*asked, work)


def test_the_mean_of_scores_is_that_of_scikit_learns(work: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    table = EmbeddingTable.open(work / "emb")
    names = sorted(name for some, _ in table.clip_batches() for name in some)
    lines = [
        f"{name},{'x' if n % 3 else 'y'},{'train' if n % 2 else 'test'}"
        for n, name in enumerate(names)
    ]
    labels.write_text("\n".join(["path,label,split", *lines]))
    clips, segments = (join_labels(table, str(labels), unit) for unit in Unit)
    found = compare_decisions(clips, segments, [training_split(clips)], Logistic(c=0.1))
    train = np.array([split == "train" for split in segments.splits or ()])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(segments.vectors[train].astype(float), segments.classes[train])
    scores = model.predict_proba(segments.vectors[~train].astype(float))
    owners = np.array(segments.clips)[~train]
    done = found[Decision.MEAN_SCORE]
    expected = [scores[owners == name].mean(axis=0) for name in done.clips]
    np.testing.assert_allclose(done.scores, expected, atol=1e-4)
    votes = [np.bincount(scores[owners == name].argmax(axis=1)).argmax() for name in done.clips]
    np.testing.assert_array_equal(found[Decision.MAJORITY].scores.argmax(axis=1), votes)
    whole = evaluate(clips, [training_split(clips)], Logistic(c=0.1))
    np.testing.assert_array_equal(found[Decision.MEAN_VECTOR].scores, whole.scores)


def test_several_labels_are_no_scene(work: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.open(work / "emb")
    [name, *_] = [name for some, _ in table.clip_batches() for name in some]
    (tmp_path / "labels.csv").write_text(f"path,labels\n{name},a;b\n")
    done = run("scene", work / "emb", tmp_path / "labels.csv")
    assert done.returncode == 2
    assert "a scene needs clips with one label each" in done.stderr


def test_a_trained_network_decides_in_the_three_ways_too(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexport(monkeypatch)
    where = ("--dataset", "tut2016", "--root", work)
    recipe = ("--model", "gap-lite", "--epochs", "2", "--batch-size", "8", "--validation", "4")
    succeed("train", *where, "--out", tmp_path / "model", *recipe)
    found = json.loads(succeed("scene", tmp_path / "model", *where, "--json"))
    extractor = ExtractorModule.load(tmp_path / "model")
    right = dict.fromkeys(Decision, 0)
    held = read_published("tut2016", work).split("test")
    for clip in held.clips:
        waveform = np.concatenate(list(decode(clip.path, 16000)))
        scores = extractor.scores(waveform)
        vector = torch.from_numpy(extractor.embed(waveform).mean(axis=0))[None]
        votes = np.bincount(scores.argmax(axis=1), weights=1 + 0.1 * scores.max(axis=1))
        for decision, winner in (
            (Decision.MEAN_SCORE, scores.mean(axis=0).argmax()),
            (Decision.MAJORITY, votes.argmax()),
            (Decision.MEAN_VECTOR, extractor.network.classify(vector).argmax()),
        ):
            right[decision] += extractor.config.labels[int(winner)] == clip.labels[0]
    assert {way: done["correct"] for way, done in found["decisions"].items()} == right
    assert all(done["clips"] == 6 for done in found["decisions"].values())
    text = succeed("scene", tmp_path / "model", *where)
    assert text.splitlines()[-3].split() == [
        "all", *(f"{right[way] / 6:.3f}" for way in found["decisions"])
    ]  # fmt: skip
    done = run("scene", tmp_path / "model", *where, "--folds")
    assert (done.returncode, "--folds needs an embedding folder" in done.stderr) == (2, True)
    # A file that is damaged is named, and the rest scored.
    copy = tmp_path / "tut"
    shutil.copytree(work, copy)
    held_audio = copy / "TUT-acoustic-scenes-2016-evaluation" / "audio"
    next(held_audio.iterdir()).write_bytes(b"RIFF")
    done = run("scene", tmp_path / "model", "--dataset", "tut2016", "--root", copy, "--json")
    assert done.returncode == 3
    assert "1 of 6 files failed or are damaged" in done.stderr
    assert json.loads(done.stdout)["decisions"]["majority"]["clips"] == 5
