"""The notebooks run as they stand, and print what they show."""

from pathlib import Path

import pytest
from patience import PATIENCE
from test_guides import fits

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))


def printed(notebook: dict) -> list[list[str]]:
    """The lines that each cell of code has printed."""
    cells = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(out.get("text", "") for out in outputs).splitlines() for outputs in cells]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["compare_extractors", "long_recordings", "search"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter_client and zmq
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_shows(path: Path, tmp_path: Path) -> None:
    shown = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        run, timeout=int(PATIENCE), resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert any(printed(shown))
    for before, now in zip(printed(shown), printed(run), strict=True):
        assert fits(before, now), "\n".join(now)
