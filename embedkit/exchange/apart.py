"""Writes a folder of another format completely or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from embedkit.atomic import publish
from embedkit.errors import UsageError


@contextmanager
def written_apart(out: Path) -> Iterator[Path]:
    """A hidden place beside `out` for a folder, which becomes `out` if all goes well.

    Only one program at a time may write; what a killed program left there is removed.

    Raises:
        UsageError: another program is writing to `out`.
    """
    scratch = out.with_name(f".{out.name[:50]}.tmp")
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(scratch / ".lock", timeout=0):
            folder = scratch / "folder"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                yield folder
                if out.exists():
                    out.rmdir()  # it is empty
                _sync(folder)
                publish(folder, out)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except Timeout as error:
        raise UsageError(f"{out}: another import or export is writing to it") from error


def _sync(folder: Path) -> None:
    """What a library wrote is on the disk before it is published."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
