"""The explorer in a browser, to be drawn."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PROGRAM = Path(sys.executable).with_name("embedkit")


@contextmanager
def explored(emb: Path, height: int) -> Iterator[tuple[Any, str]]:
    """A page of 1,280 pixels by `height`, and the address of an embedding folder's explorer."""
    server = subprocess.Popen(
        [PROGRAM, "explore", emb, "--port", "0", "--no-open"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            yield browser.new_page(viewport={"width": 1280, "height": height}), address
            browser.close()
    finally:
        server.terminate()
        server.communicate(timeout=30)
