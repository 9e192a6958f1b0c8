"""Draw docs/explorer-map.png and docs/explorer-search.png: the explorer on the sounds of the demo.

Run: python docs/explorer.py

Needs Chromium (apt-get install chromium).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("embedkit")


def draw(page: Any, address: str) -> None:
    """The map, and what is closest to a bird, one row of it auditioned and two kept."""
    page.goto(f"{address}#map")
    page.wait_for_selector("#map-legend li")
    page.wait_for_timeout(3000)  # until all points are drawn
    page.screenshot(path=HERE / "explorer-map.png")
    page.goto(f"{address.partition('?')[0]}#search?like=bird/bird-10.wav@1")
    page.locator("#search-results .sound").nth(8).wait_for()
    rows = page.locator("#search-results .sound")
    for row in (1, 4):
        rows.nth(row).locator("[aria-label^='Keep']").click()
    page.mouse.move(5, 5)
    rows.nth(1).locator(".name").focus()
    page.keyboard.press("ArrowDown")
    page.locator("#mentioned:empty").wait_for(state="attached")
    page.evaluate("Promise.all([...document.images].slice(0, 12).map((each) => each.decode()))")
    page.screenshot(path=HERE / "explorer-search.png")


def main() -> None:
    """Make the demo, serve it, and draw."""
    with tempfile.TemporaryDirectory() as name:
        demo = Path(name) / "demo"
        subprocess.run([PROGRAM, "demo", "--out", demo], check=True, stdout=subprocess.DEVNULL)
        server = subprocess.Popen(
            [PROGRAM, "explore", demo / "embeddings", "--port", "0", "--no-open"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
                )
                draw(browser.new_page(viewport={"width": 1280, "height": 800}), address)
                browser.close()
        finally:
            server.terminate()
            server.communicate(timeout=30)


if __name__ == "__main__":
    main()
