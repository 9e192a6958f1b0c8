"""Temporary files: if their folder is full, the error names it, not the sound or model at hand."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedkit.errors import EmbedkitError


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files that is gone afterwards.

    Raises:
        EmbedkitError: it cannot be made.
    """
    with into_scratch():
        folder = tempfile.TemporaryDirectory(prefix="embedkit-", ignore_cleanup_errors=True)
    with folder as name:
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
