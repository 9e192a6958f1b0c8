"""The embedkit command line. Each command's file parses, calls the library, and prints."""

import logging
import signal
import sys
import warnings

import typer

from embedkit.errors import EmbedkitError, UsageError

from . import (
    bench,
    bench_sizes,
    classify,
    convert,
    demo,
    distil,
    draw_map,
    duplicates,
    evaluate,
    explore,
    export,
    extract,
    info,
    label,
    mix,
    models,
    predict,
    scene,
    search,
    train,
    verify,
)
from ._app import app

__all__ = [
    "app",
    "bench",
    "bench_sizes",
    "classify",
    "convert",
    "demo",
    "distil",
    "draw_map",
    "duplicates",
    "evaluate",
    "explore",
    "export",
    "extract",
    "info",
    "label",
    "main",
    "mix",
    "models",
    "predict",
    "scene",
    "search",
    "train",
    "verify",
]


def main() -> None:
    """Run the command line and exit.

    0 done, 1 failed, 2 wrong usage, 3 finished but some files failed, 130 interrupted.
    """
    # As Ctrl-C: batch systems stop a job so, and it is to leave what it has done in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = logging.getLogger("embedkit")  # not the root: libraries have much to say
    log.setLevel(logging.INFO)
    log.handlers = [logging.StreamHandler(sys.stderr)]
    warnings.simplefilter("once")
    warnings.showwarning = lambda text, *_: typer.echo(f"warning: {text}", err=True)
    command = typer.main.get_command(app)
    for option in command.params:
        # What acts at once is no setting: an image may well have EMBEDKIT_VERSION.
        option.allow_from_autoenv = option.callback is None  # type: ignore[attr-defined]
    try:
        command()
    except UsageError as error:
        _fail(error, 2)
    except EmbedkitError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has left
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(error, 1)


def _fail(error: object, code: int) -> None:
    logging.getLogger("embedkit").debug("what led to it:", exc_info=True)
    typer.echo(f"embedkit: {error}", err=True)
    sys.exit(code)
