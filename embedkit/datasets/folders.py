"""A folder of class folders: the first folder below the root is the label."""

from pathlib import Path

from embedkit.audio.files import walk
from embedkit.datasets.manifest import Clip, Manifest
from embedkit.errors import DatasetError


def read_folders(root: Path) -> Manifest:
    """Read `root/<label>/.../<clip>`; files directly in the root have no label and are left out.

    Raises:
        DatasetError: no audio file stands in a class folder.
    """
    clips = tuple(
        Clip(path=found.path, labels=(found.path.relative_to(root).parts[0],))
        for found in walk(root)
        if found.is_audio and found.path.parent != root
    )
    if not clips:
        raise DatasetError(
            f"{root}: no audio in class folders; expected {root}/<label>/<clip>, or a CSV or "
            "Parquet manifest with the columns path and label"
        )
    return Manifest(clips, several_labels=False)
