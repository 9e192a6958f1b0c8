"""The map in a real browser, and the looks and access of all views. Needs Chromium."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from browser import browse, needs_browser, serve, wait
from made import draw, write_table_of
from numpy.typing import NDArray
from planes import fake_umap, laid_out

from embedkit.store import EmbeddingTable

pytestmark = needs_browser

KINDS = {"owl": (5, 0), "fox": (-5, 1), "bat": (0, -5)}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, write_audio: Any) -> Iterator[Any]:
    """60 sounds of a second, in three clouds and as many folders below two that all share."""
    root = tmp_path_factory.mktemp("map")
    clips = {}
    for number in range(60):
        kind = [*KINDS][number % 3]
        name = f"field/2024/{kind}/{number % 2}/{number:02}.wav"
        write_audio(root / name, 0.1 * draw(16000, 1, number)[:, 0])
        clips[name] = np.float32([[*KINDS[kind], 1, 1]]) + 0.6 * draw(1, 4, number)
    write_table_of(root / "emb", clips, root=root, last_s=1.0)
    fake = fake_umap(root / "fake", "import time; time.sleep(2)")
    with serve(root / "emb", "--projection", "umap", PYTHONPATH=str(fake)) as url:
        yield url, root


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    with browse() as page:
        yield page


@pytest.fixture
def page(served: Any, tab: Any) -> Iterator[Any]:
    """The map, arranged."""
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto("about:blank")
    tab.goto(f"{served[0]}#map")
    tab.wait_for_selector("body[data-view=map]")
    wait(tab, lambda: tab.locator("#map-names li").count() > 0, "nothing is named")
    wait(tab, lambda: len(points(tab)) == 60, "nothing is drawn")
    yield tab
    tab.emulate_media(color_scheme="light")
    assert wrong == []


def points(page: Any) -> NDArray[np.float64]:
    found = page.evaluate("async () => Array.from((await import('./state.js')).state.points)")
    return np.array(found).reshape(-1, 2)


def clips(page: Any) -> list[str]:
    """The name of each point's sound."""
    found: list[str] = page.evaluate(
        "async () => { const { state } = await import('./state.js');"
        " return Array.from(state.clip, (clip) => state.names[clip]); }"
    )
    return found


def project(page: Any, at: Any) -> NDArray[np.float64]:
    """Where a place of the plane is, on the page."""
    box = page.locator("#map-place").bounding_box()
    found = page.evaluate(
        "(at) => document.getElementById('map-place').plot.project(at)", np.array(at).tolist()
    )
    return np.array([found[0] + box["x"] + 1, found[1] + box["y"] + 1])


def encircle(page: Any) -> None:
    """Draw a line around all that is on the map."""
    box = page.locator("#map-place").bounding_box()
    if page.locator("#map-lasso").get_attribute("aria-pressed") != "true":
        page.click("#map-lasso")
    x, y = box["x"] + 3, box["y"] + 3
    right, foot = x + box["width"] - 6, y + box["height"] - 6
    page.mouse.move(x, y)
    page.mouse.down()
    for place in ((right, y), (right, foot), (x, foot)):
        page.mouse.move(*place)
    page.mouse.up()


def named_by_place(page: Any) -> list[str]:
    """Of each name that is shown, the folder of the point that is nearest to its middle; if it is
    another one's, nothing."""
    shown = page.locator("#map-names li:not(.away)").evaluate_all(
        """(all) => all.map((each) => { const box = each.getBoundingClientRect();
          return [each.textContent, box.x + box.width / 2, box.y + box.height / 2]; })"""
    )
    places = np.array([project(page, point) for point in points(page)])
    folders = [clip.split("/")[2] for clip in clips(page)]
    found = []
    for name, x, y in shown:
        nearest = folders[int(np.hypot(*(places - (x, y)).T).argmin())]
        found.append(name if name == nearest else "")
    return found


def test_places_come_in_the_meantime_and_names_stand_on_them(page: Any, served: Any) -> None:
    vectors = EmbeddingTable.open(served[1] / "emb").rows().embeddings
    expected = laid_out(vectors)
    wait(page, lambda: np.abs(points(page) - expected).max() < 1e-4, "it is never arranged")
    # The first folder that tells sounds apart colours them, and what is counted is right.
    legend = page.locator("#map-legend button")
    assert page.locator("#map-colour").input_value() == "folder"
    assert sorted(legend.all_inner_texts()) == ["bat\n20", "fox\n20", "owl\n20"]
    marks = page.locator("#map-legend path")
    looks = marks.evaluate_all("(all) => all.map((each) => each.getAttribute('d'))")
    assert len(set(looks)) == 3  # shapes, beside colours
    # No name of the model is known: folders name the regions, in the midst of their points. They
    # come after the places.
    wait(page, lambda: set(named_by_place(page)) == {*KINDS}, "a name is missing or misplaced")
    # Under the middle of a cloud the ground is denser than between the clouds.
    tint = """([x, y]) => { const canvas = document.getElementById('map-density');
      return canvas.getContext('2d').getImageData(x, y, 1, 1).data[3]; }"""
    box = page.locator("#map-place").bounding_box()
    owls = np.median([points(page)[row] for row in range(60) if "/owl/" in clips(page)[row]], 0)
    at = project(page, owls) - (box["x"], box["y"])
    far = project(page, (1.1, 1.1)) - (box["x"], box["y"])
    assert page.evaluate(tint, at.round().tolist()) > 100
    assert page.evaluate(tint, far.round().tolist()) < 20


def test_the_legend_filters_and_a_tip_stands_at_its_point(page: Any) -> None:
    page.locator("#map-legend button", has_text="fox").click()
    fox = page.locator("#map-legend button", has_text="fox")
    assert fox.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement.textContent").startswith("fox")
    encircle(page)
    page.locator("#map-chosen-title", has_text="20 sounds").wait_for()
    page.locator("#map-legend button", has_text="owl").click()
    encircle(page)
    page.locator("#map-chosen-title", has_text="40 sounds").wait_for()
    chosen = page.locator("#map-chosen .name").all_inner_texts()
    assert not [name for name in chosen if "/bat/" in name]
    page.click("#map-all")
    encircle(page)
    page.locator("#map-chosen-title", has_text="60 sounds").wait_for()
    page.click("#map-lasso")
    page.locator("#map-place canvas:not([aria-hidden])").focus()
    page.keyboard.press("Escape")
    assert page.locator("#map-chosen .card").count() == 0
    away = np.linalg.norm(points(page)[:, None] - points(page), axis=2)
    row = int((away + 9 * np.eye(60)).min(axis=1).argmax())  # no other is near
    x, y = project(page, points(page)[row])
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    page.locator("#map-tip .name", has_text=clips(page)[row].rsplit("/", 1)[1]).wait_for()
    box = page.locator("#map-tip").bounding_box()
    nearest = np.clip((x, y), (box["x"], box["y"]),
                      (box["x"] + box["width"], box["y"] + box["height"]))  # fmt: skip
    assert np.hypot(*(nearest - (x, y))) < 25


def test_what_a_lasso_holds_is_labelled_kept_and_searched_by(page: Any, served: Any) -> None:
    labels = served[1] / "emb-labels.csv"
    page.locator("#map-legend button", has_text="bat").click()
    encircle(page)
    page.locator("#map-chosen-title", has_text="20 sounds").wait_for()
    page.fill("#map-chosen-text", "squeak")
    page.click("#map-chosen-label button:not([type=button])")
    page.locator("#mentioned", has_text="20 sounds are squeak").wait_for()
    written = [line for line in labels.read_text().splitlines() if line.endswith(",squeak")]
    assert len(written) == 20
    assert all("/bat/" in line for line in written)
    page.click("#map-chosen-undo")
    page.locator("#mentioned", has_text="as before").wait_for()
    assert "squeak" not in labels.read_text()
    page.click("#map-chosen-keep")
    assert page.inner_text("#tab-shortlist-count") == "20"
    page.click("#map-chosen-play")
    page.locator("#player-name", has_text="/bat/").wait_for()
    assert page.locator("#player-next").is_enabled()
    page.click("#map-chosen-like")
    page.wait_for_selector("body[data-view=search]")
    page.wait_for_selector("#search-results .sound")
    asked = re.findall("like=([^&]+)", page.evaluate("location.hash"))
    assert len(asked) >= 10
    assert all("/bat/" in each for each in asked)
    assert "/bat/" in page.locator("#search-results .name").first.inner_text()
    page.evaluate("localStorage.clear()")


def luminance(colour: list[float]) -> float:
    """WCAG 2's relative luminance of a colour of three bytes."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (byte / 255 for byte in colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: list[float], other: list[float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_stand_out_from_the_ground_in_both_themes(page: Any) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        colours, grounds = page.evaluate(
            """async () => {
              const { colourNames, none } = await import('./colours.js');
              const names = Array.from({ length: 12 }, (_, at) => `${at}`);
              const read = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
              const style = (id) => getComputedStyle(document.getElementById(id));
              return [[...colourNames(names).values(), none()],
                [read(style('map-place').backgroundColor), read(style('map-density').color)]];
            }"""
        )
        assert len({tuple(colour) for colour in colours}) == 13
        least = min(contrast(colour, ground) for colour in colours for ground in grounds)
        assert least >= 3, theme
        first = "rgb({},{},{})".format(*colours[0])
        page.locator(f"#map-legend path[fill='{first}']").wait_for(state="attached")


def test_what_starts_has_no_controls_yet_and_says_so(page: Any) -> None:
    held: list[Any] = []

    def hold(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/plane", hold)
    page.reload()
    page.locator("#map[aria-busy=true]").wait_for(state="attached")
    wait(page, lambda: held, "the map asks for nothing")
    said = "getComputedStyle(document.getElementById('map'), '::after').visibility === 'visible'"
    page.wait_for_function(f"() => {said}")
    assert page.locator("#map-colour").is_hidden()
    page.click("#tab-label")  # away and back: it starts once
    page.wait_for_selector("body[data-view=label]")
    page.click("#tab-map")
    assert page.locator("#map-colour").is_hidden()
    held[0].continue_()
    page.select_option("#map-colour", "path")
    page.wait_for_selector("body[data-view=map]")
    wait(page, lambda: page.locator("#map-legend li").count() == 6, "what is chosen does not count")
    page.unroute("**/plane")
    assert page.locator("#names option").count() == 60


VIEWS = ("map", "search", "listen", "shortlist", "label", "collection")


def show(page: Any, view: str) -> None:
    page.click(f"#tab-{view}")
    page.wait_for_selector(f"body[data-view={view}]")


def test_a_card_has_one_primary_action_and_says_how_it_is(page: Any) -> None:
    page.route("**/spectrogram/**", lambda route: route.fulfill(status=500, body="no picture"))
    page.fill("#map-find", "bat")
    page.press("#map-find", "Enter")
    card = page.locator("#map-chosen .card").first
    card.locator("img[data-is=failed]").wait_for()
    page.unroute("**/spectrogram/**")
    page.fill("#map-find", "owl")
    page.press("#map-find", "Enter")
    card.locator("img[data-is=ready]").wait_for()
    cards = page.locator("#map-chosen .card")
    heights = cards.evaluate_all("(all) => all.map((each) => each.offsetHeight)")
    assert len(set(heights)) == 1
    assert cards.locator(".shot-play").count() == cards.count() == 20
    assert cards.locator("button:not(.plain), a:not(.plain, .name)").count() == 20
    weights = card.locator(".name, .name .quiet").evaluate_all(
        "(all) => all.map((each) => Number(getComputedStyle(each).fontWeight))"
    )
    assert weights[0] > weights[1]
    # It shows that it plays, and then that it does not.
    cards.nth(2).locator(".shot-play").click()
    page.locator("#map-chosen .card.sounding").wait_for()
    row = cards.nth(2).get_attribute("data-row")
    assert page.locator(".card.sounding").get_attribute("data-row") == row
    page.locator("#map-chosen .card.sounding").wait_for(state="detached")
    page.click("#map-lasso")  # off again, where another test left it on


def test_a_small_screen_has_a_sheet_and_a_large_one_no_voids(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    sheet = page.locator("#map-sheet")
    assert sheet.get_attribute("aria-expanded") == "false"
    place = page.locator("#map-place").bounding_box()
    aside = page.locator("#map-aside").bounding_box()
    assert place["height"] > 300
    assert aside["y"] >= place["y"] + place["height"] - 1
    page.fill("#map-find", "owl")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .card").first.wait_for()
    assert sheet.get_attribute("aria-expanded") == "true"
    wait(page, lambda: page.locator("#map-aside").bounding_box()["height"] > 200, "it stays shut")
    sheet.click()
    wait(page, lambda: page.locator("#map-aside").bounding_box()["height"] < 50, "it stays open")
    for view in VIEWS:
        show(page, view)
        assert not page.evaluate("document.body.scrollWidth > innerWidth"), view
    page.set_viewport_size({"width": 2560, "height": 1440})
    for view in ("map", "search", "label"):
        show(page, view)
        page.wait_for_timeout(200)
        used = page.evaluate(
            """(view) => {
              const boxes = [...document.querySelectorAll(`#${view} > *, #${view} .split > *`)]
                .map((each) => each.getBoundingClientRect()).filter(({ width }) => width);
              return Math.max(...boxes.map(({ right }) => right))
                - Math.min(...boxes.map(({ left }) => left));
            }""",
            view,
        )
        assert used > 0.85 * 2560, view
    page.set_viewport_size({"width": 1280, "height": 800})


def violations(page: Any) -> Any:
    """What axe-core finds wrong with the page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    return page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>"
        " [id, nodes.map(({ html }) => html)]))"
    )


def test_axe_finds_nothing_wrong_with_what_is_chosen(page: Any) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-core comes with the extra [dev]")
    page.fill("#map-find", "owl")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen img[data-is=ready]").first.wait_for()
    assert page.inner_text("#map-chosen-said") == "20 sounds chosen"
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select')]
          .filter((each) => each.checkVisibility() && !each.textContent.trim()
            && !each.ariaLabel && !each.labels?.length)
          .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    for width, theme in ((1280, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 740})
        page.emulate_media(color_scheme=theme)
        assert violations(page) == [], (width, theme)
    page.set_viewport_size({"width": 1280, "height": 800})


def test_forced_colours_and_reduced_motion_are_honoured(page: Any) -> None:
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    page.locator("#map-legend button").first.click()
    pressed = page.locator("#map-legend button[aria-pressed=true]")
    assert pressed.evaluate("(each) => getComputedStyle(each).outlineStyle") == "solid"
    drawn = page.locator("#map-legend path").evaluate_all(
        "(all) => all.map((each) => getComputedStyle(each).fill)"
    )
    assert len(set(drawn)) == 3  # what colours mean is not taken away
    page.route("**/spectrogram/**", lambda _: None)  # for ever under way
    page.fill("#map-find", "fox")
    page.press("#map-find", "Enter")
    page.locator("img[data-is=loading]").first.wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(forced_colors="none", reduced_motion="no-preference")
    wait(page, lambda: page.evaluate("document.getAnimations().length") > 0, "nothing waits")
    page.unroute("**/spectrogram/**")
