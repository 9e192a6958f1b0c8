"""What a person who labels and listens does in the explorer. Needs Chromium."""

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import (
    CHROMIUM,
    ask,
    cookie_of,
    launch,
    needs_browser,
    open_context,
    serve,
    wait,
)
from command import run

pytestmark = needs_browser

COUNT = 26  # sounds
LONG = "long.wav"
SOUND = "#label-now:not([hidden])"


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, save_model: Any, write_audio: Any, make_sound: Any
) -> Iterator[tuple[str, Path]]:
    """A server on 25 sounds of 2 s and one of 130 s, and its labels file."""
    root = tmp_path_factory.mktemp("labelling")
    for number in range(COUNT - 1):
        write_audio(
            root / "audio" / f"{'ab'[number % 2]}/{number}.wav", 0.3 * make_sound(2.0, seed=number)
        )
    write_audio(root / "audio" / LONG, 0.3 * make_sound(130.0, seed=40))
    run("extract", root / "audio", "--model", save_model(0), "--out", root / "emb")
    with serve(root / "emb") as url:
        yield url, root / "emb-labels.csv"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that starts once."""
    with launch() as browser:
        yield browser


@pytest.fixture
def page(address: tuple[str, Path], browser: Any) -> Iterator[Any]:
    """A new page on a collection without labels; no error in its scripts."""
    address[1].unlink(missing_ok=True)
    wrong: list[str] = []
    context = open_context(browser)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield enter(context, address[0])
    context.close()
    assert wrong == []


@pytest.fixture
def labels(address: tuple[str, Path]) -> Any:
    """Reads the labels file: label by clip."""

    def read() -> dict[str, str]:
        path = address[1]
        rows = path.read_text().splitlines() if path.exists() else [""]
        return dict(csv.reader(rows[1:]))

    return read


def answer(address: tuple[str, Path], path: str, value: Any = None) -> Any:
    """What the server answers, asked beside the page."""
    edition = ask(address[0], "api/collection")["edition"]
    return ask(address[0], f"api/{edition}/{path}", value)


def enter(context: Any, address: str) -> Any:
    """A page of a browser that has brought the token."""
    name, _, value = cookie_of(address).partition("=")
    context.add_cookies([{"name": name, "value": value, "url": address}])
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-view]")
    return page


def start(page: Any) -> None:
    """Open the view in which one labels."""
    page.click("#tab-label")
    page.wait_for_selector(SOUND)
    page.wait_for_selector("#label-next button")


def give(page: Any, *texts: str) -> list[str]:
    """Label one sound after another by writing, and tell which."""
    names = []
    for text in texts:
        names.append(page.inner_text("#label-name"))
        page.keyboard.press("Enter")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        page.locator("#label-done button", has_text=names[-1]).locator(f"text={text}").wait_for()
        moves_on(page, names[-1])
    return names


def moves_on(page: Any, name: str) -> None:
    """Wait until another sound than this one is shown."""
    wait(page, lambda: page.inner_text("#label-name") != name, "the sound stays")


def is_done(page: Any) -> None:
    """Wait until nothing waits to be saved or learned."""
    wait(page, lambda: page.inner_text("#label-busy") == "", "it is never done")


def focus(page: Any) -> str:
    """Where the next key goes."""
    found: str = page.evaluate("document.activeElement.id || document.activeElement.className")
    return found


def sounding(page: Any) -> Any:
    """The name of what sounds, if something does."""
    return page.evaluate(
        """async () => {
          const { now } = await import('./player.js');
          const { card, sounding } = now();
          return sounding ? card.name : null;
        }"""
    )


def hold(page: Any, pattern: str) -> list[Any]:
    """Requests of a kind, which wait until they are let go."""
    held: list[Any] = []

    def keep(route: Any) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def test_keys_wait_for_their_turn_and_none_is_lost(page: Any, labels: Any) -> None:
    start(page)
    first = give(page, "rain")
    page.evaluate(
        """async () => {
          for (let key = 0; key < 20; key++) {
            document.activeElement.dispatchEvent(
              new KeyboardEvent('keydown', { key: '1', bubbles: true, cancelable: true }));
            await new Promise((done) => setTimeout(done, 10));
          }
        }"""
    )
    wait(page, lambda: len(labels()) == 21, "keys were lost")
    is_done(page)  # a label is on the disk before the page says so
    assert set(labels().values()) == {"rain"}
    assert page.inner_text("#label-progress") == f"21 of {COUNT} sounds labelled"
    # Keys of several kinds keep their order.
    shown = page.inner_text("#label-name")
    for key in "1s1zzz":
        page.keyboard.press(key)
    is_done(page)
    assert page.inner_text("#label-name") == shown
    assert len(labels()) == 21
    assert first[0] in labels()


def test_a_key_that_is_held_down_is_one_key(page: Any, labels: Any) -> None:
    start(page)
    give(page, "rain")
    page.keyboard.down("1")
    for _ in range(5):
        page.keyboard.down("1")  # as a keyboard repeats it
    page.keyboard.up("1")
    is_done(page)
    assert len(labels()) == 2


def test_after_each_action_the_next_key_is_for_the_sound(page: Any, labels: Any) -> None:
    start(page)
    give(page, "rain", "wind", "rain")

    def space_plays(what: str) -> None:
        assert focus(page) == "label-now", what
        given = labels()
        playing = sounding(page)
        page.keyboard.press("Space")
        wait(page, lambda: sounding(page) != playing, f"Space does not play or pause after {what}")
        assert sounding(page) in (None, page.inner_text("#label-name"))
        page.keyboard.press("Space")
        is_done(page)
        assert labels() == given, what

    space_plays("writing")
    page.keyboard.press("1")
    wait(page, lambda: len(labels()) == 4, "the key gave no label")
    assert page.input_value("#label-text") == ""
    page.locator("#player-place").focus()  # by its slider one goes about the sound
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")
    wait(page, lambda: len(labels()) == 5, "the key gave no label")
    for control in (
        "#label-undo", "#label-skip", "#label-back", "#label-keys button", "#label-undo",
        "#label-play", "#label-next button", "#label-done button",
    ):  # fmt: skip
        page.locator(control).first.click()
        is_done(page)
        space_plays(control)
    # A click on the tab that is open, or beside everything, takes no key away.
    page.click("#tab-label")
    page.keyboard.press("Space")
    assert focus(page) == "label-now"
    given = labels()
    give(page, "snow", "snow")
    snowy = labels()
    page.click("#label-progress")
    page.keyboard.press("z")
    wait(page, lambda: labels() not in (given, snowy), "the key takes no label away")
    assert focus(page) == "label-now"
    # A button that the keyboard has chosen does its own thing with Space, once.
    page.locator("#label-undo").focus()
    page.keyboard.press("Space")
    wait(page, lambda: labels() == given, "the button does nothing")
    space_plays("a button by the keyboard")
    # What is being written is not taken away by a sound that comes late.
    page.route("**/labels", lambda route: (page.wait_for_timeout(300), route.continue_()))
    name = page.inner_text("#label-name")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.keyboard.type("ha1l")
    moves_on(page, name)
    assert (focus(page), page.input_value("#label-text")) == ("label-text", "ha1l")
    page.keyboard.press("Escape")
    assert (focus(page), page.input_value("#label-text")) == ("label-now", "ha1l")


def test_what_cannot_be_saved_is_not_labelled_and_nothing_goes_to_the_wrong_sound(
    page: Any, labels: Any
) -> None:
    start(page)
    given = give(page, "rain")
    shown = page.inner_text("#label-name")
    held = hold(page, "**/labels")
    page.keyboard.press("Enter")
    page.keyboard.type("wind")
    for key in ("Enter", "1", "1"):
        page.keyboard.press(key)
    wait(page, lambda: len(held) == 1, "nothing is saved")
    held[0].fulfill(status=422, json={"detail": "the disk is full; nothing was saved"})
    page.locator("#notice:not([hidden])", has_text="the disk is full").wait_for()
    is_done(page)
    assert labels() == {given[0]: "rain"}
    assert page.inner_text("#label-name") == shown
    assert page.input_value("#label-text") == "wind"


def test_a_label_keeps_its_number(page: Any, labels: Any) -> None:
    start(page)
    give(page, "zebra", "ant")
    keys = page.locator("#label-keys button")
    assert keys.all_inner_texts() == ["1 zebra", "2 ant"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # to the zebra, which is none
    page.keyboard.press("2")
    wait(page, lambda: list(labels().values()) == ["ant", "ant"], "the label is not corrected")
    assert keys.all_inner_texts() == ["1 zebra", "2 ant"]
    is_done(page)
    page.reload()
    page.wait_for_selector(SOUND)
    assert keys.all_inner_texts() == ["1 zebra", "2 ant"]
    page.keyboard.press("ArrowRight")  # past what has a label
    give(page, "bee")
    assert keys.all_inner_texts() == ["1 zebra", "2 ant", "3 bee"]
    page.keyboard.press("z")  # a slip of the pen leaves no key behind
    wait(page, lambda: keys.count() == 2, "the key stays")


def test_labels_are_corrected_and_undone_over_a_reload(page: Any, labels: Any) -> None:
    start(page)
    one, two, three = give(page, "rain", "wind", "hail")
    page.keyboard.press("ArrowLeft")
    page.locator("#label-given", has_text="hail").wait_for()
    assert page.inner_text("#label-name") == three
    page.locator("#label-done button", has_text=one).click()
    page.locator("#label-given", has_text="rain").wait_for()
    page.keyboard.press("2")
    wait(page, lambda: labels()[one] == "wind", "the label is not corrected")
    page.fill("#label-find", f"{two}")
    page.locator("#label-done button").click()
    wait(page, lambda: page.inner_text("#label-name") == two, "the sound is not shown")
    page.keyboard.press("Delete")
    wait(page, lambda: two not in labels(), "the label stays")
    assert page.inner_text("#label-name") == two
    is_done(page)
    page.reload()
    page.wait_for_selector(SOUND)
    for expected in (
        {one: "wind", two: "wind", three: "hail"}, {one: "rain", two: "wind", three: "hail"},
        {one: "rain", two: "wind"}, {one: "rain"}, {},
    ):  # fmt: skip
        page.keyboard.press("z")
        wait(page, lambda expected=expected: labels() == expected, f"not undone: {expected}")
    page.keyboard.press("z")
    is_done(page)
    assert (labels(), page.inner_text("#label-name")) == ({}, one)


def test_undo_leaves_what_another_program_said(
    page: Any, labels: Any, address: tuple[str, Path]
) -> None:
    start(page)
    name, _ = give(page, "rain", "wind")
    address[1].write_text(f"path,label\n{name},sleet\n")
    page.keyboard.press("1")  # brings the page what the file says by now
    wait(page, lambda: len(labels()) == 2, "the key gave no label")
    for _ in range(3):
        page.keyboard.press("z")
    page.locator("#notice", has_text="another label elsewhere").wait_for()
    is_done(page)
    assert labels() == {name: "sleet"}


def test_what_was_skipped_comes_back_last_and_the_end_is_the_end(page: Any, labels: Any) -> None:
    start(page)
    seen = []
    for _ in range(COUNT + 3):
        name = page.inner_text("#label-name")
        seen.append(name)
        page.keyboard.press("s")
        moves_on(page, name)
    assert len(set(seen[:COUNT])) == COUNT  # each once, before one comes twice
    assert not page.locator("#label-end").is_visible()
    give(page, "rain")
    for _ in range(COUNT - 1):
        page.keyboard.press("1")
    page.locator("#label-end", has_text="every sound has a label").wait_for()
    assert len(labels()) == COUNT
    assert not page.locator(SOUND).is_visible()
    wait(page, lambda: sounding(page) is None, "it still plays")
    page.keyboard.press("z")
    page.wait_for_selector(SOUND)
    assert not page.locator("#label-end").is_visible()
    assert len(labels()) == COUNT - 1


def test_the_whole_sound_is_shown_and_played(page: Any) -> None:
    start(page)

    def shows(end_s: int) -> None:
        span = f"start_s=0&end_s={end_s}"
        page.locator(f"#label-picture img[src*='{span}']").wait_for()
        page.keyboard.press("Space")
        page.locator(f"#player[src*='{span}']").wait_for(state="attached")

    if page.inner_text("#label-name") == LONG:
        page.keyboard.press("s")
        moves_on(page, LONG)
    shows(2)
    assert page.inner_text("#label-facts") == "2.00 s"
    page.fill("#label-find", LONG)
    page.locator("#label-done button").click()
    shows(120)
    assert page.inner_text("#label-facts") == "the first 120.00 s of 130.00 s"


def find(page: Any, name: str) -> None:
    """Choose a sound on the map."""
    page.click("#tab-map")
    page.fill("#map-find", name)
    page.press("#map-find", "Enter")
    page.locator("#map-chosen .card", has_text=name).first.wait_for()


def listen(page: Any, name: str) -> None:
    """Open a sound, and do not wait for it."""
    find(page, name)
    page.locator("#map-chosen .card .name").first.click()


def test_nothing_of_another_sound_stands_under_a_title(page: Any) -> None:
    picture = page.locator("#listen-picture img")
    listen(page, "a/4.wav")
    page.wait_for_selector("#listen-near .card")
    wait(page, lambda: picture.evaluate("(image) => image.naturalWidth > 0"), "no picture")
    old = picture.get_attribute("src")
    clips, pictures = hold(page, "**/clip/*"), hold(page, "**/spectrogram/*end_s=2")
    listen(page, "b/5.wav")
    wait(page, lambda: len(clips) == 1, "nothing is asked")
    assert page.inner_text("#listen-title") == "b/5.wav"
    assert page.inner_text("#listen-loading") == "Loading …"
    for place in ("clip", "picture img", "segments button", "near .card", "wave *"):
        assert not page.locator(f"#listen-{place}").first.is_visible(), place
    # One that was asked for before and answers late is not shown.
    listen(page, "b/7.wav")
    wait(page, lambda: len(clips) == 2, "nothing is asked")
    clips[1].continue_()
    page.wait_for_selector("#listen-segments button")
    clips[0].continue_()
    page.wait_for_timeout(300)
    assert page.inner_text("#listen-title") == "b/7.wav"
    # Nor is the picture before, while the one of this sound is on its way.
    assert picture.get_attribute("src") != old
    assert picture.evaluate("(image) => image.naturalWidth") == 0
    pictures[-1].continue_()
    wait(page, lambda: picture.evaluate("(image) => image.naturalWidth > 0"), "no picture")
    # What cannot be read says so, under its own name.
    page.unroute("**/clip/*")
    page.route("**/clip/*", lambda route: route.fulfill(status=422, json={"detail": "damaged"}))
    listen(page, "a/6.wav")
    page.locator("#listen-loading", has_text="could not be read").wait_for()
    assert page.inner_text("#listen-title") == "a/6.wav"
    assert page.inner_text("#notice") == "damaged"
    assert not page.locator("#listen-clip").is_visible()


def lines(page: Any) -> list[Any]:
    """The lines of the chart: of each the height of each segment."""
    drawn = page.locator("#listen-scores polyline").all()
    heights = []
    for line in drawn:
        points = line.get_attribute("points").split(" ")
        heights.append([1 - float(point.split(",")[1]) / 100 for point in points[::2]])
    return heights


def test_scores_show_as_soon_as_there_are_labels(page: Any, address: tuple[str, Path]) -> None:
    names = answer(address, "clips")["names"]
    clip = names.index("a/4.wav")

    def expected() -> list[list[float]]:
        facts = answer(address, f"clip/{clip}")
        scores = np.array(facts["scores"])
        tops = {int(row.argmax()) for row in scores}
        return sorted(scores[:, top].tolist() for top in tops)

    listen(page, "a/4.wav")
    page.locator("#listen-unscored").wait_for()
    assert not page.locator("#listen-scores").is_visible()
    for other, label in ((0, "rain"), (3, "wind")):
        answer(address, "labels", {"clip": other, "label": label})
    listen(page, "a/4.wav")  # without the view in which one labels
    page.locator("#listen-scores").wait_for()
    assert page.locator("#listen-scores").bounding_box()["height"] > 50
    np.testing.assert_allclose(sorted(lines(page)), expected(), atol=1e-3)
    assert page.locator("#listen-legend li").count() == len(lines(page))
    # Of the labels as they stand, when one comes back.
    before = lines(page)
    page.click("#listen-label")
    wait(page, lambda: page.inner_text("#label-name") == "a/4.wav", "it is not there to label")
    give(page, "hail")
    page.click("#tab-listen")
    page.locator("#listen-given", has_text="hail").wait_for()
    wait(page, lambda: lines(page) != before, "the scores are of the labels before")
    np.testing.assert_allclose(sorted(lines(page)), expected(), atol=1e-3)


def test_keys_of_the_sound_that_is_open(page: Any) -> None:
    listen(page, LONG)
    page.wait_for_selector("#listen-near .card")
    assert focus(page) == "listen-play"
    page.keyboard.press("Space")
    wait(page, lambda: sounding(page) == LONG, "Space does not play")
    page.locator("#player[src*='end_s=120']").wait_for(state="attached")
    page.keyboard.press("Space")
    wait(page, lambda: sounding(page) is None, "Space does not pause")
    # The seconds are one stop of the Tab key; arrows go along them.
    assert page.locator("#listen-segments [tabindex='0']").count() == 1
    page.locator("#listen-segments button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "2"
    page.locator("#player[src*='start_s=2&end_s=3']").wait_for(state="attached")
    page.keyboard.press("Enter")
    page.locator("#listen-near-title", has_text="Nearest to 2.00 s").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "2"
    # At the end of the recording, where its button goes, the keys stay in the view.
    page.click("#listen-later")
    page.locator("#listen-time", has_text="120.00 s to 130.00 s").wait_for()
    wait(page, lambda: focus(page) == "listen-play", "the keys are lost")
    page.wait_for_selector("#listen-near .card")
    page.locator("#listen-near .card .name").first.focus()
    page.keyboard.press("Enter")
    wait(page, lambda: page.inner_text("#listen-title") != LONG, "it does not open")
    wait(page, lambda: focus(page) == "listen-play", "the keys are lost")
    # A click in the picture plays from there.
    box = page.locator("#listen-picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    at = page.locator("#player")
    wait(page, lambda: at.evaluate("(player) => player.currentTime > 0.95"), "not from there")


def test_a_sound_is_found_on_the_map_and_the_arrows_go_on_from_it(page: Any) -> None:
    find(page, "a/4.wav")
    row = page.locator("#map-chosen .card").get_attribute("data-row")
    assert page.evaluate("document.activeElement.parentElement.closest('#map-place') !== null")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator("#map-chosen .card").get_attribute("data-row") != row
    page.fill("#map-find", "B/1")
    page.press("#map-find", "Enter")
    page.locator("#map-chosen-title", has_text="6 sounds").wait_for()
    assert {name[:3] for name in page.locator("#map-chosen .name").all_inner_texts()} == {"b/1"}
    page.fill("#map-find", "zebra")
    page.press("#map-find", "Enter")
    page.locator("#notice", has_text="No sound has zebra in its name").wait_for()
    page.click("#map-home")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#map-chosen .card").count() == 1


def test_without_webgl_the_map_is_drawn_all_the_same(
    address: tuple[str, Path], browser: Any
) -> None:
    arguments = ["--no-sandbox", "--disable-3d-apis"]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=arguments)
    with closing(other):
        page = enter(open_context(other), address[0])
        page.wait_for_selector("#map-legend li")
        box = page.locator("#map-place").bounding_box()
        points = page.evaluate("async () => Array.from((await import('./state.js')).state.points)")
        points = np.array(points).reshape(-1, 2)

        def project(row: int) -> tuple[float, float]:
            x, y = page.evaluate(
                "(at) => document.getElementById('map-place').plot.project(at)",
                points[row].tolist(),
            )
            return x, y

        def colour(row: int) -> list[int]:
            found: list[int] = page.evaluate(
                """([x, y]) => Array.from(document.querySelector('#map-place .plot')
                  .getContext('2d').getImageData(x, y, 1, 1).data)""",
                [round(each) for each in project(row)],
            )
            return found

        def click(row: int) -> None:
            x, y = project(row)
            page.mouse.click(box["x"] + x + 1, box["y"] + y + 1)  # within its border of a pixel
            page.locator(f"#map-chosen .card[data-row='{row}']").wait_for()

        far = [int(row) for row in (points[:, 0].argmin(), points[:, 0].argmax())]
        legend = page.locator("#map-legend path").evaluate_all(
            "(dots) => dots.map((dot) => dot.getAttribute('fill'))"
        )
        for row in far:
            assert f"rgb({', '.join(map(str, colour(row)[:3]))})".replace(" ", "") in legend
            click(row)
        # It goes along with the pointer, and nearer with the wheel and the keys.
        x, y = project(far[0])
        page.mouse.move(box["x"] + 300, box["y"] + 300)
        page.mouse.down()
        page.mouse.move(box["x"] + 350, box["y"] + 320, steps=3)
        page.mouse.up()
        assert project(far[0]) == pytest.approx((x + 50, y + 20), abs=0.1)
        page.mouse.move(box["x"] + x + 50, box["y"] + y + 20)
        page.mouse.wheel(0, -300)
        wait(page, lambda: abs(project(far[1])[0] - x) > box["width"], "the wheel does nothing")
        assert project(far[0]) == pytest.approx((x + 50, y + 20), abs=2)
        page.click("#map-home")
        assert project(far[0]) == pytest.approx((x, y), abs=0.1)
        page.keyboard.press("+")
        assert project(far[0]) != pytest.approx((x, y), abs=1)
        page.click("#map-home")
        click(far[0])
        page.keyboard.press("ArrowRight")
        page.locator(f"#map-chosen .card:not([data-row='{far[0]}'])").wait_for()
