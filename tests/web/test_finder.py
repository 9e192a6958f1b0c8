"""What a person who looks for sounds does in the explorer. Needs Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browse, needs_browser, serve, wait
from command import run

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, save_model: Any, write_audio: Any, make_sound: Any
) -> Iterator[tuple[str, Path]]:
    """A server on 12 sounds of 1 to 3 s, and one of 130 s; and its folder."""
    root = tmp_path_factory.mktemp("finder")
    for number in range(12):
        sound = 0.3 * make_sound(1.0 + number % 3, seed=number)
        write_audio(root / "audio" / f"{'ab'[number % 2]}/{number}.wav", sound)
    write_audio(root / "audio" / "long.wav", 0.3 * make_sound(130.0, seed=20))
    run("extract", root / "audio", "--model", save_model(0), "--out", root / "emb")
    with serve(root / "emb") as url:
        yield url, root


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """A page of a browser that starts once."""
    with browse() as page:
        yield page


@pytest.fixture
def page(address: tuple[str, Path], tab: Any) -> Iterator[Any]:
    """The page, loaded anew; no error on its console, no request to elsewhere."""
    wrong: list[str] = []

    def note(line: Any) -> None:
        if line.type == "error":
            wrong.append(line.text)

    def fail(error: Any) -> None:
        wrong.append(str(error))

    def see(asked: Any) -> None:
        if not asked.url.startswith((address[0], "blob:", "data:", "about:")):
            wrong.append(asked.url)

    tab.goto("about:blank")
    watched = {"console": note, "pageerror": fail, "request": see}
    for event, handler in watched.items():
        tab.on(event, handler)
    tab.goto(address[0])
    tab.wait_for_selector("body[data-view]")
    yield tab
    for event, handler in watched.items():
        tab.remove_listener(event, handler)
    assert wrong == []


def player(page: Any) -> Any:
    """What plays: its clip, where it is in it, and whether it sounds."""
    return page.evaluate(
        """async () => {
          const { now } = await import('./player.js');
          const { card, at_s, sounding } = now();
          return { name: card?.name, at_s, sounding };
        }"""
    )


def listen(page: Any, *cards: tuple[str, float]) -> None:
    """Play a list of cards, by names and times, from its first."""
    page.evaluate(
        """async (cards) => {
          const [{ play }, { cardNamed }] =
            await Promise.all([import('./player.js'), import('./state.js')]);
          play(cards.map(([name, start_s]) => cardNamed(name, start_s)));
        }""",
        list(cards),
    )
    wait(page, lambda: player(page)["sounding"], "nothing sounds")


def test_the_player_plays_the_second_or_the_whole_and_goes_along_a_list(page: Any) -> None:
    assert page.locator("#player-toggle").is_disabled()
    listen(page, ("b/5.wav", 1.0), ("a/4.wav", 0.0), ("a/8.wav", 2.0))
    assert page.inner_text("#player-name") == "b/5.wav"
    assert page.locator("#player-previous").is_disabled()
    # The second: from 1 s to 2 s, and then silence.
    wait(page, lambda: not player(page)["sounding"], "the second does not end")
    assert player(page)["at_s"] == pytest.approx(2.0, abs=0.01)
    assert page.locator("#player-toggle").get_attribute("aria-label") == "Play"
    # Keys go along the list, and nowhere from its end.
    page.keyboard.press("j")
    assert player(page)["name"] == "a/4.wav"
    page.keyboard.press("k")
    assert player(page)["name"] == "b/5.wav"
    page.keyboard.press("k")
    assert player(page)["name"] == "b/5.wav"
    page.click("#player-next")
    page.click("#player-next")
    assert player(page)["name"] == "a/8.wav"
    assert page.locator("#player-next").is_disabled()
    # The whole sound, from its beginning; the place in it can be chosen.
    page.keyboard.press("Escape")
    assert not player(page)["sounding"]
    page.click("#player-whole")
    assert page.inner_text("#player-end") == "3.0 s"
    page.locator("#player-place").evaluate(
        "(place) => { place.value = 1.5; place.dispatchEvent(new Event('input')); }"
    )
    assert player(page)["at_s"] == pytest.approx(1.5, abs=0.01)
    assert page.locator("#player-place").get_attribute("aria-valuetext") == "1.5 s of 3.0 s"
    page.locator("#player-name").click()
    page.keyboard.press("Space")
    wait(page, lambda: player(page)["sounding"], "Space does not play")
    page.keyboard.press("Space")
    assert not player(page)["sounding"]
    assert 1.4 < player(page)["at_s"] < 3.0
    page.click("#player-stop")
    assert player(page) == {"name": "a/8.wav", "at_s": 0.0, "sounding": False}
    page.click("#player-second")
    assert (page.inner_text("#player-at"), page.inner_text("#player-end")) == ("2.0 s", "3.0 s")


def test_a_long_recording_plays_on_from_stretch_to_stretch(page: Any) -> None:
    listen(page, ("long.wav", 117.0))
    page.click("#player-whole")
    assert player(page)["at_s"] == pytest.approx(117.0, abs=1.0)
    page.locator("#player-place").evaluate(
        "(place) => { place.value = 119.8; place.dispatchEvent(new Event('input')); }"
    )
    wait(page, lambda: player(page)["at_s"] > 120.2, "it ends with the first two minutes")
    assert player(page)["sounding"]
    assert page.inner_text("#player-end") == "2:10.0"


def test_nothing_ever_sounds_twice(page: Any, address: tuple[str, Path]) -> None:
    listen(page, ("long.wav", 0.0))
    page.click("#player-whole")
    other = page.context.new_page()
    other.goto(address[0])
    other.wait_for_selector("body[data-view]")
    listen(other, ("a/2.wav", 0.0))
    wait(page, lambda: not player(page)["sounding"], "two pages sound")
    other.close()
    page.click("#player-toggle")
    # Whatever a view plays, it is the one player that plays it.
    assert page.locator("audio, video").count() == 1
