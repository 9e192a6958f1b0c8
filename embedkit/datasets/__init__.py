"""Labelled collections; each layout is read to one Manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from embedkit.datasets.audioset import read_audioset, read_audioset_unbalanced
from embedkit.datasets.esc import read_esc10, read_esc50
from embedkit.datasets.folders import read_folders
from embedkit.datasets.label_files import (
    find_label_files,
    is_label_track,
    read_label_files,
    read_label_track,
)
from embedkit.datasets.listed import read_listed
from embedkit.datasets.manifest import Clip, Manifest, split_validation
from embedkit.datasets.tut2016 import read_tut2016
from embedkit.errors import DatasetError, UsageError, choices

__all__ = [
    "DATASETS",
    "Clip",
    "Manifest",
    "read_dataset",
    "read_published",
    "split_validation",
]

DATASETS: dict[str, Callable[[Path], Manifest]] = {
    "audioset": read_audioset,
    "audioset-unbalanced": read_audioset_unbalanced,
    "tut2016": read_tut2016,
    "esc50": read_esc50,
    "esc10": read_esc10,
}


def read_dataset(data: Path, label_column: str = "") -> Manifest:
    """Read labels: class folders, a manifest, or label files of another tool.

    Args:
        data: a folder of class folders; a CSV or Parquet manifest; a selection table of Raven's, a
            label track of Audacity's, or another table of times; or a folder of these.
        label_column: the heading of the labels, where the table has none of the known headings.

    Returns:
        the clips with their labels.

    Raises:
        DatasetError: it is none of these, or holds no label.
    """
    if not data.exists():
        raise DatasetError(f"{data}: no such file or folder")
    place = data.absolute()
    if data.is_dir():
        files = find_label_files(data)
        found = read_label_files(files, data, label_column) if files else read_folders(data)
        return replace(found, source=place.name)
    read = read_label_track if is_label_track(data) else read_listed
    return replace(read(data, label_column), source=f"{place.parent.name}/{place.name}")


def read_published(name: str, root: Path) -> Manifest:
    """Read a collection that lies below `root` as its authors published it.

    Args:
        name: a key of `DATASETS`.
        root: the folder of the collection.

    Returns:
        the clips with their labels.

    Raises:
        UsageError: there is no reader of that name.
        DatasetError: `root` is no folder, a table is missing or not as published, or no clip has
            audio.
    """
    if name not in DATASETS:
        raise UsageError(f"no data set {name!r}{choices(name, DATASETS)}")
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected the root of {name}")
    return DATASETS[name](root)
