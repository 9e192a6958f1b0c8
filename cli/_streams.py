"""stdout and stderr, whatever their encoding is, and even if they are closed, full or not read."""

import io
import os
import sys

from embedkit.errors import EmbedkitError


def open_streams() -> None:
    """Let stdout and stderr take any text: what their encoding lacks is backslash-escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # whoever called us has closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def shown(text: str) -> str:
    """The text as stdout will hold it."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def flush_stdout() -> None:
    """Write all that was printed, while a failure can still be reported.

    Raises:
        BrokenPipeError: the reader has left.
        EmbedkitError: the output cannot be written, for example on a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try again as it ends, and print a traceback.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise
        raise EmbedkitError(f"the output cannot be written: {error.strerror}") from error
