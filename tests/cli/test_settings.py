"""Options from flags, environment and file; how loud the commands are; what their help says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from command import run, succeed
from embedkit_cli import app

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from embedkit_cli import main; main()"]


@pytest.fixture
def emb(tmp_path: Path) -> Path:
    """Eight clips on a circle: how many pairs join them depends on `duplicates --least`."""
    angles = np.array([0, 0.05, 0.5, 1.7, 3.3, 3.35, 3.8, 4.5])
    np.save(tmp_path / "v.npy", np.stack([np.cos(angles), np.sin(angles)], axis=1))
    rows = "\n".join(["path,start,end", *(f"{n}.wav,0,1" for n in range(8))])
    (tmp_path / "rows.csv").write_text(rows)
    options = ("--from", "npy", "--rows", tmp_path / "rows.csv", "--name", "circle")
    succeed("convert", tmp_path / "v.npy", *options, "--out", tmp_path / "emb")
    return tmp_path / "emb"


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    emb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pairs(*options: object, least: tuple[object, ...] = ()) -> int:
        return len(json.loads(succeed(*options, "duplicates", emb, "--json", *least)))

    by_flag = {value: pairs(least=("--least", value)) for value in (-1, 0, 0.5, 0.98)}
    assert len(set(by_flag.values())) == 4
    config = tmp_path / "embedkit.toml"
    config.write_text("[duplicates]\nleast = 0.5\n")
    assert pairs() == by_flag[0.98]
    assert pairs("--config", config) == by_flag[0.5]
    monkeypatch.setenv("EMBEDKIT_DUPLICATES_LEAST", "0")
    assert pairs("--config", config) == by_flag[0]
    assert pairs("--config", config, least=("--least", -1)) == by_flag[-1]
    monkeypatch.delenv("EMBEDKIT_DUPLICATES_LEAST")
    monkeypatch.setenv("EMBEDKIT_CONFIG", str(config))
    assert pairs() == by_flag[0.5]


def test_a_file_reaches_commands_within_commands_and_flags(emb: Path, tmp_path: Path) -> None:
    config = tmp_path / "embedkit.toml"
    config.write_text(
        '[bench.sizes]\nsizes = "64,128"\nhold-out-fold = 1\nfamily = ["mlp"]\nout = "o"\n'
        'data = "d"\n[info]\njson = true\n'
    )
    done = run("--config", config, "bench", "sizes")
    assert (done.returncode, "d: no such file or folder" in done.stderr) == (1, True)
    assert json.loads(succeed("--config", config, "info", emb))["rows"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[extrat]\nworkers = 2", "no command 'extrat'; did you mean extract?"),
        ("[extract]\nworker = 2", "extract: no option 'worker'; did you mean workers?"),
        ("[classify.fitt]\nc = 1", "classify: no command 'fitt'; did you mean fit?"),
        ("[models]\nxyz = 1", "models: no option 'xyz'; there are: add, classes"),
        ("models = 3", "models is a command: expected a table [models]"),
        ("[models", "cannot be read as TOML"),
        ("[models]\nclasses = 'many'", "Invalid value for '--classes'"),
    ],
)
def test_what_a_file_says_wrongly_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "embedkit.toml").write_text(text)
    done = run("--config", tmp_path / "embedkit.toml", "models")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert run("--config", tmp_path / "none.toml", "models").returncode == 2


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (("modles",), "models"),
        (("models", "--clases", "3"), "--classes"),
        (("classify", "evaluate", "EMB", "--labels", "folders", "--method", "logstic"), "logistic"),
        (("search", "EMB", "0.wav", "--index", "hsnw"), "hnsw"),
        (("search", "EMB", "0.wav", "--metric", "cosin"), "cosine"),
        (("map", "EMB", "--out", "m.png", "--projection", "umpa"), "umap"),
        (("convert", "EMB", "--to", "tensorbord", "--out", "x"), "tensorboard"),
        (("convert", "EMB", "--from", "parket", "--name", "x", "--out", "x"), "parquet"),
        (("train", "--dataset", "audioste", "--root", ".", "--model", "gap", "--out", "x"),
         "audioset"),
        (("train", "EMB", "--model", "gap-lit", "--out", "x"), "gap-lite"),
        (("extract", "EMB", "--out", "x", "--runtime", "onxx"), "onnx"),
    ],
)  # fmt: skip
def test_the_nearest_spelling_is_named(wrong: tuple[str, ...], right: str, emb: Path) -> None:
    done = run(*(emb if word == "EMB" else word for word in wrong))
    assert (done.returncode, right in done.stderr) == (2, True), done.stderr


def test_quiet_leaves_out_messages_but_not_failures(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "bad.wav").write_bytes(b"RIFF")
    command = ("extract", tmp_path / "audio", "--model", model_dir, "--out")
    loud = run(*command, tmp_path / "one")
    quiet = run("--quiet", *command, tmp_path / "two")
    assert loud.returncode == quiet.returncode == 3
    assert "bad.wav" in quiet.stderr
    held = "a worker held at most"
    assert (held in loud.stderr, held in quiet.stderr) == (True, False)


def test_a_version_in_the_environment_is_nobodys_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EMBEDKIT_VERSION", "0.1.0")
    monkeypatch.setenv("EMBEDKIT_INSTALL_COMPLETION", "1")
    monkeypatch.setenv("EMBEDKIT_SHOW_COMPLETION", "1")
    assert succeed("models").startswith("name ")


def test_verbose_shows_what_led_to_an_error(tmp_path: Path) -> None:
    plain, more = run("info", tmp_path / "none"), run("-v", "info", tmp_path / "none")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in more.stderr
    assert more.stderr.endswith(plain.stderr)


def test_no_color_is_honoured() -> None:
    def colours(**environment: str) -> bool:
        done = subprocess.run(
            [*COMMAND, "models", "--help"],
            env={"PATH": "", "TERM": "xterm-256color", "FORCE_COLOR": "1", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return bool(re.search("\x1b\\[[0-9;]*3[0-7]", done.stdout))

    assert colours()
    assert not colours(NO_COLOR="1")


def test_a_shell_can_complete_commands() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("embedkit")],
        env={"PATH": "", "_EMBEDKIT_COMPLETE": "complete_bash", "COMP_WORDS": "embedkit mod",
             "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["models"]


def every_command(group: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each command's name and help."""
    for command in group.commands.values():
        full = f"{name} {command.name}".strip()
        if hasattr(command, "commands"):
            yield from every_command(command, full)
        else:
            yield full, command.help


def test_every_commands_help_has_an_example_of_it() -> None:
    helps = dict(every_command(typer.main.get_command(app)))
    assert len(helps) > 20
    for name, text in helps.items():
        assert f"Example: embedkit {name}" in " ".join(text.split()), name


def test_the_reference_is_what_help_says(tmp_path: Path) -> None:
    command = ("embedkit_cli", "utils", "docs", "--name", "embedkit", "--output")
    subprocess.run(
        [Path(sys.executable).with_name("typer"), *command, tmp_path / "commands.md"],
        capture_output=True,
        check=True,
    )
    there, now = (ROOT / "docs" / "commands.md").read_text(), (tmp_path / "commands.md").read_text()
    assert there == now, f"run: typer {' '.join(command)} docs/commands.md"
