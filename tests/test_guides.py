"""The guides' commands are run as they stand, and print what the guides show.

A block of `shell-session` is run; one of `console` is quoted from elsewhere. A line `...` stands
for any lines, and `...` at the end of a line for the rest of it. Numbers with a point may differ by
0.02, as processors round differently, and columns by their width. What `cat` shows of a file that
is not there is put there first.
"""

import io
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import call

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = ("index.md", *(f"guides/{name}.md" for name in (
    "search", "overview", "long-recordings", "label", "sizes", "million", "extractor",
)))  # fmt: skip
NEAR = 0.02


def steps(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a page with the lines that it shows."""
    for block in re.findall(r"```shell-session\n(.*?)```", page, flags=re.DOTALL):
        for step in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, *shown = step.rstrip("\n").split("\n")
            yield command, shown


def take(command: str, shown: list[str]) -> list[str]:
    """Run it in this folder; what stdout and stderr show together."""
    program, *arguments = shlex.split(command)
    if program == "cat":
        path = Path(arguments[0])
        if not path.exists():
            path.write_text("\n".join([*shown, ""]))
        return path.read_text().splitlines()
    if program == "python":
        runpy.run_path(arguments[0])
        return []
    assert program == "embedkit"
    screen = io.StringIO()
    assert call(screen, screen, *arguments) == 0, screen.getvalue()
    return screen.getvalue().splitlines()


def alike(shown: str, printed: str) -> bool:
    expected, found = shown.split(), printed.split()
    if expected[-1:] == ["..."]:
        expected.pop()
        found = found[: len(expected)]
    return len(expected) == len(found) and all(map(same, expected, found))


def same(shown: str, printed: str) -> bool:
    number = re.compile(r"-?\d+\.\d+")
    if number.fullmatch(shown) and number.fullmatch(printed):
        return abs(float(shown) - float(printed)) <= NEAR
    return shown == printed


def fits(shown: list[str], printed: list[str]) -> bool:
    if not shown or not printed:
        return set(shown) <= {"..."} and not printed
    if shown[0] == "...":
        return fits(shown[1:], printed) or fits(shown, printed[1:]) or shown == ["..."]
    return alike(shown[0], printed[0]) and fits(shown[1:], printed[1:])


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        (["a 0.50"], ["a  0.51"], True),
        (["a 0.50"], ["a 0.53"], False),
        (["a 5"], ["a 6"], False),
        (["a", "...", "c"], ["a", "b", "b", "c"], True),
        (["a", "..."], ["a"], True),
        (["a", "...", "c"], ["a", "b"], False),
        (["a"], ["a", "b"], False),
        (["a 5 ..."], ["a 5 b c"], True),
        (["a 5 ..."], ["a 6 b c"], False),
        ([], ["a"], False),
    ],
)
def test_what_is_shown_is_told_from_what_is_not(
    shown: list[str], printed: list[str], expected: bool
) -> None:
    assert fits(shown, printed) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all guides: the first makes the demo's sounds, and the others use them."""
    return tmp_path_factory.mktemp("guides")


@pytest.mark.parametrize("name", GUIDES)
def test_a_guides_commands_print_what_it_shows(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for command, shown in steps((DOCS / name).read_text()):
        printed = take(command, shown)
        assert fits(shown, printed), "\n".join([f"$ {command}", *printed])


def test_every_guide_that_runs_something_is_run() -> None:
    run = {path for path in DOCS.rglob("*.md") if "```shell-session" in path.read_text()}
    assert run == {DOCS / name for name in GUIDES}
