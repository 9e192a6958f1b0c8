"""The commands that stand beside figures, and in the pages, are there with all their options."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from embedkit_cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/RESULTS.md",
        *ROOT.glob("embedkit/*_model/README.md"),
    )
)  # fmt: skip
COMMAND = re.compile(r"^(?:    |\$ )?(?:[A-Z_]+=\S+ )*(embedkit|python benchmarks/\S+) ?(.*)$")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Programs and their arguments, in blocks of code alone: fenced, or set off by four spaces."""
    fenced = False
    for line in re.sub(r"\\\n\s*", "", text).split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and (found := COMMAND.match(line)):
            yield found[1], found[2].split("  #")[0].split(" | ")[0]


def known(arguments: str) -> set[str]:
    """The options of a command of embedkit's, and of the groups that it is in."""
    command = typer.main.get_command(app)
    names: set[str] = set()
    for word in ["", *re.findall(r"[^\s=]+", arguments)]:
        command = getattr(command, "commands", {}).get(word, command)
        names |= {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return names | {"--help", "--install-completion"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_commands_of_a_page_are_there(page: Path) -> None:
    if page.name == "commands.md":
        pytest.skip("it is made of the help")
    odd = []
    for program, arguments in commands((ROOT / page).read_text(encoding="utf-8")):
        asked = set(OPTION.findall(arguments))
        if program == "embedkit":
            odd += [f"{arguments}: {name}" for name in asked - known(arguments)]
            continue
        script = ROOT / program.removeprefix("python ")
        source = script.read_text(encoding="utf-8")
        words = set(re.findall(r'"(?:--)?([\w-]+)"', source))
        odd += [f"{script.name}: {name}" for name in asked if name.removeprefix("--") not in words]
    assert not odd


def test_a_command_that_is_not_there_is_found() -> None:
    text = "    embedkit extract x --out y \\\n  --odd\n\n```\n$ python benchmarks/a.py --b\n```\n"
    assert list(commands(text)) == [
        ("embedkit", "extract x --out y --odd"),
        ("python benchmarks/a.py", "--b"),
    ]
    assert {"--out", "--quiet"} <= known("extract x --out y")
    assert "--odd" not in known("extract x --out y --odd")
