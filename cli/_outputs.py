"""Places to write. They are checked before any work begins, so that no work is lost for a name."""

import os
import stat
from functools import partial
from pathlib import Path

import typer

from embedkit.errors import UsageError


def folder(name: str | Path) -> Path:
    """A folder that can be written, or made.

    Raises:
        UsageError: it cannot be written; the message says why.
    """
    path = _path(name)
    status = _status(path)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: {_what(status)} is there; name a folder to write")
    _check_room(path, path)
    return path


def file(name: str | Path) -> Path:
    """A file that can be written, new or over one that is there.

    Raises:
        UsageError: it cannot be written; the message says why.
    """
    path = _path(name)
    status = _status(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: {_what(status)} is there; name a file to write")
    _check_room(path, path.parent)
    return path


def file_or_folder(name: str | Path) -> Path:
    """A file or a folder that can be written, where it is known only later which of them it is.

    Raises:
        UsageError: it cannot be written; the message says why.
    """
    path = _path(name)
    status = _status(path)
    return folder(path) if status is not None and stat.S_ISDIR(status.st_mode) else file(path)


# Every option that names a place to write is one of these.
OutFolder = partial(typer.Option, parser=folder, metavar="<path>")
OutFile = partial(typer.Option, parser=file, metavar="<path>")
OutPlace = partial(typer.Option, parser=file_or_folder, metavar="<path>")


def _path(name: str | Path) -> Path:
    if not isinstance(name, str | Path):  # of a settings file, which has lists and flags too
        raise UsageError(f"{name}: name one place to write")
    if not str(name):
        raise UsageError("an output has an empty name: name a place to write")
    return Path(name)


def _status(path: Path) -> os.stat_result | None:
    """The status of what is there, or None if nothing is."""
    try:
        return path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise UsageError(
                f"{path}: a link to {os.readlink(path)}, which is not there; make that first, or"
                " name another place"
            ) from error
        return None
    except NotADirectoryError:
        return None  # one of the folders above is none, which is said of that one
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long or no name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: cannot be written: {reason}; name another place") from error


def _check_room(path: Path, there: Path) -> None:
    """Refuse a path if the nearest folder above it that exists takes no new file."""
    for above in (there.absolute(), *there.absolute().parents):
        status = _status(above)
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path}: {above} is {_what(status)}, no folder; name another place")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UsageError(f"{path}: {above} may not be written; name another place")
        return


def _what(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    return "a file" if stat.S_ISREG(status.st_mode) else "a device, pipe or socket"
