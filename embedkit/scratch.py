"""Temporary files: if their folder is full, the error names it, not the sound or model at hand.

A folder for them is locked while it is needed. One that nobody has locked was left by a process
that was killed: the first folder that any other process makes removes it.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from embedkit.atomic import lock
from embedkit.errors import EmbedkitError

PREFIX, HELD = "embedkit-", ".held"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files that is gone afterwards.

    Raises:
        EmbedkitError: it cannot be made.
    """
    with into_scratch():
        _remove_leftovers(Path(tempfile.gettempdir()))
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with folder as name, ExitStack() as until_then:
        if sys.platform != "win32":
            with into_scratch():
                until_then.enter_context(_hold(Path(name)))
        yield Path(name)


@contextmanager
def into_scratch() -> Iterator[None]:
    """Guard work that writes only temporary files: an error of it names their folder.

    Raises:
        EmbedkitError: they cannot be written.
    """
    try:
        yield
    except OSError as error:
        where = f"{tempfile.tempdir}: " if tempfile.tempdir else ""
        raise EmbedkitError(
            f"{where}temporary files cannot be written: {error.strerror or error}; make room"
            " there, or name another folder with TMPDIR"
        ) from error


def _hold(folder: Path) -> BinaryIO:
    """Lock a folder until the file is closed."""
    file = (folder / f"{HELD}.tmp").open("wb")
    if lock(file, wait=True):  # else nobody may take it for left
        Path(file.name).rename(folder / HELD)  # nobody sees it before it is locked
    return file


@lru_cache(maxsize=1)  # once in a process: much else may stand there
def _remove_leftovers(root: Path) -> None:
    if sys.platform == "win32":
        return  # where nothing is locked
    for path in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue  # what others put there may be a trap
            with (path / HELD).open("rb") as held:
                if lock(held, wait=False):
                    shutil.rmtree(path, ignore_errors=True)
