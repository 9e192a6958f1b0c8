"""The labels that a person gives, in a CSV beside the collection: on the disk at every stroke."""

import csv
import io
import threading
from pathlib import Path

from embedkit.datasets.table import read_rows
from embedkit.errors import DatasetError
from embedkit.files import atomic_write

LONGEST = 100  # characters of a label


class Answers:
    """Labels of clips, as `embedkit label` and `classify fit` read them: path, label.

    Attributes:
        path: the CSV; other columns that it has are kept.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there.

        Raises:
            DatasetError: it is not a CSV with path and label.
        """
        self.path = path
        self._rows: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        for row in read_rows(path) if path.exists() else []:
            values = {name: (value or "").strip() for name, value in row.items()}
            if not {"path", "label"} <= set(values):
                raise DatasetError(f"{path}: expected the columns path and label")
            self._rows[values["path"]] = values

    @property
    def labels(self) -> dict[str, str]:
        """By clip."""
        return {clip: row["label"] for clip, row in self._rows.items() if row["label"]}

    def set(self, clip: str, label: str) -> None:
        """Give a clip a label, or with an empty one take its label away.

        Raises:
            DatasetError: a label that is too long or holds control characters.
        """
        label = label.strip()
        if len(label) > LONGEST or not label.isprintable():
            raise DatasetError(f"a label has at most {LONGEST} characters, all printable")
        with self._lock:
            row = self._rows.pop(clip, {"path": clip})
            if label:
                self._rows[clip] = {**row, "label": label}
            self._write()

    def _write(self) -> None:
        text = io.StringIO(newline="")
        columns = dict.fromkeys(name for row in self._rows.values() for name in row)
        writer = csv.DictWriter(text, list({"path": None, "label": None, **columns}), restval="")
        writer.writeheader()
        writer.writerows(self._rows.values())
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))
