"""Options of commands that write label tracks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ._outputs import OutFolder

if TYPE_CHECKING:
    from embedkit.classifiers.tracks import TrackFormat

Audacity = Annotated[Path | None, OutFolder(help="Folder to write a label track for each clip to.")]
Raven = Annotated[
    Path | None, OutFolder(help="Folder to write a selection table for each clip to.")
]


def tracks_of(audacity: Path | None, raven: Path | None) -> "list[tuple[Path, TrackFormat]]":
    """The folders that are asked for, and the format of each."""
    from embedkit.classifiers.tracks import TrackFormat

    asked = ((audacity, TrackFormat.AUDACITY), (raven, TrackFormat.RAVEN))
    return [(folder, form) for folder, form in asked if folder is not None]
