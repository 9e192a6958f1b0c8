"""The explorer as a person has it: its server, and a headless Chromium."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)


@contextmanager
def serve(*arguments: object) -> Iterator[str]:
    """The address of a server, until it is stopped."""
    program = Path(sys.executable).with_name("embedkit")
    port = () if "--port" in arguments else ("--port", 0)
    server = subprocess.Popen(
        [program, "explore", *map(str, (*arguments, *port))], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.terminate()
    server.communicate(timeout=10)


@contextmanager
def browse() -> Iterator[Any]:
    """A page of a browser."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        browser.close()


def wait(page: Any, done: Callable[[], bool], wrong: str) -> None:
    """Until something is so; the page goes on meanwhile."""
    for _ in range(600):
        if done():
            return
        page.wait_for_timeout(50)
    pytest.fail(wrong)
