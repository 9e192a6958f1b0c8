"""How long a test waits for what must come: no test is about the speed of the machine."""

import time
from collections.abc import Callable

import pytest

PATIENCE = 600.0  # seconds; they pass in full only where something is broken


def until(
    done: Callable[[], object],
    wrong: str,
    pause: Callable[[], object] = lambda: time.sleep(0.02),
) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(wrong)
        pause()
