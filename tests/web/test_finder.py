"""What a person who looks for sounds does in the explorer. Needs Chromium."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import ask as ask_server
from browser import browse, needs_browser, serve, wait
from command import run
from made import draw, namer, write_table_of

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.names.vocabulary import Vocabulary
from embedkit.search.words import find_heard
from embedkit.store import EmbeddingTable

pytestmark = needs_browser

MARKUP = "<img src=x onerror=alert(1)>.wav"
VIEWS = ("map", "search", "listen", "shortlist", "label", "collection")
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, save_model: Any, write_audio: Any, make_sound: Any
) -> Iterator[tuple[str, Path]]:
    """A server on 42 sounds of 1 to 3 s by a model that brings two names, and its folder.

    One of them is of 130 s, and one has markup for a name.
    """
    root, model = tmp_path_factory.mktemp("finder"), save_model(0)
    names = namer("Dog", "Rain", size=64, fingerprint=weights_fingerprint(model))
    names.save(model / "names" / "64")
    for number in range(40):
        sound = 0.3 * make_sound(1.0 + number % 3, seed=number)
        write_audio(root / "audio" / f"{'ab'[number % 2]}/{number}.wav", sound)
    write_audio(root / "audio" / MARKUP, 0.3 * make_sound(2.0, seed=40))
    write_audio(root / "audio" / "long.wav", 0.3 * make_sound(130.0, seed=41))
    run("extract", root / "audio", "--model", model, "--out", root / "emb")
    with serve(root / "emb") as url:
        yield url, root


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """A page of a browser that starts once."""
    with browse() as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield page


@pytest.fixture
def page(address: tuple[str, Path], tab: Any) -> Iterator[Any]:
    """The page, open on Search; no error on its console, no request to elsewhere."""
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
    tab.goto(address[0] + "#search")
    tab.wait_for_selector("body[data-view=search]")
    wait_for_rows(tab)
    yield tab
    for event, handler in watched.items():
        tab.remove_listener(event, handler)
    tab.evaluate("localStorage.clear()")
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size({"width": 1280, "height": 800})
    assert wrong == []


@pytest.fixture
def ask(address: tuple[str, Path]) -> Ask:
    """What the server answers to a program, by the edition."""
    edition = ask_server(address[0], "api/collection")["edition"]
    return lambda path, value=None: ask_server(address[0], f"api/{edition}/{path}", value)


def wait_for_rows(page: Any) -> None:
    page.wait_for_selector("#search-results:not([aria-busy])", state="attached")
    page.locator("#search-said", has_text="…").wait_for(state="detached")


def names(page: Any, place: str = "#search-results") -> list[str]:
    found: list[str] = page.locator(f"{place} .name").all_inner_texts()
    return found


def seek(page: Any, text: str, where: str = "words") -> None:
    """Search by a text, in the sound or in the name."""
    page.locator(f"label:has(#search-by-{where})").click()
    page.fill("#search-words", text)
    page.press("#search-words", "Enter")
    wait_for_rows(page)


def focused(page: Any) -> str:
    found: str = page.evaluate("document.activeElement.id || document.activeElement.innerText")
    return found


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
    # Whatever a view plays, the one player plays it.
    assert page.locator("audio, video").count() == 1


def test_results_are_rows_of_sounds_by_pages_sorted_and_filtered(page: Any, ask: Ask) -> None:
    # Nothing is asked for: all there is, by name.
    everything = ask("named", {"text": "", "top": 200})
    assert everything["total"] == 42
    expected = [sound["name"] for sound in everything["found"]]
    assert names(page) == expected[:30]
    assert page.inner_text("#search-said") == "42 sounds, by name"
    # Each row has its best seconds, and each plays.
    chips = page.locator("#search-results .sound").nth(4).locator(".second")
    sound = everything["found"][4]
    assert chips.all_inner_texts() == [f"{second['start_s']:.1f}" for second in sound["seconds"]]
    chips.last.click()
    wait(page, lambda: player(page)["name"] == sound["name"], "the second does not play")
    assert player(page)["at_s"] >= sound["seconds"][-1]["start_s"]
    # More; a reload shows as many.
    page.click("#search-more")
    wait(page, lambda: len(names(page)) == 42, "no more are shown")
    assert focused(page) == expected[30]
    assert page.locator("#search-more").is_hidden()
    page.reload()
    wait(page, lambda: names(page) == expected, "the reload forgets how many were shown")
    # Sorted and filtered.
    page.select_option("#search-sort", "longest")
    wait(page, lambda: names(page)[0] == "long.wav", "not sorted")
    page.fill("#search-folder", "a")
    page.press("#search-folder", "Tab")
    page.fill("#search-shortest", "1.5")
    page.fill("#search-longest", "2.5")
    page.press("#search-longest", "Tab")
    query = {"text": "", "sort": "longest", "folder": "a", "shortest_s": 1.5, "longest_s": 2.5}
    expected = [found["name"] for found in ask("named", query)["found"]]
    assert len(expected) == 6
    wait(page, lambda: names(page) == expected, "not filtered")
    assert page.inner_text("#search-said") == "6 sounds, longest first"
    page.fill("#search-words", "not asked for yet")
    page.fill("#search-folder", "c")
    page.press("#search-folder", "Tab")
    wait(page, lambda: page.inner_text("#search-said") == "No sound fits.", "nothing is said")
    assert page.input_value("#search-words") == "not asked for yet"


def test_one_field_finds_by_words_and_by_name(page: Any, address: tuple[str, Path]) -> None:
    seek(page, "puppies")
    assert page.inner_text("#search-said") == "42 sounds, by how surely Dog is heard"
    table = EmbeddingTable.open(address[1] / "emb")
    [heard] = find_heard(table, namer("Dog", size=64, fingerprint=table.provenance.fingerprint),
                         [Vocabulary(["Dog"]).find("dog")], 30)  # fmt: skip
    assert names(page) == [hit.clip for hit in heard]
    first = page.locator("#search-results .sound").first
    assert first.locator(".near").inner_text() == f"{heard[0].score:.2f}"
    assert first.locator(".facts").inner_text().endswith(" · Dog")
    assert page.title() == "puppies · Search · emb · embedkit"
    # The same field, in the names; every word of it.
    seek(page, "WAV b/3", "named")
    expected = ["b/3.wav", "b/31.wav", "b/33.wav", "b/35.wav", "b/37.wav", "b/39.wav"]
    assert names(page) == expected
    assert page.title() == "“WAV b/3” in the name · Search · emb · embedkit"
    seek(page, MARKUP, "named")
    assert names(page) == [MARKUP]


def test_words_without_a_name_lead_to_the_names_of_files(
    tab: Any, address: tuple[str, Path]
) -> None:
    tab.goto(address[0] + "#search")  # not watched: the console names the refusal
    tab.wait_for_selector("#search-results .sound")
    seek(tab, "long")
    tab.locator("#notice", has_text="no name for 'long'; there are: Dog; Rain").wait_for()
    assert names(tab) == []
    tab.click("#search-said a")
    wait(tab, lambda: names(tab) == ["long.wav"], "the names are not looked at")
    assert tab.locator("#notice").is_hidden()
    assert tab.locator("#search-by-named").is_checked()


def test_arrow_keys_and_the_pointer_audition_and_enter_opens(page: Any) -> None:
    listed = names(page)
    page.locator("#search-results .name").first.focus()
    page.keyboard.press("ArrowDown")
    wait(page, lambda: player(page)["sounding"], "the next row does not play")
    assert player(page)["name"] == focused(page) == listed[1]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert player(page)["name"] == focused(page) == listed[0]
    # A sound that ends takes nobody away from another row.
    page.locator("#search-results .name").nth(3).focus()
    wait(page, lambda: not player(page)["sounding"], "it does not end")
    assert focused(page) == listed[3]
    page.keyboard.press("End")
    assert focused(page) == listed[29]
    page.keyboard.press("ArrowDown")  # shows more
    wait(page, lambda: [focused(page)] == names(page)[30:31], "no more are shown")
    # Along the seconds of one.
    seek(page, "long", "named")
    page.locator("#search-results .name").first.focus()
    page.keyboard.press("ArrowRight")
    wait(page, lambda: player(page)["name"] == "long.wav", "another second does not play")
    assert page.locator(".second[aria-pressed=true]").inner_text() == "1.0"
    # One row's controls are in the order of Tab.
    assert page.locator("#search-results [tabindex='0']").count() == page.locator(
        "#search-results .sound.current :is(a, button)"
    ).count()  # fmt: skip
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-view=listen]")
    assert page.inner_text("#listen-title") == "long.wav"
    assert page.title() == "long.wav · Listen · emb · embedkit"
    # Back at the row that one left.
    page.go_back()
    page.wait_for_selector("body[data-view=search]")
    wait(page, lambda: focused(page) == "long.wav", "the focus is lost")
    # The pointer on a picture plays, and away from it is silence, if that is wanted.
    seek(page, "a/2", "named")
    page.keyboard.press("Escape")
    page.locator("#search-results .shot").nth(1).hover()
    wait(page, lambda: player(page)["name"] == names(page)[1], "the pointer does not play")
    page.mouse.move(5, 5)
    wait(page, lambda: not player(page)["sounding"], "it sounds on")
    page.uncheck("#search-hover")
    page.locator("#search-results .shot").nth(2).hover()
    page.wait_for_timeout(500)
    assert player(page)["name"] == names(page)[1]


def test_a_sound_finds_its_closest_and_the_search_is_refined(page: Any, ask: Ask) -> None:
    seek(page, "a/4.wav", "named")
    row = ask("named", {"text": "a/4.wav"})["found"][0]["seconds"][0]["row"]
    page.click("#search-results [aria-label='Closest sounds to a/4.wav']")
    page.locator("#search-query .chip", has_text="like a/4.wav").wait_for()
    wait_for_rows(page)
    found = ask("search", {"like": [row]})
    assert names(page) == [sound["name"] for sound in found["found"]]
    assert page.inner_text("#search-said") == f"{found['total']} sounds, closest first"
    near = page.locator("#search-results .near").first.inner_text()
    assert near == f"{found['found'][0]['similarity']:.2f}"
    unlike = names(page)[1]
    page.click(f"#search-results [aria-label='More about {unlike}']")
    page.locator("#menu [role=menuitem]", has_text="Less like this").click()
    page.locator("#search-query .chip", has_text=f"unlike {unlike}").wait_for()
    wait_for_rows(page)
    query = {"like": [row], "unlike": [found["found"][1]["seconds"][0]["row"]]}
    assert names(page) == [sound["name"] for sound in ask("search", query)["found"]]
    page.locator("#search-query .chip", has_text="unlike").click()
    wait(page, lambda: page.locator("#search-query .chip").count() == 1, "the chip stays")
    assert focused(page) == "like a/4.wav"
    wait_for_rows(page)
    assert names(page) == [sound["name"] for sound in found["found"]]
    page.locator("#search-query .chip").click()
    wait(page, lambda: focused(page) == "search-words", "the focus is lost")


def test_the_address_holds_the_search(page: Any, address: tuple[str, Path]) -> None:
    all_of_them = names(page)
    seek(page, "rain")
    by_words = names(page)
    page.select_option("#search-sort", "shortest")
    wait_for_rows(page)
    wait(page, lambda: names(page) != by_words, "not sorted")
    shortest = names(page)
    page.locator("#search-results .actions a").nth(2).click()
    page.locator("#search-query .chip", has_text="like").wait_for()
    wait_for_rows(page)
    closest, link = names(page), page.url
    assert re.fullmatch(r".*#/search\?like=.+@[\d.]+", link)
    for expected, text in ((shortest, "rain"), (by_words, "rain"), (all_of_them, "")):
        page.go_back()
        wait(page, lambda expected=expected: names(page) == expected, "back does not lead back")
        assert page.input_value("#search-words") == text
    page.go_forward()
    wait(page, lambda: names(page) == by_words, "forward does not lead forward")
    page.reload()
    wait(page, lambda: names(page) == by_words, "a reload forgets")
    # To somebody else; and what is not there is named.
    other = page.context.new_page()
    other.goto(link)
    wait(other, lambda: names(other) == closest, "a link leads elsewhere")
    other.goto(f"{address[0]}#search?like=gone/away.wav@3")
    other.locator("#notice", has_text="gone/away.wav is not in this collection.").wait_for()
    other.goto(f"{address[0]}#listen?sound=long.wav@125")
    other.wait_for_selector("#listen-title:has-text('long.wav')")
    other.close()
    # A view that is left and come back to is as it was.
    page.click("#tab-map")
    page.wait_for_selector("body[data-view=map]")
    page.click("#tab-search")
    page.wait_for_selector("body[data-view=search]")
    assert names(page) == by_words
    assert page.input_value("#search-words") == "rain"


def test_a_dropped_file_and_the_microphone_search(page: Any, address: tuple[str, Path]) -> None:
    page.click("#tab-map")
    page.set_input_files("#search-file", address[1] / "audio" / "b" / "7.wav")
    page.locator("#search-query .chip", has_text="like 7.wav").wait_for()
    wait_for_rows(page)
    closest = names(page)
    assert "b/7.wav" in closest[:4]
    page.reload()
    wait(page, lambda: names(page) == closest, "a reload forgets the sound")
    page.click("#search-record")  # Chromium's own device: a beep each second
    page.locator("#search-record", has_text="Stop recording").wait_for()
    page.wait_for_timeout(1200)
    page.click("#search-record")
    page.locator("#search-query .chip", has_text="like recording").wait_for()
    wait_for_rows(page)
    assert len(names(page)) == 30
    assert page.inner_text("#search-record") == "Record"


def test_plain_words_and_the_rest_under_advanced(page: Any) -> None:
    assert not page.locator("#search-size").is_visible()
    page.click("#search .filters summary")
    assert page.locator("#search-size").is_disabled()  # of a model of 64 numbers
    assert page.inner_text("#search-size-text") == "64 of 64 numbers"
    page.click("#search .filters summary")
    for view in VIEWS:
        page.click(f"#tab-{view}")
        page.wait_for_selector(f"body[data-view={view}]")
        shown = page.inner_text(f"#{view}")
        assert not re.search(r"segments|embedding|vector|numbers", shown.lower()), view


def test_a_search_by_fewer_numbers_marks_what_it_changes(tab: Any, tmp_path: Path) -> None:
    clips = {f"{number:02}.wav": draw(2, 128, seed=number) for number in range(40)}
    write_table_of(tmp_path / "emb", clips, root=tmp_path)  # without sound: not watched
    with serve(tmp_path / "emb") as url:
        edition = ask_server(url, "api/collection")["edition"]
        found = [
            [sound["name"] for sound in ask_server(url, f"api/{edition}/search", query)["found"]]
            for query in ({"like": [0]}, {"like": [0], "size": 64})
        ]
        tab.goto(f"{url}#search?like=00.wav@0")
        wait(tab, lambda: names(tab) == found[0], "it finds others")
        assert tab.locator(".sound.new").count() == 0
        tab.click("#search .filters summary")
        tab.locator("#search-size").press("ArrowLeft")
        wait(tab, lambda: names(tab) == found[1], "it does not compare by fewer numbers")
        assert tab.inner_text("#search-size-text") == "64 of 128 numbers"
        fresh = [name for name in found[1] if name not in found[0]]
        assert names(tab, ".sound.new") == fresh != []
        said = f"40 sounds, closest first; {len(fresh)} of the first 30 are new"
        assert tab.inner_text("#search-said") == said


def menu(page: Any, name: str, item: str) -> Any:
    """An item of a row's menu, which is open then."""
    page.click(f"[aria-label='More about {name}']")
    return page.locator("#menu [role=menuitem]", has_text=item)


def test_a_sound_is_taken_away(page: Any, address: tuple[str, Path]) -> None:
    path = address[1] / "audio" / "b" / "5.wav"
    seek(page, "b/5.wav", "named")
    menu(page, "b/5.wav", "Copy path").click()
    page.locator("#mentioned", has_text="Copied").wait_for()
    assert Path(page.evaluate("navigator.clipboard.readText()")).samefile(path)
    with page.expect_download() as waiting:
        menu(page, "b/5.wav", re.compile("^Download$")).click()
    assert waiting.value.suggested_filename == "5.wav"
    assert waiting.value.path().read_bytes() == path.read_bytes()
    page.locator("#search-results .second").nth(1).click()
    with page.expect_download() as waiting:
        menu(page, "b/5.wav", "Download 1 to 2 s").click()
    assert waiting.value.suggested_filename == "5_1.0-2.0s.wav"
    cut, rate = soundfile.read(waiting.value.path(), dtype="float32")
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(cut, whole[rate : 2 * rate], atol=1e-4)
    # The menu goes by keys, and gives the focus back.
    page.locator("#search-results [aria-label='More about b/5.wav']").focus()
    page.keyboard.press("Enter")
    wait(page, lambda: focused(page) == "Open", "the menu has no focus")
    page.keyboard.press("ArrowUp")
    assert focused(page).startswith("Download 1")
    page.keyboard.press("Escape")
    more = "document.activeElement.getAttribute('aria-label')"
    wait(page, lambda: page.evaluate(more) == "More about b/5.wav", "the focus is lost")


def test_the_folder_is_shown_where_it_can_be(page: Any) -> None:
    asked = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(json={})

    page.evaluate("import('./state.js').then(({ state }) => { state.facts.can_reveal = true; })")
    page.route("**/reveal/*", answer)
    seek(page, "long", "named")
    menu(page, "long.wav", "Show in folder").click()
    wait(page, lambda: len(asked) == 1, "nobody is asked to show it")
    page.unroute("**/reveal/*")


def dragged(page: Any, place: str) -> dict[str, str]:
    """What leaves the page when an element is dragged."""
    found: dict[str, str] = page.locator(place).first.evaluate(
        """async (element) => {
          element.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
          await new Promise((done) => setTimeout(done, 300));
          const dataTransfer = new DataTransfer();
          element.dispatchEvent(new DragEvent('dragstart', { dataTransfer, bubbles: true }));
          return Object.fromEntries(
            [...dataTransfer.types].map((type) => [type, dataTransfer.getData(type)]));
        }"""
    )
    return found


def test_a_sound_is_dragged_out(page: Any, address: tuple[str, Path]) -> None:
    seek(page, "b/5.wav", "named")
    found = dragged(page, "#search-results .shot")
    kind, name, source = found["downloadurl"].split(":", 2)
    assert (kind, name) == ("application/octet-stream", "5.wav")
    path = address[1] / "audio" / "b" / "5.wav"
    content = "async (url) => Array.from(new Uint8Array(await (await fetch(url)).arrayBuffer()))"
    assert bytes(page.evaluate(content, source)) == path.read_bytes()
    assert found["text/uri-list"] == source
    page.evaluate("import('./state.js').then(({ state }) => { state.facts.can_reveal = true; })")
    assert dragged(page, "#search-results .name")["text/uri-list"] == path.resolve().as_uri()
    _, name, source = dragged(page, "#search-results .second")["downloadurl"].split(":", 2)
    assert name == "5_0.0-1.0s.wav"
    cut, rate = soundfile.read(io.BytesIO(bytes(page.evaluate(content, source))))
    assert len(cut) == rate


def test_the_shortlist_survives_and_is_taken_away(page: Any, address: tuple[str, Path]) -> None:
    seek(page, "long", "named")
    page.locator("#search-results .second").nth(2).click()
    page.locator("#search-results .name").first.focus()
    page.keyboard.press("f")
    page.locator("#mentioned", has_text="long.wav is on the shortlist").wait_for()
    seek(page, "b/5.wav", "named")
    page.click("[aria-label='Keep b/5.wav']")
    assert page.inner_text("#tab-shortlist-count") == "2"
    page.reload()
    page.wait_for_selector("#search-results .sound")
    assert page.locator("[aria-label='Keep b/5.wav'][aria-pressed=true]").count() == 1
    page.click("#tab-shortlist")
    page.wait_for_selector("body[data-view=shortlist]")
    assert page.inner_text("#shortlist-said") == "2 sounds kept"
    assert names(page, "#shortlist-rows") == ["long.wav", "b/5.wav"]

    def take(form: str) -> bytes:
        with page.expect_download() as waiting:
            page.click(f"#shortlist-{form}")
        assert waiting.value.suggested_filename == f"shortlist.{form}"
        content: bytes = waiting.value.path().read_bytes()
        return content

    audio = address[1] / "audio"
    with zipfile.ZipFile(io.BytesIO(take("zip"))) as archive:
        sizes = {info.file_size for info in archive.infolist()}
    assert sizes == {(audio / name).stat().st_size for name in ("long.wav", "b/5.wav")}
    playlist = take("m3u").decode().splitlines()
    assert [line for line in playlist if not line.startswith("#")] == [
        str((audio / name).resolve()) for name in ("long.wav", "b/5.wav")
    ]
    page.locator("label:has(#shortlist-cuts)").click()
    rows = [line.split(",") for line in take("csv").decode().split()]
    assert rows[0] == ["path", "start_s", "end_s", "label"]
    kept = [(name, float(start), float(end)) for name, start, end, _ in rows[1:]]
    assert kept == [("long.wav", 2.0, 3.0), ("b/5.wav", 0.0, 1.0)]
    # Off the list, all of it, and back.
    page.click("#shortlist-rows [aria-label='Keep long.wav']")
    wait(page, lambda: names(page, "#shortlist-rows") == ["b/5.wav"], "it stays on the list")
    assert focused(page) == "b/5.wav"
    page.click("#shortlist-empty")
    assert page.inner_text("#shortlist-said").startswith("Nothing is kept yet.")
    assert focused(page) == "shortlist-undo"
    page.click("#shortlist-undo")
    assert names(page, "#shortlist-rows") == ["b/5.wav"]


def test_views_in_which_nothing_is_chosen_offer_sounds_in_even_rows(page: Any, ask: Ask) -> None:
    everything = ask("clips")["names"]
    spread = [everything[at * len(everything) // 8] for at in range(8)]
    for view in ("listen", "shortlist"):
        page.click(f"#tab-{view}")
        page.wait_for_selector(f"body[data-view={view}]")
        assert page.inner_text(f"#{view}-offers-title") == "Some of the collection"
        assert names(page, f"#{view}-offers") == spread
        for width in (360, 1400, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            boxes = page.locator(f"#{view}-offers .card").evaluate_all(
                "(cards) => cards.map((card) => card.getBoundingClientRect().toJSON())"
            )
            assert len({round(box["width"]) for box in boxes}) == 1
            assert len({round(box["height"]) for box in boxes}) == 1
            a_row = len({round(box["left"]) for box in boxes})
            assert len({round(box["top"]) for box in boxes}) * a_row == 8, width
    # A star there puts it on the list, and keeps the keyboard.
    page.click(f"#shortlist-offers [aria-label='Keep {spread[2]}']")
    assert names(page, "#shortlist-rows") == [focused(page)] == [spread[2]]
    assert page.locator("#shortlist-nothing").is_hidden()
    # What was labelled last comes first.
    for name in ("b/5.wav", "a/4.wav"):
        ask("labels", {"clip": everything.index(name), "label": "rain"})
    page.goto(page.url.partition("#")[0] + "#/listen")
    page.reload()
    page.locator("#listen-offers .card").first.wait_for()
    assert page.inner_text("#listen-offers-title") == "Labelled last, and some others"
    assert names(page, "#listen-offers")[:2] == ["a/4.wav", "b/5.wav"]
    assert len(set(names(page, "#listen-offers"))) == 8
    for name in ("b/5.wav", "a/4.wav"):
        ask("labels", {"clip": everything.index(name), "label": ""})
    page.click("#listen-any")
    page.locator("#listen-clip:not([hidden])").wait_for()
    assert page.inner_text("#listen-title") in everything
    assert page.locator("#listen-empty").is_hidden()


def test_on_a_small_screen_results_start_on_the_first_one(page: Any) -> None:
    folded = page.locator("#search :is(#search-folder, #search-sort, #search-mark)")
    assert page.locator("#search-fold").is_hidden()
    assert [each.is_visible() for each in folded.all()] == [True] * 3
    page.set_viewport_size({"width": 360, "height": 640})
    assert [each.is_visible() for each in folded.all()] == [False] * 3
    first = page.locator("#search-results .sound").first.bounding_box()
    assert first["y"] + first["height"] < page.locator("#player-bar").bounding_box()["y"]
    page.click("#search-fold")
    assert page.locator("#search-fold").get_attribute("aria-expanded") == "true"
    page.select_option("#search-sort", "longest")
    page.fill("#search-folder", "a")
    page.press("#search-folder", "Tab")
    page.locator("#search-said", has_text="20 sounds, longest first").wait_for()
    page.click("#search-fold")
    assert [each.is_visible() for each in folded.all()] == [False] * 3
    assert page.inner_text("#search-fold") == "Filters and order · 2 set"


def test_a_view_that_is_left_before_it_started_takes_no_keys(page: Any) -> None:
    page.goto(page.url.partition("#")[0] + "#/search")
    page.reload()
    wait_for_rows(page)
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/refit", hold)
    page.click("#tab-label")
    wait(page, lambda: len(held) > 0, "Label does not start")
    page.click("#tab-search")
    with page.expect_response("**/refit"):
        held[0].continue_()
    page.wait_for_timeout(200)
    listen(page, ("a/4.wav", 0.0))
    page.locator("#search-results .name").nth(2).focus()
    at = focused(page)
    page.keyboard.press("s")  # there: over this sound
    page.wait_for_timeout(200)
    assert (focused(page), player(page)["name"]) == (at, "a/4.wav")
    page.unroute("**/refit")


def test_the_page_waits_for_a_collection_that_is_being_embedded(page: Any) -> None:
    answers = [{"done": 0, "total": 0, "failed": 0, "seconds_of_audio": 0.0},
               {"done": 30, "total": 120, "failed": 2, "seconds_of_audio": 600.0}]  # fmt: skip

    def answer(route: Any) -> None:
        if answers:
            route.fulfill(json={"embedding": answers.pop(0)})
        else:
            route.continue_()

    page.route("**/api/collection", answer)
    page.reload()
    page.locator("#embedding-said", has_text="Looking for sounds").wait_for()
    page.locator("#embedding-said", has_text="30 of 120 sounds, 10 minutes; 2 cannot").wait_for()
    bar = page.get_by_role("progressbar", name="Sounds heard")
    assert bar.evaluate("(bar) => bar.value / bar.max") == 0.25
    assert page.title() == "25 % · Listening to your sounds · embedkit"
    page.wait_for_selector("#search-results .sound")
    assert page.locator("#embedding").is_hidden()
    page.unroute("**/api/collection")


def test_the_loop_of_a_person_who_looks_for_sounds(page: Any, address: tuple[str, Path]) -> None:
    """From words to files, without the pointer."""
    walked: list[str] = []  # the titles of the tab, on the way

    page.keyboard.press("/")
    assert focused(page) == "search-words"
    page.keyboard.type("dog")
    page.keyboard.press("Enter")
    wait(page, lambda: page.title().startswith("dog"), "the tab has another title")
    wait_for_rows(page)
    found = names(page)
    walked.append(page.title())
    page.locator("#search-results .name").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    wait(page, lambda: player(page)["name"] == found[2], "the third does not play")
    page.keyboard.press("w")
    wait(page, lambda: page.inner_text("#player-at") != "", "the whole does not play")
    walked.append(page.title())
    page.keyboard.press("f")
    page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.title").startswith("Closest"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#search-query .chip", has_text=f"like {found[2]}").wait_for()
    wait_for_rows(page)
    closest = names(page)
    walked.append(page.title())
    page.locator("#search-results .name").first.focus()
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#listen-title:has-text({json.dumps(closest[0])})")
    walked.append(page.title())
    page.go_back()
    wait(page, lambda: focused(page) == closest[0], "back is elsewhere")
    page.locator("#tab-shortlist").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-view=shortlist]")
    assert names(page, "#shortlist-rows") == [found[2], closest[0]]
    walked.append(page.title())
    page.locator("#shortlist-zip").focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        contents = {archive.read(name) for name in archive.namelist()}
    audio = address[1] / "audio"
    assert contents == {(audio / name).read_bytes() for name in (found[2], closest[0])}
    ways = ("dog · Search", "dog · Search", f"like {found[2]} · Search", f"{closest[0]} · Listen",
            "Shortlist")  # fmt: skip
    assert walked == [f"{way} · emb · embedkit" for way in ways]


def violations(page: Any) -> Any:
    """What axe-core finds wrong with a page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    return page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>"
        " [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])]))"
    )


def test_axe_finds_nothing_in_any_view_and_theme(page: Any) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-core comes with the extra [dev]")
    found = {}
    under_way = {"done": 1, "total": 2, "failed": 0, "seconds_of_audio": 60.0}
    listen(page, ("a/4.wav", 0.0))
    page.evaluate("import('./player.js').then(({ stop }) => stop())")
    page.click("[aria-label='Keep a/0.wav']")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for view in VIEWS:
            page.click(f"#tab-{view}")
            page.wait_for_selector(f"body[data-view={view}]")
            if view == "search":
                page.locator("#search-results .name").nth(1).focus()
                page.click("#search-results .sound.current [aria-haspopup]")
            found[theme, view] = violations(page)
            page.keyboard.press("Escape")
    page.route("**/api/collection", lambda route: route.fulfill(json={"embedding": under_way}))
    page.reload()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_selector("#embedding-said:not(:empty)")
        found[theme, "embedding"] = violations(page)
    page.unroute("**/api/collection")
    assert {place: wrong for place, wrong in found.items() if wrong} == {}


def test_small_screens_show_all(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    for view in VIEWS:
        page.click(f"#tab-{view}")
        page.wait_for_selector(f"body[data-view={view}]")
        assert not page.evaluate("document.body.scrollWidth > innerWidth"), view
