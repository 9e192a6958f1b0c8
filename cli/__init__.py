"""The embedkit command line. Each command's file parses, calls the library, and prints."""

import logging
import os
import signal
import sys
import warnings
from typing import Any

import typer

from embedkit.errors import (
    EXTRAS,
    EmbedkitError,
    EmbedkitWarning,
    UsageError,
    missing,
    words,
)

from . import (
    bench,
    bench_extractors,
    bench_sizes,
    classify,
    cluster,
    convert,
    demo,
    describe,
    detect,
    distil,
    draw_map,
    duplicates,
    evaluate,
    explore,
    export,
    extract,
    info,
    label,
    learn_names,
    mix,
    models,
    predict,
    review,
    scene,
    search,
    tag,
    train,
    verify,
)
from ._app import app
from ._streams import flush_stdout, open_streams

__all__ = [
    "app",
    "bench",
    "bench_extractors",
    "bench_sizes",
    "classify",
    "cluster",
    "convert",
    "demo",
    "describe",
    "detect",
    "distil",
    "draw_map",
    "duplicates",
    "evaluate",
    "explore",
    "export",
    "extract",
    "info",
    "label",
    "learn_names",
    "main",
    "mix",
    "models",
    "predict",
    "review",
    "scene",
    "search",
    "tag",
    "train",
    "verify",
]


def main() -> None:
    """Run the command line and exit.

    The exit code is 0 if all is done, 1 if it failed, 2 for wrong usage, 3 if some files failed,
    and 130 if it was interrupted.
    """
    open_streams()
    # As Ctrl-C: batch systems stop a job so, and it is to leave what it has done in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = logging.getLogger("embedkit")  # not the root: libraries have much to say
    log.setLevel(logging.INFO)
    log.handlers = [logging.StreamHandler(sys.stderr)]
    logging.lastResort = _Aside(logging.WARNING)
    warnings.simplefilter("always")
    warnings.showwarning = _Warnings()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for the processes that we start
    if "extract" in sys.argv[1:]:
        from embedkit.processes import start_server

        start_server()  # it loads its libraries while this process loads its own
    command = typer.main.get_command(app)
    for option in command.params:
        # What acts at once is no setting: an image may well have EMBEDKIT_VERSION.
        option.allow_from_autoenv = option.callback is None  # type: ignore[attr-defined]
    try:
        try:
            command()
        finally:
            flush_stdout()
    except UsageError as error:
        _fail(error, 2)
    except EmbedkitError as error:
        _fail(error, 1)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        _fail(missing(error.name, EXTRAS[error.name]), 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has left
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(words(error), 1)


class _Aside(logging.Handler):
    """Takes what libraries log for programmers, and shows it with --verbose."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("embedkit").debug("%s: %s", record.name, record.getMessage())


class _Warnings:
    """Shows each warning once: ours to users, those of libraries with --verbose."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        ours = issubclass(category, EmbedkitWarning)
        text = f"{'warning' if ours else category.__name__}: {message}"
        if text not in self._told:  # Python's own memory does not outlive a change of its filters
            self._told.add(text)
            logging.getLogger("embedkit").log(logging.WARNING if ours else logging.DEBUG, text)


def _fail(error: object, code: int) -> None:
    logging.getLogger("embedkit").debug("what led to it:", exc_info=True)
    print(f"embedkit: {error}", file=sys.stderr)
    sys.exit(code)
