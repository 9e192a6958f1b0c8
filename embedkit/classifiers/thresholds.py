"""The score that is enough for each label: asked for, from a file, or found by a review."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from embedkit.atomic import atomic_write
from embedkit.classifiers.classifier import ARRAYS, SETTINGS
from embedkit.datasets.columns import LABEL, require
from embedkit.datasets.table import read_table
from embedkit.errors import DatasetError, EmbedkitError, UsageError, choices
from embedkit.metrics import Measured
from embedkit.untrusted import read_json

REVIEWED = "thresholds.json"  # in a classifier's folder


def chosen(labels: Collection[str], asked: Collection[str] | None) -> list[str]:
    """The labels that are asked for.

    Args:
        labels: all labels.
        asked: labels, one by one or several with commas between them; None: all.

    Returns:
        the labels.

    Raises:
        UsageError: a name is none of the labels.
    """
    found = []
    for text in asked or labels:
        names = [text] if text in labels else [name.strip() for name in text.split(",")]
        for name in names:
            if name not in labels:
                raise UsageError(f"the classifier has no label {name!r}{choices(name, labels)}")
        found += names
    return found


def read_thresholds(path: Path, labels: Collection[str]) -> dict[str, float]:
    """Read a CSV or Parquet file with the columns label and threshold.

    Args:
        path: the file.
        labels: labels that it may name; it need not name all.

    Returns:
        thresholds by label.

    Raises:
        DatasetError: it is no such table, names another label, or one label twice.
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


def store(folder: Path, label: str, thresholds: Mapping[float, Measured]) -> None:
    """Keep a label's thresholds by precision beside their classifier.

    Args:
        folder: the classifier's folder; thresholds of its other labels stay.
        label: one of its labels.
        thresholds: scores by precision.
    """
    try:
        labels = _read(folder)
    except EmbedkitError:  # of another fit, or damaged: of no use any more
        labels = {}
    labels[label] = {
        f"{precision:g}": [value if math.isfinite(value) else None for value in measured]
        for precision, measured in thresholds.items()
    }
    content = {"classifier": digest_of(folder), "labels": labels}
    with atomic_write(folder / REVIEWED) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode())


def stored(folder: Path, precision: float) -> dict[str, float]:
    """The thresholds of the labels that were reviewed.

    Args:
        folder: the classifier's folder.
        precision: the precision that they are for, such as 0.9.

    Returns:
        thresholds by label; infinite where no score is enough.

    Raises:
        UsageError: there are none, or none of that precision.
        EmbedkitError: they cannot be read, or are of another fit of the classifier.
    """
    labels = _read(folder)
    if not labels:
        raise UsageError(f"{folder}: has no thresholds; `embedkit review` finds them")
    name = f"{precision:g}"
    there = {each for values in labels.values() for each in values}
    if name not in there:
        raise UsageError(
            f"{folder}: no threshold of precision {name}; there are: {', '.join(sorted(there))}"
        )
    return {
        label: math.inf if values[name][0] is None else float(values[name][0])
        for label, values in labels.items()
        if name in values
    }


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / REVIEWED
    try:
        content = read_json(path)
        if content["classifier"] != digest_of(folder):
            raise EmbedkitError(
                f"{path}: is of another fit of this classifier; review it again, or remove the file"
            )
        return {
            str(label): {str(name): list(values) for name, values in found.items()}
            for label, found in content["labels"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EmbedkitError(f"{path}: not readable thresholds: {error}; remove the file") from error


def digest_of(folder: Path) -> str:
    """The digest that identifies a classifier's fit: 64 hexadecimal digits."""
    content = b"".join((folder / name).read_bytes() for name in (SETTINGS, ARRAYS))
    return hashlib.sha256(content).hexdigest()
