"""The explorer in a real browser: map, search, sound, labels that stay. Needs Chromium."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run
from numpy.typing import NDArray

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)

MARKUP = "<img src=x onerror=alert(1)>.wav"


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Iterator[tuple[str, Path]]:
    """A server on 12 sounds, and its folder."""
    root = tmp_path_factory.mktemp("browser")
    for number in range(12):
        name = MARKUP if number == 11 else f"{'ab'[number % 2]}/{number}.wav"
        write_audio(root / "audio" / name, 0.3 * make_sound(2.0, seed=number))
    run("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    program = Path(sys.executable).with_name("embedkit")
    server = subprocess.Popen(
        [program, "explore", root / "emb", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield server.stdout.readline().strip(), root
    server.terminate()
    server.communicate(timeout=10)


@pytest.fixture
def page(address: tuple[str, Path]) -> Iterator[Any]:
    """The page, open on the map; no error on its console, no request to elsewhere."""
    wrong = []
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
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((address[0], "blob:", "data:"))
                or wrong.append(asked.url))  # fmt: skip
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(address[0])
        page.wait_for_selector("body[data-view=map]")
        yield page
        browser.close()
    assert wrong == []


def places(page: Any) -> NDArray[np.float32]:
    """Where the points are on the map [segments, 2]."""
    found = page.evaluate(
        "async () => Array.from(new Float32Array(await (await fetch('/api/points')).arrayBuffer()))"
    )
    return np.array(found, np.float32).reshape(-1, 2)


def test_the_map_is_drawn_and_a_point_plays(page: Any) -> None:
    page.wait_for_selector("#map-legend li")
    assert {"a", "b"} <= set(page.locator("#map-legend li").all_inner_texts())
    place = page.locator("#map-place").bounding_box()
    points = places(page)
    # Each point is drawn where its numbers say: far ones are found under the pointer.
    for row in (points[:, 0].argmin(), points[:, 0].argmax(), points[:, 1].argmin()):
        x, y = page.evaluate(
            "(at) => document.getElementById('map-place').plot.getViewports()[0].project(at)",
            points[row].tolist(),
        )
        page.mouse.click(place["x"] + x + 1, place["y"] + y + 1)  # within its border of a pixel
        page.locator(f"#map-chosen .card[data-row='{row}']").wait_for()
    page.click("#map-lasso")
    corners = [(2, 2), (place["width"] - 2, 2), (place["width"] - 2, place["height"] - 2),
               (2, place["height"] - 2)]  # fmt: skip
    page.mouse.move(place["x"] + 2, place["y"] + 2)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(place["x"] + x, place["y"] + y)
    page.mouse.up()
    page.wait_for_selector("#map-chosen .card")
    assert page.inner_text("#map-chosen-title") == "24 segments"
    page.fill("#map-find", "b/3.wav")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .name", has_text="b/3.wav").wait_for()
    page.locator("#player[src*='/api/audio/']").wait_for(state="attached")
    for _ in range(100):
        if page.locator("#player").evaluate("(player) => player.currentTime > 0"):
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the sound does not play")


def test_arrow_keys_go_to_the_nearest_point_in_their_direction(page: Any) -> None:
    page.fill("#map-find", "a/4.wav")
    page.press("#map-find", "Enter")
    row = int(page.locator("#map-chosen .card").get_attribute("data-row"))
    points = places(page)
    page.locator("#map-place canvas:not(#map-lasso-line)").focus()
    for key, angle in [("ArrowRight", 0), ("ArrowUp", 90), ("ArrowLeft", 180), ("ArrowDown", -90)]:
        away = points - points[row]
        turned = np.degrees(np.arctan2(away[:, 1], away[:, 0])) - angle
        ahead = (np.abs((turned + 180) % 360 - 180) < 45) & away.any(axis=1)
        page.keyboard.press(key)
        if ahead.any():
            row = np.flatnonzero(ahead)[np.linalg.norm(away[ahead], axis=1).argmin()]
        page.locator(f"#map-chosen .card[data-row='{row}']").wait_for()


def test_a_click_and_a_dropped_file_search(page: Any, address: tuple[str, Path]) -> None:
    page.fill("#map-find", "a/4.wav")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .card button", has_text="Search").click()
    page.wait_for_selector("#search-results .card")
    assert page.locator("#search-query .chip").inner_text() == "like a/4.wav ✕"
    row = int(page.locator("#map-chosen .card").get_attribute("data-row"))
    asked = urllib.request.Request(
        f"{address[0]}api/search", json.dumps({"like": [row]}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(asked) as answer:
        expected = [card["name"] for card in json.load(answer)]
    assert page.locator("#search-results .name").all_inner_texts() == expected
    page.locator("#search-results .card button", has_text="Not this").nth(1).click()
    page.locator("#search-query .chip", has_text="unlike").wait_for()
    page.set_input_files("#search-file", address[1] / "audio" / "b" / "7.wav")
    page.locator("#search-query .chip", has_text="like 7.wav").wait_for(timeout=60_000)
    page.wait_for_selector("#search-results .card.new")  # the results of the new query
    assert "b/7.wav" in page.locator("#search-results .name").all_inner_texts()[:4]
    name = page.locator("#search-results .name").first.inner_text()
    page.locator("#search-results .card button", has_text="Open").first.click()
    page.wait_for_selector("#listen-near .card")
    assert page.inner_text("#listen-title") == name
    assert page.locator("#listen-wave").evaluate(
        "(place) => place.firstChild.shadowRoot.querySelectorAll('canvas').length"
    )


def test_the_microphone_is_a_query(page: Any) -> None:
    page.click("#tab-search")
    page.click("#search-record")  # Chromium's own device: a beep each second
    page.wait_for_timeout(1500)
    page.click("#search-record")
    page.locator("#search-query .chip", has_text="like recording").wait_for(timeout=60_000)
    page.wait_for_selector("#search-results .card")
    assert page.inner_text("#search-record") == "Record"


def test_labels_stay(page: Any, address: tuple[str, Path]) -> None:
    page.click("#tab-label")
    given = {}
    for label in ("rain", "<b>wind</b>", "rain"):
        page.wait_for_selector("#label-now .card")
        name = page.inner_text("#label-now .name")
        page.fill("#label-text", label)
        page.press("#label-text", "Enter")
        page.locator(f"#label-now .card:not(:has-text({name!r}))").wait_for()
        given[name] = label
    labels = (address[1] / "emb-labels.csv").read_text()
    assert all(name in labels for name in given)
    page.reload()
    page.wait_for_selector("body[data-view=label]")
    page.wait_for_selector("#label-now .card")
    assert re.match("3 of 12 sounds labelled", page.inner_text("#label-progress"))
    # By a key, outside the text.
    page.locator("#label-now .name").click()
    page.keyboard.press("2")
    for _ in range(100):
        if (address[1] / "emb-labels.csv").read_text().count("rain") == 3:
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the key gave no label")
    page.keyboard.press("z")
    page.click("#tab-map")
    page.select_option("#map-colour", "label")
    page.locator("#map-legend li", has_text="<b>wind</b>").wait_for()


def test_names_are_text_and_small_screens_show_all(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    page.fill("#map-find", MARKUP)
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .name", has_text=MARKUP).wait_for()
    for tab in ("search", "listen", "label", "collection"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"body[data-view={tab}]")
        overflow = "(body) => body.scrollWidth > innerWidth"
        assert not page.locator("body").evaluate(overflow), tab
    page.keyboard.press("ArrowLeft")  # along the tabs
    page.wait_for_selector("body[data-view=label]")
