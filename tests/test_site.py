"""The documentation site is built without a warning, and loads nothing from elsewhere."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import embedkit

ROOT = Path(__file__).parent.parent


class Loaded(HTMLParser):
    """Addresses that a page loads by itself: not those of links, which a person follows."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.ids.add(facts.get("id") or "")
        address = facts.get("href" if tag == "link" else "src")
        if address and facts.get("rel") != "canonical":
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", out],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert len(loaded.addresses) > 3
        assert not [a for a in loaded.addresses if "//" in a], page


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    loaded = Loaded()
    loaded.feed((site / "reference" / "python.html").read_text())
    described = {name.split(".")[-1] for name in loaded.ids if name.startswith("embedkit.")}
    assert set(embedkit.__all__) - {"__version__"} <= described
    errors = {n for n in vars(embedkit.errors) if n.endswith(("Error", "Warning"))}
    assert errors <= described


def test_every_kind_of_failed_files_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    for kind in embedkit.errors.Kind:
        assert f"| `{kind}` |" in page, kind
