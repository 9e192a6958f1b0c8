"""Writing files so that a crash leaves the old one or the new one, never half of one.

A file is written under a hidden name that no other process has, and locked by its writer until it
is published under its own. A hidden file that nobody has locked was left by a process that was
killed: the first write of any other process into the folder removes it.
"""

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

HIDDEN = re.compile(r"\..*\.\d+-[0-9a-f]{8}\.tmp", re.DOTALL)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write to a hidden temporary file beside `path`; sync and rename it on success.

    On an exception the temporary file is removed and `path` stays as it was. If two processes write
    one path at once, the file of the later one stands there in the end.
    """
    with unpublished(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)


@contextmanager
def unpublished(path: Path) -> Iterator[Path]:
    """A new hidden file beside `path`, to be written, synced and published.

    It is removed if it is not published.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    with _create_locked(path) as held:
        temporary = Path(held.name)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Rename a synced file to its final name, and sync the folder that now names it.

    Args:
        temporary: the file, which has been written and synced.
        path: its final name, in the same folder.
    """
    temporary.replace(path)
    if sys.platform == "win32":
        return  # where a folder cannot be opened
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _create_locked(path: Path) -> BinaryIO:
    while True:
        # A name of 255 bytes may stand there already: not all of it fits into a longer one.
        name = f".{path.name[:50]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        file = path.with_name(name).open("xb")
        lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed as a leftover before it was locked


@lru_cache(maxsize=1024)  # once in a process: a folder may have a million files
def _remove_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if HIDDEN.fullmatch(path.name):
            with suppress(OSError), path.open("r+b") as file:
                if lock(file, wait=False):
                    path.unlink()


def lock(file: BinaryIO, *, wait: bool) -> bool:
    """Lock a file until it is closed, or its process ends.

    Args:
        file: the file.
        wait: until another process unlocks it.

    Returns:
        whether that was possible.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by another process, or the file system has no locks
        return False
    return True
