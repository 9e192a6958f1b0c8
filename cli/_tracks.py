"""Options of commands that write label tracks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ._outputs import OutFolder

if TYPE_CHECKING:
    from embedkit.classifiers.tracks import TrackFormat

Audacity = Annotated[
    Path | None, OutFolder(help="Write a label track for each clip to this folder.")
]
Raven = Annotated[
    Path | None, OutFolder(help="Write a selection table for each clip to this folder.")
]


def tracks_of(audacity: Path | None, raven: Path | None) -> "list[tuple[Path, TrackFormat]]":
    """The folders of label tracks that are asked for, each with its format.

    Args:
        audacity: the folder for Audacity's label tracks, or None.
        raven: the folder for Raven's selection tables, or None.

    Returns:
        pairs of folder and format.
    """
    from embedkit.classifiers.tracks import TrackFormat

    asked = ((audacity, TrackFormat.AUDACITY), (raven, TrackFormat.RAVEN))
    return [(folder, form) for folder, form in asked if folder is not None]
