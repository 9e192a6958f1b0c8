"""Options that several training commands share."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import FeatureSpec
from embedkit.errors import UsageError

from ._outputs import OutFolder

FEATURES = FeatureSpec()
spectrum = partial(typer.Option, rich_help_panel="The paper's front-end")

Window = Annotated[float, spectrum(help="The length of the analysis window in seconds.")]
FeatureHop = Annotated[float, spectrum(help="The seconds from one frame to the next.")]
FFTLength = Annotated[int, spectrum(help="The length of the FFT.")]

RUNNING = "Running"  # the panel of what a trained model does not depend on
running = partial(typer.Option, rich_help_panel=RUNNING)

Resume = Annotated[bool, running("--resume", help="Go on where it was interrupted.")]
Cache = Annotated[
    Path | None,
    OutFolder(
        rich_help_panel=RUNNING,
        help="Use and keep features in this folder; trainings with one front-end share it.",
        show_default="in the model folder, until the training ends",
    ),
]
FeatureWorkers = Annotated[
    int, running(help="The number of processes that compute features.", min=1)
]
TensorBoard = Annotated[
    bool, running("--tensorboard", help="Also write event files for TensorBoard.")
]


def sizes(text: str, option: str) -> tuple[int, ...]:
    """Sizes from a text with commas between them.

    Args:
        text: for example `64,128`.
        option: the option's name, for the message.

    Returns:
        the sizes in their order.

    Raises:
        UsageError: a size is no whole number.
    """
    try:
        return tuple(int(size) for size in text.split(",") if size.strip())
    except ValueError as error:
        raise UsageError(f"{option} {text}: expected sizes such as 64,128,256") from error
