"""What a user installs: the wheel, and the source that it is built from."""

import email
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from embedkit import __version__

ROOT = Path(__file__).parents[2]
OWN_FILES = {
    f"embedkit/{model}/{name}"
    for model, sizes in (("default_model", (64, 128, 256, 512, 1024)), ("fast_model", (64, 256)))
    for name in (
        "config.json", "model.safetensors", "network.onnx", "figures.json", "README.md",
        *(f"names/{size}/classifier.{kind}" for size in sizes for kind in ("json", "safetensors")),
    )
} | {"embedkit/default_model/network-int8.onnx"}  # fmt: skip

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_twine_finds_nothing_wrong(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2, done.stdout


def test_the_wheel_is_light_and_says_what_it_is(wheel: Path) -> None:
    assert wheel.stat().st_size < 25e6
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        facts = email.message_from_bytes(archive.read(name))
    assert facts["Name"] == "embedkit"
    assert facts["Version"] == __version__
    assert "Typing :: Typed" in facts.get_all("Classifier", [])
    lowest = facts["Requires-Python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {lowest}" in facts.get_all("Classifier", [])


def test_the_source_holds_what_it_is_built_from_and_its_licence(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.check_output(["git", "ls-files", "embedkit", "cli"], text=True, cwd=ROOT)
    assert {"LICENSE", "README.md", "pyproject.toml", *tracked.split("\n")} - {""} <= names


def test_the_wheel_holds_every_module_and_no_package_named_cli(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "embedkit").rglob("*.py")}
    commands = {f"embedkit_cli/{path.name}" for path in (ROOT / "cli").glob("*.py")}
    page = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embedkit" / "web" / "static").rglob("*.*")
    }
    words = {f"embedkit/names/{name}" for name in ("README.md", "ontology.json", "synonyms.toml")}
    data = {"embedkit/py.typed", "embedkit/pages/templates/report.html.j2"} | page | words
    assert modules | commands | data | OWN_FILES <= names
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
