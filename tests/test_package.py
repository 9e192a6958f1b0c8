"""What a user installs: the wheel, and that README and code agree."""

import hashlib
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEFAULT_FILES = (
    "config.json", "model.safetensors", "network.onnx", "network-int8.onnx",
    "figures.json", "README.md",
    *(f"names/{size}/classifier.{kind}" for size in (64, 128, 256, 512, 1024)
      for kind in ("json", "safetensors")),
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_no_package_named_cli(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "embedkit").rglob("*.py")}
    commands = {f"embedkit_cli/{path.name}" for path in (ROOT / "cli").glob("*.py")}
    model = {f"embedkit/default_model/{name}" for name in DEFAULT_FILES}
    page = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embedkit" / "web" / "static").rglob("*.*")
    }
    words = {f"embedkit/names/{name}" for name in ("README.md", "ontology.json", "synonyms.toml")}
    data = {"embedkit/py.typed", "embedkit/pages/templates/report.html.j2"} | model | page | words
    assert modules | commands | data <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"embedkit", "embedkit_cli"}


def test_the_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    # Its dependencies are those of this environment: only embedkit itself is installed anew.
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", wheel],
        check=True,
        capture_output=True,
    )
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(here + "\n")
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "embedkit", "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "extract" in done.stdout
    found = subprocess.run(
        [python, "-c", "import embedkit, embedkit_cli; print(embedkit.__file__); import cli"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert found.stdout.strip().startswith(str(tmp_path))
    assert "No module named 'cli'" in found.stderr


def test_the_pages_libraries_are_those_of_their_npm_packages() -> None:
    folder = ROOT / "embedkit" / "web" / "static" / "vendor"
    rows = [line.split("|") for line in (folder / "README.md").read_text().splitlines()[6:]]
    named = {row[1].strip(): row[4].strip() for row in rows}
    assert set(named) == {path.name for path in folder.glob("*.js")}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
