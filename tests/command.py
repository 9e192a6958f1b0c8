"""The installed command, called in this process: torch is loaded once, not 40 times."""

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest
from embedkit_cli import main


@dataclass
class Finished:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Finished:
    """What the command prints, and how it ends."""
    out, err = io.StringIO(), io.StringIO()
    code = call(out, err, *arguments)
    return Finished(code, out.getvalue(), err.getvalue())


def call(out: io.StringIO, err: io.StringIO, *arguments: object) -> int:
    """Let the command print to these, and return how it ends."""
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["embedkit", *map(str, arguments)])
        patch.setenv("PYTHONWARNINGS", "ignore")  # as `main` does, and here it does not stay
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return int(code or 0)


def succeed(*arguments: object) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
