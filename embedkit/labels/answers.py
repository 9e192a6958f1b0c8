"""The labels that people give to clips: a CSV file that several programs, and people, write."""

import errno
import logging
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from embedkit.atomic import atomic_write
from embedkit.datasets.cells import SKIP
from embedkit.datasets.columns import LABEL, PATH
from embedkit.datasets.names import match
from embedkit.errors import DatasetError
from embedkit.labels.spreadsheet import Row, Spreadsheet

log = logging.getLogger(__name__)

COLUMNS = [PATH, LABEL]
NONE = {"", SKIP}  # no labels
LONGEST = 100  # characters of a label
PATIENCE_S = 30.0  # for another program to write
# What a file system says that knows no locks.
UNLOCKABLE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Answers:
    """Labels of clips, as `embedkit label`, the explorer and `classify fit` share them.

    The file is what counts: each change is made to the file as it is then, under a lock, and is on
    the disk when the call returns. Rows and columns that are no part of a change stay as they are.
    If a clip has several rows, the last one that has a label counts.

    Attributes:
        path: the CSV file, with the columns path and label. Paths are names of clips, unchanged.
    """

    def __init__(self, path: Path, clips: Collection[str] = ()) -> None:
        """Open a file, which is made with the first label.

        Args:
            path: the file.
            clips: names of the clips of the collection. A path that is not among them, but is the
                other spelling of one (see `datasets.names`), means that one.

        Raises:
            DatasetError: it is not a CSV with path and label.
        """
        if path.suffix.lower() in {".parquet", ".xlsx", ".xls", ".ods"}:
            raise DatasetError(f"{path}: labels are saved in a CSV; name a file that ends in .csv")
        self.path = path
        self._clips = clips
        self._lock = threading.Lock()
        self._known = _Known()
        self._read()

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels by clip, as the file has them, or last had them before it became unreadable."""
        return self._current().labels

    @property
    def skipped(self) -> Sequence[str]:
        """Clips that are left out for good."""
        return self._current().skipped

    def set(self, clip: str, label: str) -> None:
        """Give a clip a label, or take its label away with an empty one.

        Args:
            clip: name of the clip.
            label: the label; empty: none.

        Raises:
            DatasetError: as for `update`; or the label is too long or holds control characters.
        """
        label = label.strip()
        if len(label) > LONGEST or not label.isprintable():
            raise DatasetError(f"a label has at most {LONGEST} characters, all printable")
        self.update({clip: {"label": label}})

    def update(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        """Set cells of some clips' rows, by column; a row that then says nothing is removed.

        Raises:
            DatasetError: the file is no longer a CSV with path and label, or cannot be written;
                nothing has changed.
        """
        with self._lock, _only_writer(self._place):
            while not self._change(changes):
                pass

    def _change(self, changes: Mapping[str, Mapping[str, str]]) -> bool:
        """Change the file as it is; False if an editor, which knows no lock, saved meanwhile."""
        state = self._state()
        found = self._read()
        before = found.to_bytes()
        by_clip: dict[str, list[Row]] = defaultdict(list)
        for row, clip in self._rows(found):
            by_clip[clip].append(row)
        for clip, values in changes.items():
            rows = by_clip[clip]
            if not rows and values.get("label"):
                rows.append(found.append({"path": clip}))
            for row in rows:
                found.put(row, values)
                if "".join(row.cells) == found.get(row, PATH):
                    found.rows.remove(row)
        self._fold(found)
        content = found.to_bytes()
        if content != before:
            if self._state() != state:
                return False
            self._known = _Known.of(self._said(found), _write(self.path, content))
        return True

    @property
    def _place(self) -> Path:
        """The file itself, where `path` is a link to it."""
        return Path(os.path.realpath(self.path))

    def _state(self) -> "State | None":
        place = self._place
        return _state(place.stat()) if place.exists() else None

    def _current(self) -> "_Known":
        try:
            if self._state() != self._known.state:
                self._read()
        except (DatasetError, OSError):  # said when a label is given
            pass
        return self._known

    def _read(self) -> Spreadsheet:
        state = self._state()  # before: what comes later is new
        found = Spreadsheet.read(self._place, COLUMNS)
        self._known = _Known.of(self._said(found), state)
        return found

    def _rows(self, found: Spreadsheet) -> list[tuple[Row, str]]:
        """The rows, each with the name of its clip; empty where it has none."""
        paths = [found.get(row, PATH) for row in found.rows]
        meant = match(paths, self._clips) if self._clips else {}
        return [(row, meant.get(path, path)) for row, path in zip(found.rows, paths, strict=True)]

    def _said(self, found: Spreadsheet) -> dict[str, str]:
        """The label of each clip that has a row: the last one that is a label, else the first."""
        said: dict[str, str] = {}
        for row, clip in self._rows(found):
            label = found.get(row, LABEL).strip()
            if clip and (clip not in said or label not in NONE):
                said[clip] = label
        return said

    def _fold(self, found: Spreadsheet) -> None:
        """Keep the first of rows that differ only in the label, and give it the last label."""
        said = self._said(found)
        kept: dict[tuple[str, ...], Row] = {}
        rows = []
        for row, clip in self._rows(found):
            first = kept.setdefault(found.key(row, LABEL), row) if clip else row
            if first is row:
                rows.append(row)
            else:
                found.put(first, {LABEL: said[clip]})
        found.rows = rows


State = tuple[int, int, int]  # of a file: when it differs, the file may


def _state(status: os.stat_result) -> State:
    return status.st_ino, status.st_size, status.st_mtime_ns


def append_rows(path: Path, columns: list[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Append rows to a CSV file of labels with times, under a lock.

    embedkit's other programs respect the lock.

    Args:
        path: the file, which is made with the first row.
        columns: columns that it must have; others are added where a row has one.
        rows: cells by column.

    Raises:
        DatasetError: it is no such CSV, or cannot be written; nothing has changed.
    """

    def change(found: Spreadsheet) -> None:
        for row in rows:
            found.append(row)

    if rows:
        edit_rows(path, columns, change)


def edit_rows(path: Path, columns: list[str], change: Callable[[Spreadsheet], None]) -> None:
    """Change a CSV file of labels with times, under a lock.

    embedkit's other programs respect the lock.

    Args:
        path: the file, which is made if it is not there.
        columns: columns that it must have.
        change: changes its rows; if it raises, the file stays as it is.

    Raises:
        DatasetError: it is no such CSV, or cannot be written; nothing has changed.
    """
    place = Path(os.path.realpath(path))
    with _only_writer(place):
        found = Spreadsheet.read(place, columns)
        change(found)
        _write(path, found.to_bytes())


def _write(path: Path, content: bytes) -> State:
    """Replace a file's content, or that of the file that it is a link to."""
    place = Path(os.path.realpath(path))
    try:
        mode = place.stat().st_mode if place.exists() else None
        with atomic_write(place) as file:
            if mode is not None:
                os.chmod(file.name, stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            return _state(os.fstat(file.fileno()))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be written: {error.strerror}; nothing was saved"
        ) from error


@dataclass(frozen=True)
class _Known:
    """What a state of the file says."""

    state: State | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    skipped: Sequence[str] = ()

    @classmethod
    def of(cls, said: Mapping[str, str], state: State | None) -> Self:
        return cls(
            state,
            {clip: label for clip, label in said.items() if label not in NONE},
            [clip for clip, label in said.items() if label == SKIP],
        )


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Keep embedkit's other programs from writing a file, by a hidden lock file beside it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path.with_name(f".{path.name}.lock"))
    except Timeout as error:
        raise DatasetError(
            f"{path}: another program has held its lock, {error.lock_file}, for"
            f" {PATIENCE_S:.0f} s; nothing was saved"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error}; nothing was saved") from error
    try:
        yield
    finally:
        lock.release()


def _acquire(place: Path) -> BaseFileLock:
    lock: BaseFileLock = FileLock(place, timeout=PATIENCE_S)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in UNLOCKABLE:
            raise
        _warn(place.parent)
        lock = SoftFileLock(f"{place}ed", timeout=PATIENCE_S)
        lock.acquire()
    return lock


@cache
def _warn(folder: Path) -> None:
    log.warning("%s: this file system cannot lock files: marker files do instead", folder)
