"""What the texts about the package say, and what its import loads."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from embedkit import __version__

ROOT = Path(__file__).parent.parent


def test_every_text_tells_the_same_version() -> None:
    changes = re.findall(r"^## \[(.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = (ROOT / "CITATION.cff").read_text()
    assert changes[0][0] == __version__
    assert f"version: {__version__}\ndate-released: {changes[0][1]}\n" in citation


def test_the_citation_and_the_forms_are_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 4
    for path in [*forms, *ROOT.glob(".github/workflows/*.yml"), ROOT / ".pre-commit-config.yaml"]:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    for form in forms[:1] + forms[2:]:
        fields = yaml.safe_load(form.read_text())["body"]
        assert len({field["id"] for field in fields}) == len(fields) > 1, form


def test_the_systems_that_workflows_test_are_those_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert f"python: {named}".replace("'", '"') in workflow


def test_the_pages_libraries_are_those_of_their_npm_packages() -> None:
    folder = ROOT / "embedkit" / "web" / "static" / "vendor"
    rows = [line.split("|") for line in (folder / "README.md").read_text().splitlines()[6:]]
    named = {row[1].strip(): row[4].strip() for row in rows}
    assert set(named) == {path.name for path in folder.glob("*.js")}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_nothing_of_the_public_names_loads_torch() -> None:
    code = (
        "import sys, embedkit;"
        "[getattr(embedkit, name) for name in embedkit.__all__];"
        "print([name for name in ('torch', 'onnx') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
