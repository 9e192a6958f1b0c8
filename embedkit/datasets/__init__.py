"""Labelled collections, each layout read to one Manifest."""

from pathlib import Path

from embedkit.datasets.folders import read_folders
from embedkit.datasets.manifest import Clip, Manifest, split_validation
from embedkit.datasets.table import read_table
from embedkit.errors import DatasetError

__all__ = ["Clip", "Manifest", "read_dataset", "split_validation"]


def read_dataset(data: Path) -> Manifest:
    """Read a folder of class folders, or a CSV or Parquet manifest.

    Raises:
        DatasetError: it is neither, or holds no labelled clip.
    """
    if data.is_dir():
        return read_folders(data)
    if not data.exists():
        raise DatasetError(f"{data}: no such file or folder")
    return read_table(data)
