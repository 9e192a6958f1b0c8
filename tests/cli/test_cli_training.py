"""Training from the command line: published data sets, sizes, and the paper's tables."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from numpy.typing import NDArray
from unexported import unexport

from embedkit.checkpoint import load_config
from embedkit.store import EmbeddingTable
from embedkit.training.card import CARD

QUICK = ("--model", "gap-lite", "--epochs", 1, "--batch-size", 4, "--segment", 0.5)
SMALL = ("--bands", 32, "--n-fft", 512)


@pytest.fixture(scope="module")
def sounds(
    tmp_path_factory: pytest.TempPathFactory,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., NDArray[np.float32]],
) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    return [
        write_audio(folder / f"{number}.wav", make_sound(1.2, seed=number)) for number in range(8)
    ]


def audioset(root: Path, sounds: list[Path]) -> None:
    header = "# Segments csv\n# num_ytids=9\n# YTID, start_seconds, end_seconds, positive_labels\n"
    mids = ('"/m/09x0r,/t/dd00088"', '"/m/05zppz"')
    rows = [f"abcdefghij{n}, 30.000, 40.000, {mids[n % 2]}\n" for n in range(8)]
    gone = 'gone-gone-g, 0.000, 10.000, "/m/09x0r"\n'
    (root / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'
        '2,/t/dd00088,"Gush"\n3,/m/0l7xg,"Gears"\n'
    )
    (root / "balanced_train_segments.csv").write_text(header + "".join(rows[:6]) + gone)
    (root / "eval_segments.csv").write_text(header + "".join(rows[6:]))
    for number, sound in enumerate(sounds):
        shutil.copy(sound, root / f"Yabcdefghij{number}_30.000.wav")


def tut2016(root: Path, sounds: list[Path]) -> None:
    dev = root / "TUT-acoustic-scenes-2016-development"
    (dev / "evaluation_setup").mkdir(parents=True)
    (dev / "audio").mkdir()
    labels = {f"audio/a00{n}_0_30.wav": ("beach", "tram")[n // 4] for n in range(8)}
    for number, sound in enumerate(sounds):
        shutil.copy(sound, dev / "audio" / f"a00{number}_0_30.wav")
    (dev / "meta.txt").write_text("".join(f"{name}\t{label}\n" for name, label in labels.items()))
    for fold in range(4):
        test = [name for n, name in enumerate(labels) if n % 4 == fold]
        train = [f"{name}\t{label}\n" for name, label in labels.items() if name not in test]
        setup = dev / "evaluation_setup"
        (setup / f"fold{fold + 1}_test.txt").write_text("".join(f"{name}\n" for name in test))
        (setup / f"fold{fold + 1}_train.txt").write_text("".join(train))


def esc(root: Path, sounds: list[Path]) -> None:
    (root / "meta").mkdir()
    (root / "audio").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for number, sound in enumerate(sounds):
        name = f"1-{number}-A-{number % 2}.wav"
        shutil.copy(sound, root / "audio" / name)
        label = ("dog", "rain")[number % 2]
        lines.append(f"{name},{1 + number // 4},{number % 2},{label},True,{number},A")
    (root / "meta" / "esc50.csv").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("dataset", "write", "labels", "options"),
    [
        ("audioset", audioset, ("Speech", "Male speech, man speaking", "Gush", "Gears"), ()),
        ("tut2016", tut2016, ("beach", "tram"), ("--hold-out-fold", 1)),
        ("esc50", esc, ("dog", "rain"), ("--hold-out-fold", 1)),
        ("esc10", esc, ("dog", "rain"), ()),
    ],
)
def test_a_published_data_set_trains_and_is_evaluated(
    tmp_path: Path,
    sounds: list[Path],
    dataset: str,
    write: Callable[[Path, list[Path]], None],
    labels: tuple[str, ...],
    options: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unexport(monkeypatch)
    (tmp_path / "root").mkdir()
    write(tmp_path / "root", sounds)
    where = ("--dataset", dataset, "--root", tmp_path / "root")
    out = tmp_path / "model"
    answer = json.loads(succeed("train", *where, "--out", out, *QUICK, *SMALL, *options, "--json"))
    assert answer["epoch"] == 1
    assert load_config(out).labels == labels
    if dataset == "audioset":
        assert (out / "left_out.csv").read_text().split() == ["clip,reason", "gone-gone-g,missing"]
        assert "| source | AudioSet |" in (out / CARD).read_text()
        held: tuple[object, ...] = ("--split", "test")
        figure = "weighted_auc"
    else:
        held, figure = ("--fold", 1), "accuracy"
    assert 0 <= json.loads(succeed("evaluate", out, *where, *held, "--json"))[figure] <= 1


def test_one_training_gives_several_sizes(tmp_path: Path, sounds: list[Path]) -> None:
    lines = [f"{sound},{('a', 'b')[number % 2]}" for number, sound in enumerate(sounds)]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["path,label", *lines]))
    model = tmp_path / "model"
    sizes = ("--dims", "128,64", "--cache", tmp_path / "cache", "--features", "mfcc")
    coefficients = ("--coefficients", 24)
    succeed("train", labels, "--out", model, *QUICK, *SMALL, *sizes, *coefficients)
    info = json.loads(succeed("info", model, "--json"))
    assert (info["embedding_size"], info["embedding_sizes"]) == (128, [64, 128])
    assert info["features"]["kind"] == "mfcc"
    assert list((tmp_path / "cache").rglob("*.f32"))
    for dim in (64, 128):
        out = tmp_path / str(dim)
        # One worker fills its batches alike in both runs: with several, last digits differ.
        settings = ("--dim", dim, "--workers", 1)
        succeed("extract", sounds[0].parent, "--model", model, "--out", out, *settings)
        assert EmbeddingTable.open(out).embedding_size == dim
    small, whole = (EmbeddingTable.open(tmp_path / str(dim)).rows() for dim in (64, 128))
    np.testing.assert_array_equal(small.embeddings, whole.embeddings[:, :64])
    figures = [
        json.loads(succeed("evaluate", model, labels, "--dim", dim, "--json")) for dim in (64, 128)
    ]
    assert figures[0]["weighted_auc"] != figures[1]["weighted_auc"]
    scores = succeed("predict", model, sounds[0], "--dim", 64, "--json")
    assert scores != succeed("predict", model, sounds[0], "--json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "audioset"], "name a folder or manifest, or --dataset NAME with --root DIR"),
        (["x", "--dataset", "esc50", "--root", "y"], "name a folder or manifest, or --dataset"),
        (["--dataset", "esc", "--root", "."], "no data set 'esc'; did you mean esc50?"),
        ([".", "--dims", "64,many"], "--dims 64,many: expected sizes such as 64,128,256"),
    ],
)
def test_wrong_usage_is_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run("train", *arguments, "--model", "gap", "--out", tmp_path / "model")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_where_ctrl_c_ends_a_training_it_says_how_it_goes_on(
    tmp_path: Path, sounds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("embedkit.training.train", interrupted)
    lines = [f"{sound},{('a', 'b')[number % 2]}" for number, sound in enumerate(sounds)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    done = run("train", tmp_path / "labels.csv", "--model", "mlp", "--out", tmp_path / "model")
    assert done.returncode == 130
    assert "interrupted; run again with --resume to go on\n" in done.stderr


def test_the_papers_tables_come_out_of_one_command(
    tmp_path: Path, sounds: list[Path], narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexport(monkeypatch)
    lines = [
        f"{sound},{('a', 'b')[number % 2]},{number // 4}" for number, sound in enumerate(sounds)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,fold", *lines]))
    arguments = (
        *("bench", "paper", "--data", tmp_path / "labels.csv", "--folds", "all"),
        *("--models", "mlp,gap", "--features", "log-mel", "--epochs", 1, "--batch-size", 4),
        *("--out", tmp_path / "out"),
    )
    answer = json.loads(succeed(*arguments, "--json"))
    assert [row["name"] for row in answer["rows"]] == ["mlp", "gap"]
    verdicts = {entry["claim"]: entry["verdict"] for entry in answer["claims"]}
    assert verdicts["CNN > RNN"] == "not run"
    assert verdicts["PLDA on embeddings helps"] != "not run"
    text = succeed(*arguments)
    assert "| MLP | 3 x 1000, BN |" in text
    assert text == (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "auc.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "bytes.png").read_bytes().startswith(b"\x89PNG")
