"""The explorer in a real browser: map, search, sound, labels that stay. Needs Chromium."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import launch, needs_browser, open_page, serve, wait
from command import run
from made import namer
from numpy.typing import NDArray

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.web.sound import read_span, wav

pytestmark = needs_browser

MARKUP = "<img src=x onerror=alert(1)>.wav"


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, save_model: Any, write_audio: Any, make_sound: Any
) -> Iterator[tuple[str, Path]]:
    """A server on 12 sounds by a model that brings two names, and its folder."""
    root, model = tmp_path_factory.mktemp("browser"), save_model(0)
    names = namer("Dog", "Rain", size=64, fingerprint=weights_fingerprint(model))
    names.save(model / "names" / "64")
    for number in range(12):
        name = MARKUP if number == 11 else f"{'ab'[number % 2]}/{number}.wav"
        write_audio(root / "audio" / name, 0.3 * make_sound(2.0, seed=number))
    run("extract", root / "audio", "--model", model, "--out", root / "emb")
    with serve(root / "emb") as url:
        yield url, root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that starts once."""
    with launch() as browser:
        yield browser


@pytest.fixture
def page(address: tuple[str, Path], browser: Any) -> Iterator[Any]:
    """The page, open on the map; no error on its console, no request to elsewhere."""
    wrong = []
    with open_page(browser) as page:
        page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((address[0], "blob:", "data:"))
                or wrong.append(asked.url))  # fmt: skip
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(address[0])
        page.wait_for_selector("body[data-view=map]")
        yield page
    assert wrong == []


def places(page: Any) -> NDArray[np.float32]:
    """Where the points are on the map [segments, 2]."""
    found = page.evaluate(
        """async () => {
          const { edition } = await (await fetch('/api/collection')).json();
          const points = await (await fetch(`/api/${edition}/points/pca`)).arrayBuffer();
          return Array.from(new Float32Array(points));
        }"""
    )
    return np.array(found, np.float32).reshape(-1, 2)


def test_the_map_is_drawn_and_a_point_plays(page: Any) -> None:
    page.wait_for_selector("#map-legend li")
    assert {"a", "b"} <= set(page.locator("#map-legend .of").all_inner_texts())
    place = page.locator("#map-place").bounding_box()
    points = places(page)
    # Each point is drawn where its numbers say: far ones are found under the pointer.
    for row in (points[:, 0].argmin(), points[:, 0].argmax(), points[:, 1].argmin()):
        x, y = page.evaluate(
            "(at) => document.getElementById('map-place').plot.project(at)",
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
    assert page.inner_text("#map-chosen-title") == "12 sounds"
    page.fill("#map-find", "b/3.wav")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .name", has_text="b/3.wav").wait_for()
    page.locator("#player[src*='/audio/']").wait_for(state="attached")
    wait(
        page,
        lambda: page.locator("#player").evaluate("(player) => player.currentTime > 0"),
        "the sound does not play",
    )


def test_arrow_keys_go_to_the_nearest_point_in_their_direction(page: Any) -> None:
    page.fill("#map-find", "a/4.wav")
    page.press("#map-find", "Enter")
    row = int(page.locator("#map-chosen .card").get_attribute("data-row"))
    points = places(page)
    page.locator("#map-place canvas:not([aria-hidden])").focus()
    for key, angle in [("ArrowRight", 0), ("ArrowUp", 90), ("ArrowLeft", 180), ("ArrowDown", -90)]:
        away = points - points[row]
        turned = np.degrees(np.arctan2(away[:, 1], away[:, 0])) - angle
        ahead = (np.abs((turned + 180) % 360 - 180) < 45) & away.any(axis=1)
        page.keyboard.press(key)
        if ahead.any():
            row = np.flatnonzero(ahead)[np.linalg.norm(away[ahead], axis=1).argmin()]
        page.locator(f"#map-chosen .card[data-row='{row}']").wait_for()


def test_labels_stay(page: Any, address: tuple[str, Path]) -> None:
    page.click("#tab-label")
    given = {}
    for label in ("rain", "<b>wind</b>", "rain"):
        page.wait_for_selector("#label-now")
        name = page.inner_text("#label-now .name")
        page.fill("#label-text", label)
        page.press("#label-text", "Enter")
        page.locator(f"#label-name:not(:has-text({name!r}))").wait_for()
        given[name] = label
    labels = (address[1] / "emb-labels.csv").read_text()
    assert all(name in labels for name in given)
    page.reload()
    page.wait_for_selector("body[data-view=label]")
    page.wait_for_selector("#label-now")
    assert re.match("3 of 12 sounds labelled", page.inner_text("#label-progress"))
    # By a key, outside the text.
    page.locator("#label-now .name").click()
    page.keyboard.press("1")
    wait(
        page,
        lambda: (address[1] / "emb-labels.csv").read_text().count("rain") == 3,
        "the key gave no label",
    )
    page.keyboard.press("z")
    wait(
        page,
        lambda: (address[1] / "emb-labels.csv").read_text().count("rain") == 2,
        "the key took no label away",
    )
    with page.expect_download() as waiting:
        page.click("#label-csv")
    labels = (address[1] / "emb-labels.csv").read_bytes()
    assert waiting.value.path().read_bytes() == labels
    assert waiting.value.suggested_filename == "labels.csv"
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


def play(page: Any, name: str) -> list[int]:
    """The bytes of the sound that a clip's first segment plays, as the browser has them."""
    for text in ("", name):
        page.fill("#map-find", text)
        page.press("#map-find", "Enter")
    page.locator("#map-chosen .name", has_text=name).wait_for()
    found: list[int] = page.evaluate(
        "async () => Array.from(new Uint8Array(await (await"
        " fetch(document.getElementById('player').src)).arrayBuffer()))"
    )
    return found


def heard(path: Path, end_s: float) -> list[int]:
    """The bytes that these should be."""
    return list(wav(read_span(path, 0.0, end_s)))


def test_a_page_that_is_left_open_over_a_restart_labels_and_plays_nothing_wrong(
    address: tuple[str, Path],
    browser: Any,
    tmp_path: Path,
    model_dir: Path,
    write_audio: Any,
    make_sound: Any,
) -> None:
    for number, name in enumerate(("0.wav", "a/0.wav", "a/1.wav", "b/3.wav")):
        write_audio(tmp_path / "audio" / name, 0.3 * make_sound(2.0, seed=100 + number))
    run("extract", tmp_path / "audio", "--model", model_dir, "--out", tmp_path / "emb")
    labels = tmp_path / "labels.csv"
    notice = "#notice:not([hidden])"
    with open_page(browser) as page:
        with serve(address[1] / "emb", "--labels", labels) as url:
            page.goto(url)
            page.wait_for_selector("body[data-view=map]")
            old = play(page, "a/0.wav")
            assert old == heard(address[1] / "audio" / "a" / "0.wav", 1.0)
            page.locator("#map-chosen .card [aria-label^=Closest]").click()
            page.wait_for_selector("#search-query .chip")
            page.fill("#search-folder", "a")
            page.press("#search-folder", "Tab")
            page.click("#tab-label")
            page.wait_for_selector("#label-now")
            page.fill("#label-text", "rain")
            page.press("#label-text", "Enter")
            page.locator("#label-keys button", has_text="1 rain").wait_for()
            before = labels.read_bytes()
            assert before.count(b"rain") == 1
            page.fill("#label-text", "half a word")
        page.locator("#label-now .name").click()
        page.keyboard.press("1")
        page.locator(notice, has_text="The server does not answer.").wait_for()
        with serve(tmp_path / "emb", "--labels", labels, "--port", url.split(":")[-1][:-1]):
            page.keyboard.press("1")
            page.locator(notice, has_text="loaded again").wait_for()
            assert labels.read_bytes() == before
            assert page.input_value("#label-text") == "half a word"
            assert page.inner_text("#title") == "emb: 4 sounds"
            assert page.locator("body").get_attribute("data-view") == "label"
            page.click("#tab-search")
            assert page.input_value("#search-folder") == "a"
            page.locator("#search-query .chip", has_text="like a/0.wav").wait_for()
            page.locator("#search-results .name", has_text="a/1.wav").first.wait_for()
            # The same name, and in the end the same number: but another sound.
            page.click("#tab-map")
            new = heard(tmp_path / "audio" / "a" / "0.wav", 1.0)
            assert play(page, "a/0.wav") == new != old
            page.click("#tab-label")
            page.press("#label-text", "Enter")
            name = page.inner_text("#label-now .name")
            page.locator("#label-keys button", has_text="half a word").wait_for()
            assert name not in before.decode()
            assert labels.read_bytes().startswith(before)


def test_a_sound_that_changes_on_the_disk_is_heard_as_it_is(
    page: Any, address: tuple[str, Path], write_audio: Any, make_sound: Any
) -> None:
    path = address[1] / "audio" / "a" / "2.wav"
    kept = path.read_bytes()
    old = play(page, "a/2.wav")
    try:
        write_audio(path, 0.3 * make_sound(0.5, seed=200))
        page.locator("#map-chosen .card [aria-label^=Play]").click()
        wait(
            page,
            lambda: page.locator("#player").evaluate("(player) => player.duration") == 0.5,
            "the old sound is played",
        )
        assert play(page, "a/2.wav") == heard(path, 1.0) != old
    finally:
        path.write_bytes(kept)


def answer_so(answer: dict[str, Any], route: Any) -> None:
    route.fulfill(**answer)


def test_the_server_says_why_an_upload_failed(
    address: tuple[str, Path], browser: Any, tmp_path: Path
) -> None:
    why = "/models/x: the model that made these embeddings is not there; name it with --model"
    (tmp_path / "dropped.wav").write_bytes(b"RIFF")
    with open_page(browser) as page:
        page.goto(address[0] + "#search")
        page.wait_for_selector("body[data-view=search]")
        for answer, shown in (
            ({"status": 422, "json": {"detail": why}}, why),
            ({"status": 429, "json": {"detail": "try again"}}, "try again"),
            ({"status": 401, "body": "a token is needed"}, "a token is needed"),
            ({"status": 500, "body": ""}, "500 Internal Server Error"),
        ):
            page.route("**/upload", partial(answer_so, answer))
            page.set_input_files("#search-file", tmp_path / "dropped.wav")
            page.locator("#notice:not([hidden])", has_text=re.compile(re.escape(shown))).wait_for()
            assert page.inner_text("#notice") == shown
            page.unroute("**/upload")
