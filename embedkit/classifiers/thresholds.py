"""The score that is enough, label by label."""

from collections.abc import Collection
from pathlib import Path

from embedkit.datasets.columns import LABEL, require
from embedkit.datasets.table import read_table
from embedkit.errors import DatasetError, UsageError, choices


def chosen(labels: Collection[str], asked: Collection[str] | None) -> list[str]:
    """The labels that are asked for, or all.

    Raises:
        UsageError: one is none of the labels.
    """
    if asked is None:
        return list(labels)
    for name in asked:
        if name not in labels:
            raise UsageError(f"the classifier has no label {name!r}{choices(name, labels)}")
    return list(asked)


def read_thresholds(path: Path, labels: Collection[str]) -> dict[str, float]:
    """Read a CSV or Parquet file with the columns label and threshold.

    Args:
        path: of the file.
        labels: those that it may name; it need not name all.

    Raises:
        DatasetError: it is no such table, names another label, or one twice.
    """
    table = read_table(path)
    names = table.texts(require(LABEL, table.headings, path))
    values = table.numbers(require("threshold", table.headings, path))
    found: dict[str, float] = {}
    for row, name, value in zip(table.rows, names, values.tolist(), strict=True):
        label = name or ""
        if label not in labels:
            raise DatasetError(f"{path}, row {row}: no label {label!r}{choices(label, labels)}")
        if label in found:
            raise DatasetError(f"{path}, row {row}: a second threshold of {label!r}; keep one")
        found[label] = value
    return found
