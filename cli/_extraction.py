"""How commands show an extraction under way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ._output import duration, show_progress

if TYPE_CHECKING:
    from embedkit.extraction import Extraction


def model_at(model: Path | None) -> Path | None:
    """A model by its path or, where there is no such path, by its name."""
    from embedkit.runtime.installed import resolve

    return None if model is None else resolve(model)


Model = Annotated[
    Path,
    typer.Option(
        "--model",
        help="A model folder; fast, embedkit's own model that does half the work; the"
        " extractor.toml of another extractor; or the name that `embedkit models add` gave it.",
        callback=model_at,
        show_default="embedkit's own model",
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="What computes the network: onnx, openvino, openvino-bf16, torch, torch-bf16,"
        " torch-fp16; after `embedkit export --int8` also onnx-int8, openvino-int8.",
        show_default="the folder's; in a new one onnx on cpu, torch elsewhere",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="The number of processes; with a GPU that of the processes that decode.",
        min=1,
        show_default="one for each processor",
    ),
]


@contextmanager
def extraction_progress() -> Iterator[Callable[["Extraction"], None]]:
    """Show how far an extraction is in a line on stderr, on a terminal only.

    The line has files, audio, speed, errors and the time left.
    """
    console = Console(stderr=True)
    columns = ("Extracting", BarColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, console=console, transient=True, disable=not show_progress(console)
    ) as bar:
        line = bar.add_task("", total=1.0)
        started = 0.0

        def show(run: "Extraction") -> None:
            nonlocal started
            started = started or time.monotonic()
            elapsed = time.monotonic() - started
            # Bytes tell more than files of how much is left: one may be an hour, another a second.
            share = run.bytes / run.total_bytes if run.total_bytes else 1.0
            parts = [
                f"{run.files:,} of {run.total_files:,} files",
                f"{duration(run.audio_s)} of audio",
                f"{run.audio_s / elapsed if elapsed else 0:,.0f} times real time",
                f"{run.errors.total():,} errors",
            ]
            if 0 < share < 1:
                parts.append(f"{duration(elapsed * (1 / share - 1))} left")
            bar.update(line, completed=share, description=", ".join(parts))

        yield show
