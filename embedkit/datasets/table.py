"""A CSV or Parquet manifest: path and label, or labels; optional fold, split, group."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from embedkit.datasets.manifest import Clip, Manifest
from embedkit.errors import DatasetError


def read_rows(path: Path) -> list[dict[str, str | None]]:
    """The rows of a CSV or Parquet file, every value as text, empty ones as None.

    Raises:
        DatasetError: it cannot be read as what its suffix says.
    """
    try:
        if path.suffix.lower() == ".parquet":
            rows = pa.parquet.read_table(path).to_pylist()
            return [{name: _text(value) for name, value in row.items()} for row in rows]
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                {name: _text(value) for name, value in row.items() if name is not None}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise DatasetError(f"{path}: not a readable CSV or Parquet file: {error}") from error


def read_table(path: Path) -> Manifest:
    """Read a manifest; its paths are relative to the folder it stands in, or absolute.

    A column `labels` holds several labels, separated by `;`.

    Raises:
        DatasetError: unreadable, without rows or the columns needed, or a row without a label.
    """
    rows = read_rows(path)
    columns = set(rows[0]) if rows else set()
    label = next((name for name in ("label", "labels") if name in columns), None)
    if "path" not in columns or label is None:
        found = ", ".join(sorted(columns)) or "no rows"
        raise DatasetError(
            f"{path}: expected the columns path and label (or labels, separated by `;`),"
            f" found: {found}"
        )
    several = label == "labels"
    clips: dict[str, Clip] = {}
    for number, row in enumerate(rows, start=2):  # line 1 of the file is the header
        name, value = row["path"], row[label]
        text = value or ""
        names = [part.strip() for part in (text.split(";") if several else [text])]
        if not name or not any(names):
            raise DatasetError(f"{path}, row {number}: no {'label' if name else 'path'}")
        if name in clips:
            raise DatasetError(
                f"{path}, row {number}: {name} stands there twice; expected one row a clip,"
                " with several labels in a column `labels`, separated by `;`"
            )
        clips[name] = Clip(
            path=path.parent / name,
            labels=tuple(dict.fromkeys(part for part in names if part)),
            fold=row.get("fold"),
            split=row.get("split"),
            group=row.get("group"),
        )
    return Manifest(tuple(clips.values()), several_labels=several)


def _text(value: Any) -> str | None:
    if isinstance(value, list):  # of labels
        value = ";".join(map(str, value))
    if isinstance(value, float) and value.is_integer():  # a fold, in a column with gaps
        value = int(value)
    return None if value is None or value == "" else str(value)
