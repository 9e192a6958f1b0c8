"""Options of commands that cut sounds out."""

from pathlib import Path
from typing import Annotated

import typer

from ._outputs import OutFolder

SaveClips = Annotated[
    Path | None,
    OutFolder(help="Folder to cut the sounds out to, in one folder for each label or query."),
]
Padding = Annotated[
    float, typer.Option(help="Of --save-clips: so many seconds more on both sides.", min=0)
]
