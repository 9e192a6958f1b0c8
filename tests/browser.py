"""The explorer as a person has it: its server, and a headless Chromium."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from patience import PATIENCE, until

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AT_ONCE = ("--projection", "pca")  # the map, and nothing in the meantime
TOKEN = "only-for-these-tests-0123"
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)


@contextmanager
def serve(*arguments: object, **environment: str) -> Iterator[str]:
    """The address of a server, without its token, until it is stopped."""
    program = Path(sys.executable).with_name("embedkit")
    port = () if "--port" in arguments else ("--port", 0)
    plane = () if "--projection" in arguments else AT_ONCE
    server = subprocess.Popen(
        [program, "explore", *map(str, (*arguments, *port, *plane, "--token", TOKEN))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip().removesuffix(f"?token={TOKEN}")
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)


@contextmanager
def launch() -> Iterator[Any]:
    """A browser."""
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
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any) -> Iterator[Any]:
    """A page in a window of its own, that has brought the token wherever it goes."""
    context = open_context(browser)
    page = context.new_page()
    go = page.goto

    def enter(address: str) -> None:
        if address.startswith("http"):
            name, _, value = cookie_of(address).partition("=")
            context.add_cookies([{"name": name, "value": value, "url": address}])
        go(address)

    page.goto = enter
    yield page
    context.close()


@contextmanager
def browse() -> Iterator[Any]:
    """A page of a browser of its own."""
    with launch() as browser, open_page(browser) as page:
        yield page


def open_context(browser: Any) -> Any:
    """A browser's window, which knows nothing of others."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(1000 * PATIENCE)
    return context


@contextmanager
def explored(emb: Path) -> Iterator[Any]:
    """A page of the explorer of a folder; in the end nothing may have gone wrong in it."""
    wrong: list[str] = []
    with serve(emb) as url, browse() as page:
        page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector("body[data-view=map]")
        yield page
    assert wrong == []


def cookie_of(address: str) -> str:
    """What a browser that has brought the token sends to a server."""
    return f"embedkit-{urlsplit(address).port}={TOKEN}"


def ask(address: str, path: str, value: Any = None) -> Any:
    """What the server answers to a program; to a value it is posted."""
    headers = {"Cookie": cookie_of(address), "Content-Type": "application/json"}
    body = None if value is None else json.dumps(value).encode()
    with urllib.request.urlopen(urllib.request.Request(address + path, body, headers)) as answer:
        return json.load(answer)


def wait(page: Any, done: Callable[[], bool], wrong: str) -> None:
    """Until something is so; the page goes on meanwhile."""
    until(done, wrong, pause=lambda: page.wait_for_timeout(50))


class Server:
    """`embedkit explore` in a process group of its own, as a shell starts it."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        program = Path(sys.executable).with_name("embedkit")
        self.process = subprocess.Popen(
            [program, "explore", *map(str, arguments), *AT_ONCE, "--port", "0", "--token", TOKEN],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().removesuffix(f"?token={TOKEN}")

    def facts(self) -> dict[str, Any]:
        return dict(ask(self.address, "api/collection"))

    def interrupt(self) -> str:
        """Ctrl-C: every process of the group gets it. What it says."""
        os.killpg(self.process.pid, signal.SIGINT)
        _, said = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 130, (self.process.returncode, said)
        assert "Traceback" not in said, said
        return said
