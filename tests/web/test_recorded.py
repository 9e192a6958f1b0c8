"""When and where, and at which speed: the explorer on three nights of bats."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import explored, needs_browser, wait
from command import succeed
from made import namer
from pages import open_page

from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection
from embedkit.web.sound import RATE
from embedkit.web.uploads import Uploads

BAT = 250_000
CALL_S, TONE = 1.3, 45_000.0
CLIPS = ("lake/20260601_220000.wav", "lake/20260602_043000.wav", "wood/20260601_230000.wav")
CALLER = CLIPS[1]


@pytest.fixture(scope="module")
def bats(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any) -> Path:
    """Three recordings of 2 s in two places, heard ten times slower; in one of them a bat calls."""
    root = tmp_path_factory.mktemp("bats")
    rng = np.random.default_rng(0)
    for clip in CLIPS:
        sound = rng.normal(0, 0.01, 2 * BAT).astype(np.float32)
        if clip == CALLER:
            first = round(CALL_S * BAT)
            sound[first : first + BAT // 10] += 0.5 * np.sin(
                2 * np.pi * TONE * np.arange(BAT // 10) / BAT
            ).astype(np.float32)
        write_audio(root / "audio" / clip, sound, BAT)
    emb = root / "emb"
    succeed("extract", root / "audio", "--model", model_dir, "--out", emb, "--speed", "0.1",
            "--band", "20000-100000")  # fmt: skip
    succeed("describe", emb, "--timezone", "Europe/Berlin", "--site-pattern", "{site}/*")
    return root


@pytest.fixture(scope="module")
def collection(bats: Path) -> Collection:
    return Collection(EmbeddingTable.open(bats / "emb"))


@pytest.fixture
def client(collection: Collection, tmp_path: Path) -> Any:
    return open_page(collection, Uploads(collection.table.provenance), tmp_path / "labels.csv")[0]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, CLIPS),
        ({"site": "wood"}, CLIPS[2:]),
        ({"hours": "22-23"}, CLIPS[:1]),
        ({"hours": "22-5"}, CLIPS),
        ({"after": "2026-06-01T22:30"}, CLIPS[1:]),
        ({"before": "2026-06-02"}, (CLIPS[0], CLIPS[2])),
        ({"after": "2026-06-01T20:30Z", "site": "lake"}, CLIPS[1:2]),  # UTC: two hours earlier
    ],
)
def test_a_search_is_of_what_was_recorded_then_and_there(
    client: Any, asked: dict[str, str], found: tuple[str, ...]
) -> None:
    for path, body in (("/named", {"text": ""}), ("/search", {"like": [], "uploads": []})):
        if path == "/search":
            body["like"] = [0]
        answer = client.post(path, json={**body, **asked}).json()
        assert sorted(sound["name"] for sound in answer["found"]) == sorted(found)
    sound = next(each for each in answer["found"] if each["name"] == found[0])
    assert sound["site"] == found[0].partition("/")[0]


def test_what_is_no_time_or_place_is_refused_in_words(client: Any) -> None:
    for asked, words in (
        ({"hours": "late"}, "expected hours from 0 to 24"),
        ({"after": "May"}, "expected 2023-05-01"),
        ({"site": "woood"}, "did you mean wood?"),
    ):
        done = client.post("/named", json={"text": "", **asked})
        assert done.status_code == 422
        assert words in done.json()["detail"]


def test_a_bat_is_heard_ten_times_lower_and_longer_at_its_time(client: Any) -> None:
    clip = client.get("/clips").json()["names"].index(CALLER)
    content = client.get(f"/audio/{clip}?start_s=1&end_s=2").content
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (rate, len(samples)) == (RATE, 10 * RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.2) / rate  # seconds of what is heard
    assert loud[0] / 10 + 1 == pytest.approx(CALL_S, abs=1e-3)
    assert loud[-1] / 10 + 1 == pytest.approx(CALL_S + 0.1, abs=1e-3)
    call = samples[round(3.1 * rate) : round(3.9 * rate)]
    spectrum = np.abs(np.fft.rfft(call))
    assert np.fft.rfftfreq(len(call), 1 / rate)[spectrum.argmax()] == pytest.approx(4500, abs=2)
    # Of the noise what is outside of the band is not heard; 16 bits have noise of their own.
    quiet = np.abs(np.fft.rfft(samples[: 2 * rate])) ** 2
    hertz = np.fft.rfftfreq(2 * rate, 1 / rate)
    inside, below = (quiet[(hertz > low) & (hertz < high)].mean() for low, high in
                     ((3000, 9000), (100, 1400)))  # fmt: skip
    assert below < 1e-4 * inside
    # What is taken away is the recording itself.
    cut = client.get(f"/cut/{clip}?start_s=1&end_s=2").content
    assert soundfile.info(io.BytesIO(cut)).samplerate == BAT


def test_a_slice_of_what_is_slowed_down_is_as_long_to_hear(client: Any) -> None:
    facts = client.get("/clip/0").json()
    assert facts["end_s"] == pytest.approx(2.0, abs=1e-3)  # in seconds of the recording
    assert [each["start_s"] for each in facts["segments"][:3]] == pytest.approx([0, 0.1, 0.2])


def test_tag_names_what_was_recorded_then(bats: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.open(bats / "emb")
    names = namer("bat", size=table.embedding_size, fingerprint=table.provenance.fingerprint)
    names.save(tmp_path / "names")
    shown = succeed("tag", bats / "emb", "--classifier", tmp_path / "names", "--hours", "4-5")
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [CALLER]


@pytest.fixture(scope="module")
def page(bats: Path) -> Iterator[Any]:
    with explored(bats / "emb") as page:
        yield page


@needs_browser
def test_the_page_filters_by_time_and_place_and_keeps_it_in_the_address(page: Any) -> None:
    page.click("#tab-search")
    rows = page.locator("#search-results .sound")
    rows.nth(2).wait_for()
    page.select_option("#search-site", "lake")
    page.fill("#search-hours", "4-5")
    page.press("#search-hours", "Tab")
    wait(page, lambda: rows.count() == 1, "the filters do not filter")
    assert CALLER in rows.first.inner_text().replace("\n", "")
    assert "2026-06-02 04:30:00" in rows.first.inner_text()
    assert "site=lake" in page.url
    page.reload()
    page.wait_for_selector("body[data-view=search]")
    wait(page, lambda: rows.count() == 1, "a reload forgets the filters")
    assert page.input_value("#search-hours") == "4-5"


@needs_browser
def test_the_page_plays_slowly_and_its_times_are_those_of_the_recording(page: Any) -> None:
    assert page.inner_text("#player-hearing") == "Heard 10 times slower, 20000 to 100000 Hz alone"
    page.goto(page.url.partition("#")[0] + f"#/listen?sound={CALLER}@1.3")
    page.locator("#listen-segments button").nth(13).click()
    player = page.locator("#player")
    wait(page, lambda: player.evaluate("(each) => each.duration === 1"), "0.1 s is 1 s to hear")
    wait(page, lambda: player.evaluate("(each) => each.ended"), "it does not play")
    assert float(page.input_value("#player-place")) == pytest.approx(1.4, abs=0.02)
    assert page.inner_text("#player-end") == "1.4 s"
    page.click("#player-whole")
    page.click("#player-toggle")
    wait(page, lambda: player.evaluate("(each) => each.duration > 19.9"), "2 s are 20 s to hear")
    page.click("#player-stop")
    page.click("#player-second")
