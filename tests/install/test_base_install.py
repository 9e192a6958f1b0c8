"""What works without extras, in an environment that has the base's requirements and no others."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
RUN = "from embedkit_cli import main; main()"

pytestmark = pytest.mark.install


def needed() -> set[str]:
    """The distributions that an installation of the base brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    queue = [Requirement(line) for line in project["dependencies"]]
    found: dict[str, set[str]] = {}
    while queue:
        wanted = queue.pop()
        extras = found.setdefault(wanted.name, set())
        if extras and wanted.extras <= extras:
            continue
        extras |= {"", *wanted.extras}
        for line in importlib.metadata.requires(wanted.name) or ():
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": e}) for e in extras):
                queue.append(more)
    return set(found)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with links to what the base requires: as pip would install it."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    venv.create(folder, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name in needed():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    (site / "embedkit").symlink_to(ROOT / "embedkit")
    (site / "embedkit_cli").symlink_to(ROOT / "cli")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def sounds(
    tmp_path_factory: pytest.TempPathFactory,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., Any],
) -> Path:
    folder = tmp_path_factory.mktemp("sounds") / "audio"
    for number in range(12):
        path = folder / "ab"[number % 2] / f"{number}.wav"
        write_audio(path, make_sound(1.5, seed=number))
    return folder


def command(base: Path, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [base, "-c", RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_the_environment_has_no_torch(base: Path) -> None:
    code = (
        "import importlib.util as u;"
        "print([n for n in ('torch', 'torchaudio', 'onnx', 'pandas', 'umap') if u.find_spec(n)])"
    )
    assert subprocess.check_output([base, "-c", code], text=True) == "[]\n"


def test_the_way_from_sounds_to_names_works(base: Path, sounds: Path, tmp_path: Path) -> None:
    emb, fitted = tmp_path / "emb", tmp_path / "classifier"
    command(base, "extract", sounds, "--out", emb)
    found = json.loads(command(base, "search", emb, sounds / "a" / "0.wav", "--json"))
    assert found[0]["results"][0]["clip"] == "a/0.wav"
    command(base, "index", emb, "--index", "hnsw")
    evaluate = ("classify", "evaluate", emb, "--labels", "folders", "--k-folds", 2, "--json")
    assert json.loads(command(base, *evaluate))["clips"] == 12
    command(base, "classify", "fit", emb, "--labels", "folders", "--out", fitted)
    named = command(base, "classify", "predict", emb, "--classifier", fitted)
    assert "a/0.wav" in named
    heard = command(base, "search", emb, "--text", "a", "--classifier", fitted, "--json")
    assert json.loads(heard)[0]["results"][0]["name"] == "a"
    command(base, "classify", "fit", emb, "--labels", "folders", "--method", "plda",
            "--out", tmp_path / "plda")  # fmt: skip
    command(base, "verify", emb, "a/0.wav", "a/2.wav", "--classifier", tmp_path / "plda")
    for options in ((), ("--stretches", "--least", 0.01), ("--classifier", fitted)):
        assert "a/0.wav" in command(base, "tag", emb, *options)
    command(base, "duplicates", emb)
    command(base, "map", emb, "--out", tmp_path / "map.html")
    command(base, "convert", emb, "--to", "npz", "--out", tmp_path / "vectors.npz")
    for what in (emb, sounds / "a" / "0.wav", ROOT / "embedkit" / "default_model"):
        command(base, "info", what)
    assert "gap-lite" in command(base, "models", "--classes", 10)
    sizes = ("bench", "sizes", "--embeddings", emb, "--labels", "folders", "--sizes", "64")
    command(base, *sizes)


def test_the_demo_works(base: Path, tmp_path: Path) -> None:
    command(base, "demo", "--out", tmp_path / "demo")
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "AUDIO", "--out", "OUT"),
        ("evaluate", "MODEL", "AUDIO"),
        ("predict", "MODEL", "AUDIO"),
        ("export", "MODEL"),
        ("extract", "AUDIO", "--out", "OUT", "--device", "cuda"),
        ("extract", "AUDIO", "--out", "OUT", "--runtime", "torch"),
    ],
)
def test_what_needs_torch_says_what_to_install(
    base: Path, sounds: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    places = {
        "AUDIO": sounds, "OUT": tmp_path / "out", "MODEL": ROOT / "embedkit" / "default_model"
    }  # fmt: skip
    said = command(base, *(places.get(word, word) for word in arguments), code=2)
    assert said.lstrip("\n") == (  # an older rich leaves a line where a bar was
        "embedkit: this needs torch, which is not installed: pip install 'embedkit[train]'\n"
    )
    assert not (tmp_path / "out").exists()
