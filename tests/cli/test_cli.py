"""The command line from outside: exit codes, what goes to stdout, and that both paths agree."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import run, succeed
from patience import PATIENCE

from embedkit.models.build import count_macs
from embedkit.models.table import MODELS
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    """A folder with audio/<a|b|c>/<n>.wav, labels.csv with folds, and embeddings of it."""
    root = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    lines = ["path,label,fold"]
    for label in "abc":
        (root / "audio" / label).mkdir(parents=True)
        for number in range(4):
            path = root / "audio" / label / f"{number}.wav"
            noise = 0.1 * rng.standard_normal(24000)
            tone = np.sin(2 * np.pi * 300 * (ord(label) - 96) * np.arange(24000) / 16000)
            soundfile.write(path, 0.3 * tone + noise, 16000)
            lines.append(f"audio/{label}/{number}.wav,{label},{number % 2}")
    (root / "labels.csv").write_text("\n".join(lines))
    succeed("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    return root


def test_help_names_every_command() -> None:
    text = succeed("--help")
    commands = "train evaluate predict extract classify search models info demo bench"
    assert all(f" {command} " in text for command in commands.split())


def test_models_lists_the_table_as_json() -> None:
    found = json.loads(succeed("models", "--json"))
    rows = {row["name"]: row for row in found["networks"]}
    assert rows["gap"] == {
        "name": "gap", "parameters": 2589135, "embedding_size": 256,
        "macs": count_macs(MODELS["gap"]),  # there on shapes alone
    }  # fmt: skip
    assert rows["alexnet-bn"]["parameters"] == 56111673
    fewer = json.loads(succeed("models", "--json", "--classes", "10"))["networks"]
    # One output per class, each with a weight per unit and a bias.
    assert {row["name"]: rows[row["name"]]["parameters"] - row["parameters"] for row in fewer}[
        "gap"
    ] == (527 - 10) * 257
    for name in ("default", "fast"):
        own = found[name]
        assert (own["network"], own["embedding_size"]) == ("gap-lite", 256)
        assert [row["size"] for row in own["sizes"]] == [64, 128, 256, 512, 1024]
        assert own["sizes"][0]["bytes_an_hour"] == 64 * 4 * 3600
    [line] = [line for line in succeed("models").splitlines() if line.startswith("    256 ")]
    accuracies = [found[name]["sizes"][2]["esc10_accuracy"] for name in ("default", "fast")]
    assert line.split() == ["256", "3.7", *(f"{accuracy:.1%}" for accuracy in accuracies)]


def test_extract_counts_what_the_table_holds(work: Path, model_dir: Path) -> None:
    out = work / "again"
    done = json.loads(
        succeed("extract", work / "audio", "--model", model_dir, "--out", out, "--json")
    )
    table = EmbeddingTable.open(out)
    assert (done["files"], done["rows"], done["failures"]) == (12, len(table), [])
    np.testing.assert_array_equal(
        table.rows().embeddings, EmbeddingTable.open(work / "emb").rows().embeddings
    )


def test_extract_names_what_it_skipped_and_refuses_a_folder_without_audio(
    work: Path, model_dir: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "sounds", tmp_path / "emb"
    (root / "@eaDir").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.pdf", "\x1b[2J.t\x1b"):
        (root / name).write_text("words")
    command = ["extract", root, "--model", model_dir, "--out", out]
    for extra in ([], ["--shard", "1/2"], ["--dry-run"]):
        done = run(*command, *extra)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"no audio file below {root}: there are 2 .txt, 1 .pdf, 1 .t\\x1b" in done.stderr
    assert not out.exists()  # else it would be bound to the wrong folder
    for other in (["predict", model_dir, root], ["search", work / "emb", root]):
        assert f"no audio file below {root}" in run(*other).stderr
        assert run(*other).returncode == 2
    (root / "a.wav").write_bytes((work / "audio/a/0.wav").read_bytes())
    for extra in (["--dry-run"], []):
        done = run(*command, *extra)
        assert done.returncode == 0
        assert "skipped, not audio: 4 (2 .txt, 1 .pdf, 1 .t\\x1b)\n" in done.stderr
        assert "left alone: 1 (1 @eaDir)\n" in done.stderr
    told = json.loads(succeed(*command, "--json"))
    assert told["skipped"] == 4
    assert told["skipped_suffixes"] == {".txt": 2, ".pdf": 1, ".t\\x1b": 1}
    assert told["left_alone"] == {"@eaDir": 1}


def test_a_damaged_file_ends_as_exit_code_3_and_all_others_as_rows(
    work: Path, model_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "good.wav").write_bytes((work / "audio" / "a" / "0.wav").read_bytes())
    (tmp_path / "bad.wav").write_text("no sound here")
    done = run("extract", tmp_path, "--model", model_dir, "--out", tmp_path / "emb", "--json")
    assert done.returncode == 3
    failures = json.loads(done.stdout)["failures"]
    assert [(failure["clip"], failure["kind"]) for failure in failures] == [
        ("bad.wav", "unreadable")
    ]
    assert "bad.wav" in done.stderr
    again = run("extract", tmp_path, "--model", model_dir, "--out", tmp_path / "emb", "--json")
    assert (again.returncode, json.loads(again.stdout)["failed_before"]) == (3, 1)
    info = json.loads(succeed("info", tmp_path / "emb", "--json"))
    assert info["failed_or_damaged"] == {"unreadable": 1}
    assert info["rows"] == 2


def test_search_by_clip_and_by_the_same_file_agree(work: Path) -> None:
    by_clip, by_file = json.loads(
        succeed("search", work / "emb", "a/0.wav", work / "audio/a/0.wav", "--json", "--top", "13")
    )
    assert by_clip["query"] == "a/0.wav"
    assert len(by_file["results"]) == 12  # a file finds itself too, a clip only others
    others = [result for result in by_file["results"] if result["clip"] != "a/0.wav"]
    assert [result["clip"] for result in others] == [
        result["clip"] for result in by_clip["results"]
    ]
    np.testing.assert_allclose(
        [result["similarity"] for result in others],
        [result["similarity"] for result in by_clip["results"]],
        atol=1e-5,
    )
    assert set(by_clip["results"][0]) == {"clip", "start_s", "end_s", "similarity"}


def test_classify_fit_evaluate_and_predict_agree(work: Path) -> None:
    labels = work / "labels.csv"
    fitted = succeed(
        *("classify", "fit", work / "emb", "--labels", labels, "--out", work / "classifier"),
        *("--hold-out-fold", "0"),
    )
    assert "6 clips of 3 labels" in fitted
    predicted = json.loads(
        succeed("classify", "predict", work / "emb", "--classifier", work / "classifier", "--json")
    )
    right = sum(row["label"] == row["clip"][0] for row in predicted if int(row["clip"][2]) % 2 == 0)
    figures = json.loads(
        succeed(
            *("classify", "evaluate", work / "emb", "--labels", labels),
            *("--hold-out-fold", "0", "--json"),
        )
    )
    assert (figures["clips"], figures["correct"]) == (6, right)
    by_folder = json.loads(
        succeed(
            *("classify", "evaluate", work / "emb", "--labels", "folders", "--k-folds", "2"),
            "--json",
        )
    )
    assert by_folder["clips"] == 12


def test_evaluate_and_predict_of_a_network_agree(work: Path, model_dir: Path) -> None:
    figures = json.loads(succeed("evaluate", model_dir, work / "labels.csv", "--json"))
    clips = json.loads(succeed("predict", model_dir, work / "audio", "--json"))
    right = sum(
        max(clip["scores"], key=clip["scores"].__getitem__) == clip["clip"][0] for clip in clips
    )
    assert (figures["clips"], figures["correct"]) == (12, right)


def test_info_of_a_model_and_of_a_sound(work: Path, model_dir: Path) -> None:
    model = json.loads(succeed("info", model_dir, "--json"))
    assert (model["embedding_size"], model["labels"]) == (64, ["a", "b", "c"])
    sound = json.loads(succeed("info", work / "audio/a/0.wav", "--json"))
    assert (sound["sample_rate"], sound["channels"], sound["duration_s"]) == (16000, 1, 1.5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["extract", "nowhere", "--model", "MODEL", "--out", "OUT"], 2, "nowhere"),
        (["extract", "AUDIO", "--model", "AUDIO", "--out", "OUT"], 1, "config.json"),
        (["extract", "AUDIO", "--model", "MODEL", "--out", "OUT", "--channel", "up"], 2, "up"),
        (["extract", "AUDIO", "--model", "MODEL", "--out", "EMB", "--hop", "0.5"], 1, "hop_s"),
        (["search", "EMB", "nothing.wav"], 2, "nothing.wav"),
        (["search", "AUDIO", "a/0.wav"], 1, "manifest.json"),
        (["train", "AUDIO", "--model", "gab", "--out", "OUT"], 2, "gap"),
        (["train", "AUDIO", "--model", "gap", "--out", "MODEL"], 2, "resume"),
        (["classify", "evaluate", "EMB", "--labels", "missing.csv"], 1, "missing.csv"),
        (["classify", "evaluate", "EMB", "--labels", "LABELS", "--hold-out-fold", "7"], 1, "0, 1"),
        (["classify", "predict", "EMB", "--classifier", "AUDIO"], 1, "classify fit"),
        (["info", "nowhere"], 2, "nowhere"),
        (["predict", "MODEL", "AUDIO", "--device", "banana"], 2, "banana"),
        (["train", "AUDIO", "--model", "gap", "--out", "OUT", "--bands", "8"], 2, "8 bands"),
        (["train", "AUDIO", "--model", "gap", "--out", "OUT", "--n-fft", "65536"], 2, "65536"),
        (["extract", "AUDIO", "--model", "MODEL", "--out", "AUDIO"], 1, "not an embedding folder"),
        (["models", "--classes", "0"], 2, "classes"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_end_in_words_and_an_exit_code(
    work: Path, model_dir: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    places = {
        "MODEL": model_dir, "AUDIO": work / "audio", "EMB": work / "emb",
        "LABELS": work / "labels.csv", "OUT": tmp_path / "out",
    }  # fmt: skip
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_a_name_cannot_steer_the_terminal(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "\x1b[2Jbad.wav").write_text("no sound")
    done = run("extract", tmp_path, "--model", model_dir, "--out", tmp_path / "emb")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert "\\x1b[2Jbad.wav" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(
    model_dir: Path, tmp_path: Path, workers: int
) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(16000 * 4), 16000)
    out = tmp_path / "emb"
    arguments = ["extract", tmp_path, "--model", model_dir, "--out", out, "--workers", workers]
    # Whoever runs the tests in the background may have them ignore the signal.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from embedkit_cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out / f".lock-{workers - 1:05d}").exists():  # the last worker has begun to write
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(out.glob("rows/.part-*"))
    done = json.loads(succeed(*arguments, "--json"))
    assert done["files"] + done["already_done"] == 24
    assert len(EmbeddingTable.open(out)) == 96
