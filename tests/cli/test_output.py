"""What commands print: on streams of any encoding, closed, full, or left by their reader."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from embedkit_cli import main
from embedkit_cli._output import message

from embedkit.classifiers import logistic
from embedkit.errors import EmbedkitWarning
from embedkit.store import EmbeddingTable

COMMAND = [sys.executable, "-c", "from embedkit_cli import main; main()"]
ENCODINGS = ("ascii", "latin-1", "cp1252")


@dataclass
class Printed:
    code: int
    out: str
    errors: str


def print_in(encoding: str, *arguments: object) -> Printed:
    """The command with streams of an encoding, as a terminal or a batch system has them."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding, newline="\n") for _ in range(2))
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", ["embedkit", *map(str, arguments)])
        patch.setenv("PYTHONWARNINGS", "ignore")
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    texts = []
    for stream in (out, errors):
        stream.flush()
        content = stream.buffer
        assert isinstance(content, io.BytesIO)
        texts.append(content.getvalue().decode(encoding))
    return Printed(int(code or 0), *texts)


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory,
    model_dir: Path,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., np.ndarray],
) -> Path:
    """Sounds of two labels whose names no small encoding holds, their vectors and classifiers."""
    root = tmp_path_factory.mktemp("wörk 日本")
    audio = root / "audio"
    for number, label in enumerate(["Äöé", "日本 🐦"] * 3):
        write_audio(audio / label / f"né {number}.wav", make_sound(1.2, seed=number))
    # Of a name whose bytes are not UTF-8, as of an old disk; and a sound that is none.
    write_audio(Path(os.fsdecode(os.fsencode(audio / "Äöé") + b"/caf\xe9.wav")), make_sound(1.2))
    (audio / "日本 🐦" / "kaputt ü.wav").write_text("no sound")
    done = run("extract", audio, "--model", model_dir, "--out", root / "emb", "--workers", "1")
    assert done.returncode == 3, done.stderr
    for method in ("logistic", "plda"):
        options = ("--labels", "folders", "--method", method, "--out", root / method)
        succeed("classify", "fit", root / "emb", *options)
    return root


COMMANDS = {
    "info": "info EMB",
    "info json": "info EMB --json",
    "search": "search EMB CLIP FILE",
    "search csv": "search EMB CLIP FILE --format csv",
    "search json": "search EMB CLIP FILE --json",
    "search nothing": "search EMB ノー",
    "duplicates": "duplicates EMB --least -1",
    "duplicates json": "duplicates EMB --least -1 --json",
    "evaluate classifier": "classify evaluate EMB --labels folders --k-folds 2 -C 0.1",
    "evaluate classifier json": "classify evaluate EMB --labels folders --k-folds 2 -C 0.1 --json",
    "apply": "classify predict EMB --classifier WORK/logistic",
    "apply json": "classify predict EMB --classifier WORK/logistic --json",
    "apply to a file": "classify predict EMB --classifier WORK/logistic --out WORK/ß.csv",
    "verify": "verify EMB CLIP FILE --classifier WORK/plda --json",
    "label": "label EMB --answers WORK/äntworten.csv",
    "label json": "label EMB --answers WORK/äntworten.csv --json",
    "scene": "scene EMB AUDIO --method knn",
    "scene json": "scene EMB AUDIO --method knn --json",
    "predict": "predict MODEL AUDIO",
    "predict segments": "predict MODEL AUDIO --segments",
    "predict json": "predict MODEL AUDIO --json",
    "convert": "convert EMB --to nöpe --out WORK/x",
    "map": "map EMB --out WORK/kärte.png",
    "models": "models --classes ü",
    "help": "classify --help",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_any_encoding_takes_what_a_command_prints(
    work: Path, model_dir: Path, command: str
) -> None:
    places = {
        "EMB": str(work / "emb"),
        "AUDIO": str(work / "audio"),
        "MODEL": str(model_dir),
        "CLIP": "Äöé/né 0.wav",
        "FILE": str(work / "audio" / "日本 🐦" / "né 1.wav"),
    }
    words = [places.get(word, word.replace("WORK", str(work))) for word in command.split(" ")]
    whole = print_in("utf-8", *words)
    for encoding in ENCODINGS:
        found = print_in(encoding, *words)
        assert found.code == whole.code, found.errors
        assert "Traceback" not in found.errors
        if "json" in command:
            assert json.loads(found.out) == json.loads(whole.out)
        elif "help" not in command:  # whose frames are drawn with other characters
            escaped = whole.out.encode(encoding, "backslashreplace").decode(encoding)
            # Columns are as wide as what stands in them.
            assert [line.split() for line in found.out.splitlines()] == [
                line.split() for line in escaped.splitlines()
            ]


def test_a_table_lines_up_with_its_escapes(work: Path) -> None:
    # Text columns stand left and the last one is not padded: rows of one width before it.
    table = print_in("ascii", "duplicates", work / "emb", "--least", -1).out.splitlines()
    column = table[0].index("other")
    clips, _ = EmbeddingTable.open(work / "emb").clip_vectors()
    assert len(table) == len(clips) > 5  # the header, and the pairs that join n clips: n - 1
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in table)


def test_a_name_of_odd_bytes_is_told_as_the_folder_has_it(work: Path, model_dir: Path) -> None:
    clips = json.loads(print_in("utf-8", "predict", model_dir, work / "audio", "--json").out)
    [odd] = [clip["clip"] for clip in clips if "caf" in clip["clip"]]
    assert odd == "Äöé/caf\\xe9.wav"
    # Named on the command line it holds a lone surrogate, which UTF-8 does not take either.
    path = os.fsdecode(os.fsencode(work / "audio" / "Äöé") + b"/caf\xe9.wav")
    for form in ("csv", "table", "json"):
        done = print_in("utf-8", "search", work / "emb", path, path, "--format", form)
        assert done.code == 0, done.errors
        assert "caf\\udce9.wav" in done.out


def start(arguments: list[str], **streams: int) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False, **streams)


def test_a_process_in_the_c_locale_prints_json_that_can_be_read(work: Path) -> None:
    arguments = ["info", str(work / "emb"), "--json"]
    done = start(arguments, stdout=subprocess.PIPE)
    assert json.loads(done.stdout.decode("ascii")) == json.loads(succeed(*arguments))


def test_a_full_disk_and_a_reader_that_left_are_no_traceback(work: Path) -> None:
    arguments = ["info", str(work / "emb")]
    with open("/dev/full", "wb") as full:
        done = start(arguments, stdout=full.fileno(), stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert done.stderr.count(b"\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = start(arguments, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_closed_streams_are_no_error(work: Path) -> None:
    lines = f'exec "{sys.executable}" -c "{COMMAND[-1]}" info "{work}/emb" >&- 2>&-'
    assert subprocess.run(["sh", "-c", lines], check=False).returncode == 0


def test_only_our_own_warnings_reach_users(
    work: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warn(*_: object, **__: object) -> object:
        warnings.warn("lbfgs failed to converge", FutureWarning, stacklevel=1)
        warnings.warn("two classes are left out", EmbedkitWarning, stacklevel=1)
        logging.getLogger("matplotlib").warning("a temporary folder")
        return real(*_, **__)

    real = EmbeddingTable.open
    monkeypatch.setattr(EmbeddingTable, "open", warn)
    quiet = run("info", work / "emb")
    assert quiet.stderr == "warning: two classes are left out\n"
    told = run("--verbose", "info", work / "emb")
    assert "FutureWarning: lbfgs failed to converge" in told.stderr


@pytest.mark.parametrize("steps", [1, 1000])
def test_a_regression_that_has_not_converged_is_said_in_our_words(
    work: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(logistic, "STEPS", steps)
    options = ("--labels", "folders", "--k-folds", "2", "-C", "1")
    done = run("classify", "evaluate", work / "emb", *options)
    told = [line for line in done.stderr.splitlines() if "converge" in line.lower()]
    words = "warning: logistic regression had not converged after 1 steps (C = 1): its scores may"
    assert [line.startswith(words) for line in told] == [True] * (steps == 1)  # once for all folds


def test_a_message_keeps_its_lines_and_nothing_else_that_steers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "embedkit"):
        message("one\n\x1b[2Jtwo\n\nfour")
    assert caplog.messages == ["one\n\\x1b[2Jtwo\n\nfour"]
