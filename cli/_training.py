"""Options that the commands which train have in common."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import DEFAULT_MODEL, FeatureSpec
from embedkit.errors import UsageError

from ._outputs import OutFolder

FEATURES = FeatureSpec()
spectrum = partial(typer.Option, rich_help_panel="The paper's front-end")

Window = Annotated[float, spectrum(help="Analysis window, s.")]
FeatureHop = Annotated[float, spectrum(help="Between two frames, s.")]
FFTLength = Annotated[int, spectrum(help="FFT length.")]

RUNNING = "Running"  # the panel of what a trained model does not depend on
running = partial(typer.Option, rich_help_panel=RUNNING)

Resume = Annotated[bool, running("--resume", help="Go on where it was interrupted.")]
Cache = Annotated[
    Path | None,
    OutFolder(
        rich_help_panel=RUNNING,
        help="Folder of features to use and to keep, shared by trainings with one front-end.",
        show_default="in the model folder, until the training ends",
    ),
]
FeatureWorkers = Annotated[int, running(help="Processes that compute features.", min=1)]
TensorBoard = Annotated[bool, running("--tensorboard", help="Also write for TensorBoard.")]


def sizes(text: str, option: str) -> tuple[int, ...]:
    """Sizes with commas between them."""
    try:
        return tuple(int(size) for size in text.split(",") if size.strip())
    except ValueError as error:
        raise UsageError(f"{option} {text}: expected sizes such as 64,128,256") from error


def model_folder(name: str) -> Path:
    """A model folder, or embedkit's own by its name."""
    return DEFAULT_MODEL if name == "default" else Path(name)
