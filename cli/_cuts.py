"""Options of commands that cut sounds out."""

from pathlib import Path
from typing import Annotated

import typer

from ._outputs import OutFolder

SaveClips = Annotated[
    Path | None,
    OutFolder(
        help="Cut the sounds out to this folder, which gets a folder for each label or query."
    ),
]
Padding = Annotated[
    float, typer.Option(help="With --save-clips: add this many seconds on both sides.", min=0)
]
