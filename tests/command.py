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
    return Finished(int(code or 0), out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
