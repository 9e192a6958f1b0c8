"""The pages that need no server, in a real browser: zoom, search, themes. Needs Chromium."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browse, needs_browser
from made import draw, write_table_of
from matplotlib.figure import Figure
from PIL import Image

from embedkit.pages import map as map_module
from embedkit.pages.map import write_map
from embedkit.pages.plots import embedding_map
from embedkit.pages.report import ReportCard, write_report

pytestmark = needs_browser


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    with browse() as page:
        yield page


def luminance(image: bytes) -> Any:
    """WCAG 2's relative luminance of each pixel of a picture."""
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) / 255
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_the_map_zooms_searches_and_says_of_how_many(
    tab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_module, "MOST", 20)
    clips = {f"{'ab'[n % 2]}/{n:02}.wav": draw(1, 4, n) for n in range(50)}
    table = write_table_of(tmp_path / "emb", clips, root=tmp_path / "birds")
    write_map(table, tmp_path / "map.html")
    tab.goto((tmp_path / "map.html").as_uri())
    assert tab.inner_text("h1") == "20 of 50 sounds of birds"
    before = np.array(tab.evaluate("places"))
    box = tab.locator("canvas").bounding_box()
    # The wheel doubles distances, and what is under the pointer stays there.
    still = before[3]
    tab.mouse.move(box["x"] + still[0], box["y"] + still[1])
    tab.mouse.wheel(0, -300)
    tab.wait_for_function("zoom > 1.9")
    after = np.array(tab.evaluate("places"))
    np.testing.assert_allclose(after - still, 2 * (before - still), atol=1.5)
    tab.mouse.down()
    tab.mouse.move(box["x"] + still[0] + 40, box["y"] + still[1] - 30, steps=3)
    tab.mouse.up()
    np.testing.assert_allclose(np.array(tab.evaluate("places")) - after, [[40, -30]] * 20, atol=1.5)
    tab.click("#whole")
    np.testing.assert_allclose(tab.evaluate("places"), before, atol=1e-6)
    names = tab.evaluate("points.map((point) => point[3])")
    tab.fill("#find", "B/")
    expected = [number for number, name in enumerate(names) if name.startswith("b/")]
    assert tab.evaluate("[...found]") == expected
    assert tab.inner_text("#status").startswith(f"{len(expected)} of 20 sounds have B/")
    tab.press("#find", "Enter")
    assert tab.inner_text("#tip").startswith(names[expected[0]])
    tab.fill("#find", "")
    # A point stands out from the ground in both themes.
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        tab.mouse.move(1, 1)
        light = luminance(tab.locator("canvas").screenshot())
        ground = light[3, 3]
        x, y = np.round(tab.evaluate("places")[7]).astype(int)
        point = light[y, x]
        assert (max(point, ground) + 0.05) / (min(point, ground) + 0.05) >= 3, theme


def test_the_report_searches_its_neighbours(tab: Any, tmp_path: Path) -> None:
    cards = [
        ReportCard(
            clip=f"{'ab'[n % 2]}/{n:02}.wav", label="<i>Owl</i>" if n < 3 else "rain", start_s=0.0,
            end_s=1.0, similarity=0.5, audio_href="a.wav", picture=Figure(),
            heard="Wind" if n == 9 else "",
        )
        for n in range(12)
    ]  # fmt: skip
    write_report(
        tmp_path / "report.html", title="Report", facts=[], figures=[], query=cards[0],
        neighbours=cards, commands="",
    )  # fmt: skip
    tab.goto((tmp_path / "report.html").as_uri())
    shown = tab.locator("#nearest > .card:visible .clip:first-of-type")
    every = [card.clip for card in cards]
    assert shown.all_inner_texts() == every
    for text, expected in (("A/", every[::2]), ("<i>owl", every[:3]), ("wind", [every[9]]),
                           ("gone", []), ("", every)):  # fmt: skip
        tab.fill("#find", text)
        assert shown.all_inner_texts() == expected, text
        said = f"{len(expected)} of 12 have {text}" if text else ""
        assert tab.inner_text("#said") == said


def test_the_report_is_dark_in_the_dark_and_its_charts_grow(tab: Any, tmp_path: Path) -> None:
    card = ReportCard(
        clip="a.wav", label="a", start_s=0.0, end_s=1.0, similarity=None, audio_href="a.wav",
        picture=Figure(),
    )  # fmt: skip
    chart = embedding_map(draw(40, 2), ["a", "b"] * 20)
    write_report(
        tmp_path / "report.html", title="Report", facts=[], figures=[("Map", "Of all", chart)],
        query=card, neighbours=[], commands="",
    )  # fmt: skip
    tab.goto((tmp_path / "report.html").as_uri())
    seen = {}
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        seen[theme] = np.median(luminance(tab.locator(".chart").screenshot()))
    assert seen["light"] > 0.9
    assert seen["dark"] < 0.02
    width = tab.locator(".chart img").bounding_box()["width"]
    inner = tab.locator(".chart").evaluate("(chart) => chart.clientWidth")
    tab.get_by_label("Enlarge").check()
    assert tab.locator(".chart img").bounding_box()["width"] > 1.5 * width
    assert tab.locator(".chart").evaluate("(chart) => chart.clientWidth") == inner
