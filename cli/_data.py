"""How commands name labelled data: a path, or a published data set and where it lies."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError

from ._output import message

if TYPE_CHECKING:
    from embedkit.datasets import Manifest

PUBLISHED = "Published data sets"

Data = Annotated[
    Path | None,
    typer.Argument(
        help="A folder of class folders, or a CSV or Parquet manifest with the columns path and"
        " label (or labels, separated by `;`) and optional fold, split, group."
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PUBLISHED,
        help="A data set instead of a path: audioset, audioset-unbalanced, tut2016, esc50 or"
        " esc10, laid out below --root as it was published.",
    ),
]
Root = Annotated[
    Path | None, typer.Option(rich_help_panel=PUBLISHED, help="The folder of the data set.")
]


def read(data: Path | None, dataset: str | None, root: Path | None) -> "Manifest":
    """Read the labelled data that the command line names, with labels of whole clips.

    Args:
        data: a folder or a manifest; None with `dataset`.
        dataset: the name of a published data set; None with `data`.
        root: the folder of the published data set.

    Returns:
        its clips and labels.

    Raises:
        UsageError: neither or both are named, or labels have times or signs.
        DatasetError: what is named cannot be read.
    """
    manifest = read_marked(data, dataset, root)
    if manifest.is_marked:
        raise UsageError(
            f"{data}: its labels have times or signs, but this command takes labels of whole clips;"
            " `train` and `classify` learn from parts of clips"
        )
    return manifest


def read_marked(
    data: Path | None, dataset: str | None, root: Path | None, label_column: str = ""
) -> "Manifest":
    """Read the labelled data that the command line names; labels may have times or signs.

    Args:
        data: a folder or a manifest; None with `dataset`.
        dataset: the name of a published data set; None with `data`.
        root: the folder of the published data set.
        label_column: the column of the manifest that holds the labels; empty: found by its name.

    Returns:
        its clips and labels.

    Raises:
        UsageError: neither or both are named.
        DatasetError: what is named cannot be read.
    """
    from embedkit.datasets import read_dataset, read_published

    if data is not None and dataset is None and root is None:
        return read_dataset(data, label_column)
    if data is None and dataset is not None and root is not None:
        manifest = read_published(dataset, root)
        if manifest.left_out:
            reasons = Counter(reason for _, reason in manifest.left_out)
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            message(f"{manifest.source}: {len(manifest.left_out)} clips left out: {counts}")
        return manifest
    raise UsageError("name a folder or manifest, or --dataset NAME with --root DIR")
