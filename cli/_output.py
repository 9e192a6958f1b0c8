"""How commands speak: tables and JSON to stdout, progress and messages to stderr, exit codes."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track as rich_track

from ._streams import shown

log = logging.getLogger("embedkit")

T = TypeVar("T")

SOME_FAILED = 3

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Dim = Annotated[
    int | None,
    typer.Option(
        help="The size of the embedding, where the model was trained for several (`train --dims`).",
        show_default="the one it prefers, or the largest",
    ),
]
Device = Annotated[
    str, typer.Option(help="The device that torch computes on: cpu, cuda, cuda:1, mps.")
]

SoundTrack = Annotated[
    int | None,
    typer.Option(
        "--track",
        help="Which of a file's sound tracks (stems, languages) to read, from 1 on.",
        min=1,
        show_default="the first",
    ),
]


def show_progress(console: Console) -> bool:
    """Whether a progress bar is wanted: on a terminal, without --quiet."""
    return console.is_terminal and log.isEnabledFor(logging.INFO)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Show a progress bar on stderr while items are taken, on a terminal only.

    Args:
        items: what is taken one by one.
        description: stands before the bar.
        total: the number of items, where `items` does not say it.

    Returns:
        the same items.
    """
    console = Console(stderr=True)
    return rich_track(
        items,
        description,
        total=total,
        console=console,
        transient=True,
        disable=not show_progress(console),
    )


def message(text: str) -> None:
    """Say something that is not the result; --quiet leaves it out."""
    log.info("\n".join(map(_safe, text.split("\n"))))  # its own lines are meant


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Say how to go on where Ctrl-C ends what is within; also a decorator."""
    try:
        yield
    except KeyboardInterrupt:
        message(f"interrupted; {how} to go on")
        raise


def print_json(value: Any) -> None:
    """Print a result for a program."""
    finite = _finite(value)
    text = json.dumps(finite, indent=2, ensure_ascii=False, allow_nan=False)
    if shown(text) != text:  # JSON has escapes of its own, which its readers know
        text = json.dumps(finite, indent=2, allow_nan=False)
    print(text)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a result for a person, with aligned columns and numbers to the right.

    Args:
        header: the names of the columns.
        rows: a cell for each column.
    """
    cells = [[shown(_safe(str(cell))) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(_is_number(row[column]) for row in cells[1:]) for column in range(len(header))]
    for row in cells:
        line = "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print(line.rstrip())


def print_figures(figures: Mapping[str, float | int | tuple[float, float]]) -> None:
    """Print figures of merit by name; an interval stands as low to high."""
    print_table(
        ["figure", "value"],
        [[name.replace("_", " "), _figure(value)] for name, value in figures.items()],
    )


def duration(seconds: float) -> str:
    """A length of time in seconds, written in the unit that a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def report_failures(failures: Sequence[tuple[str, str, str]], of: int) -> None:
    """Name the files that failed, and exit with 3 if there are any.

    Args:
        failures: name, kind and message of each file.
        of: the number of all files.

    Raises:
        typer.Exit: a file failed.
    """
    name_failures(failures, len(failures), of)
    if failures:
        raise typer.Exit(SOME_FAILED)


def name_failures(examples: Sequence[tuple[str, str, str]], failed: int, of: int) -> None:
    """Name the first 20 of the files that failed.

    Args:
        examples: name, kind and message of files.
        failed: the number of files that failed.
        of: the number of all files.
    """
    for name, kind, text in examples[:20]:
        log.warning(_safe(f"{name}: {kind}: {text}"))
    if failed > 20:
        log.warning(f"... and {failed - 20} more")
    if failed:
        log.warning(f"{failed} of {of} files failed or are damaged")


def _figure(value: float | int | tuple[float, float]) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:.3f} to {value[1]:.3f}"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _finite(value: Any) -> Any:
    """The value with None for each number that is not finite, since JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _safe(text: str) -> str:
    """The text without characters that could steer the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _is_number(text: str) -> bool:
    return (
        text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").isdigit()
        or not text
    )
