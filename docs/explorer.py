"""Draw docs/explorer-map.png, -lasso.png and -search.png: the explorer on the sounds of the demo.

Run: python docs/explorer.py

Needs Chromium (apt-get install chromium) and embedkit[umap].
"""

import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from explored import PROGRAM, explored

HERE = Path(__file__).parent


def draw(page: Any, address: str) -> None:
    """The map, some of it encircled, and what is closest to a bird: one row heard, two kept."""
    page.goto(f"{address}#map")
    page.locator("#map-said", has_text="Arranged").wait_for(timeout=600_000)
    page.locator("#map-names li").first.wait_for()
    page.wait_for_timeout(3000)  # until all points are drawn
    point = page.evaluate(
        """async () => { const { state } = await import('./state.js');
          const row = state.clip.indexOf(state.names.indexOf('bird/bird-10.wav'));
          return document.getElementById('map-place').plot
            .project([state.points[2 * row], state.points[2 * row + 1]]).slice(0, 2); }"""
    )
    box = page.locator("#map-place").bounding_box()
    x, y = box["x"] + point[0] + 1, box["y"] + point[1] + 1
    page.mouse.move(x, y - 1)
    page.mouse.move(x, y)
    page.locator("#map-tip:not([hidden])").wait_for()
    page.screenshot(path=HERE / "explorer-map.png")
    page.emulate_media(color_scheme="dark")
    page.click("#map-lasso")
    corners = [(x + 90 * math.cos(turn / 8), y + 70 * math.sin(turn / 8)) for turn in range(50)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners:
        page.mouse.move(*corner)
    page.mouse.up()
    page.locator("#map-chosen img[data-is=ready]").nth(3).wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=HERE / "explorer-lasso.png")
    page.emulate_media(color_scheme="light")
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
        with explored(demo / "embeddings", 800) as (page, address):
            draw(page, address)


if __name__ == "__main__":
    main()
