"""From a Raven table to reviewed detections, and through a recording, in a real browser."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import explored, needs_browser, serve, wait
from command import succeed
from made import draw, write_table_of

pytestmark = needs_browser

RATE, SECONDS = 16000, 300
CLIP = "20260601_213000.wav"
CALLS = np.random.default_rng(1).choice(SECONDS, 30, replace=False)  # seconds of CLIP
MARKED = np.sort(CALLS)[::2]
HEAD = "Selection\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any) -> Path:
    """Five minutes of noise with 30 calls, and a table of every second one."""
    root = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.01, SECONDS * RATE)
    call = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(RATE) / RATE)
    for at in CALLS:
        sound[at * RATE : (at + 1) * RATE] += rng.uniform(0.3, 1) * call
    write_audio(root / "audio" / CLIP, sound.astype(np.float32), RATE)
    write_audio(root / "audio" / "other.wav", sound[: 5 * RATE].astype(np.float32), RATE)
    rows = [f"{n}\t{at}\t{at + 1}\t0\t8000\twren" for n, at in enumerate(MARKED, start=1)]
    table = root / f"{CLIP.removesuffix('.wav')}.Table.1.selections.txt"
    table.write_text("\n".join([HEAD, *rows, ""]))
    succeed("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    succeed("describe", root / "emb", "--timezone", "Europe/Berlin")
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[Any]:
    with explored(root / "emb") as page:
        yield page


@pytest.fixture
def fitted(page: Any, root: Path) -> Any:
    """The page, once the detector knows the table's calls."""
    if not (root / "emb-labels-detector").exists():
        page.click("#tab-detector")
        page.set_input_files("#detector-file", next(root.glob("*.txt")))
        tell(page, "said", "15 wren")
        page.click("#detector-fit")
        tell(page, "said", "Fitted")
    return page


def tell(page: Any, name: str, text: str) -> None:
    """Until the detector's page says so."""
    page.locator(f"#detector-{name}", has_text=text).wait_for()


def marks(root: Path) -> list[dict[str, str]]:
    """What is on the disk."""
    with (root / "emb-labels-stretches.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_before_anything_is_chosen_the_longest_recordings_are_offered(page: Any) -> None:
    for tab in ("recording", "detector"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"body[data-view={tab}]")
        offers = page.locator(f"#{tab}-offers .card")
        assert offers.locator(".name").all_inner_texts() == [CLIP, "other.wav"]
        assert offers.locator(".facts").all_inner_texts() == ["5:00", "5 s"]
    assert page.locator("#detector-fit").is_disabled()
    page.locator("#detector-offers .name", has_text="other.wav").click()
    page.locator("#recording-title", has_text="other.wav").wait_for()
    assert page.locator("#recording-empty").is_hidden()
    page.reload()
    page.locator("#recording-times span").first.wait_for()
    page.goto(page.url.partition("#")[0] + "#/recording")
    page.reload()
    page.click("#recording-longest")
    page.locator("#recording-title", has_text=CLIP).wait_for()
    page.locator("#recording-times span").first.wait_for()


def test_a_walk_from_a_raven_table_to_reviewed_detections(page: Any, root: Path) -> None:
    page.click("#tab-detector")
    page.wait_for_selector("body[data-view=detector]")
    page.set_input_files("#detector-file", next(root.glob("*.txt")))
    tell(page, "said", "15 wren in 1 recording; 15 of them are new.")
    assert sorted(float(row["start_s"]) for row in marks(root)) == MARKED.tolist()
    tell(page, "marked", "Marked: 15 that have it, 0 that have not.")
    page.click("#detector-fit")
    hits = page.locator("#detector-found .hit")
    hits.first.wait_for()
    bars = page.locator("#detector-histogram rect")
    assert bars.count() == 50
    # The slider, by the keyboard: less is enough for more.
    few = hits.count()
    for _ in range(30):
        page.press("#detector-threshold", "ArrowLeft")
    wait(page, lambda: hits.count() > few, "a lower threshold detects no more")
    threshold = float(page.input_value("#detector-threshold"))
    assert threshold == pytest.approx(0.2)
    detector = root / "emb-labels-detector"
    command = ("detect", root / "emb", "--classifier", detector, "--threshold", threshold)
    spans = json.loads(succeed(*command, "--json"))
    wait(page, lambda: hits.count() == len(spans), "not what the command detects")
    assert page.inner_text("#detector-counts") == f"{len(spans)} detections in 305 segments"
    with page.expect_download() as waiting:
        page.click("#detector-raven")
    out = root / "out.selections.txt"
    succeed(*command, "--out", out)
    assert waiting.value.suggested_filename == "detections.selections.txt"
    assert waiting.value.path().read_bytes() == out.read_bytes()
    # Segments of every bin of scores, answered by a key each.
    page.fill("#detector-count", "30")
    page.click("#detector-draw")
    drawn = page.locator("#detector-drawn .hit")
    wait(page, lambda: drawn.count() == 30, "nothing is drawn")
    [sheet] = detector.glob("review-wren-*.csv")
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [float(row["start_s"]) in CALLS for row in rows if row["path"] == CLIP]
    right += [float(row["start_s"]) in CALLS for row in rows if row["path"] != CLIP]
    drawn.first.focus()
    for number, each in enumerate(right):
        page.keyboard.press("y" if each else "n")
        tell(page, "density", f"{number + 1} of 30 answered")
    said = json.loads(succeed("review", root / "emb", "--classifier", detector, "--label", "wren",
                              "--answers", sheet, "--json"))  # fmt: skip
    assert (said["right"], said["wrong"]) == (sum(right), 30 - sum(right))
    value, (low, high) = said["density"]["value"], said["density"]["interval"]
    shown = f"{100 * value:.1f} % of all segments have it ({100 * low:.1f} % to {100 * high:.1f} %)"
    assert shown in page.inner_text("#detector-density")
    chip = page.locator("#detector-precisions .chip", has_text="90 % right")
    chip.click()
    wanted = said["thresholds"]["0.9"]["value"]
    wait(
        page,
        lambda: abs(float(page.input_value("#detector-threshold")) - wanted) < 0.006,
        "the threshold of the review is not taken",
    )
    negatives = [row for row in marks(root) if row["sign"] == "-"]
    assert len(negatives) == 30 - sum(right)


def test_a_recording_is_seen_from_hours_to_a_second(fitted: Any) -> None:
    page = fitted
    page.goto(page.url.partition("#")[0] + f"#/recording?sound={CLIP}@150&seconds=60")
    page.locator("#recording-lanes .lane[data-label=wren] canvas").wait_for()
    page.locator("#recording-picture[data-shown]").wait_for()
    assert page.inner_text("#recording-about").startswith("2026-06-01, 21:30:00 · 5:00")
    assert "21:32:00" in page.locator("#recording-times span").all_inner_texts()
    assert "4 kHz" in page.locator("#recording-hertz span").all_inner_texts()
    page.locator("#recording-title").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert f"sound={CLIP}@165&seconds=30" in page.url
    page.reload()
    page.locator("#recording-times span", has_text="21:32:40").wait_for()
    page.fill("#recording-high", "4000")
    page.press("#recording-high", "Tab")
    page.locator("#recording-picture[data-shown*='high_hz=4000']").wait_for()
    page.locator("#recording-hertz span", has_text="3 kHz").wait_for()
    # On to the next detection, and to the one after it.
    page.locator("#recording-title").focus()
    page.keyboard.press(".")
    page.locator("#recording-place", has_text="detections").wait_for()
    first = page.inner_text("#recording-selected")
    page.keyboard.press(".")
    wait(page, lambda: page.inner_text("#recording-selected") != first, "it stays where it is")
    assert page.input_value("#recording-label") == "wren"
    page.keyboard.press(",")
    wait(page, lambda: page.inner_text("#recording-selected") == first, "it does not go back")
    # It is heard as it is asked for.
    page.select_option("#recording-speed", "0.5")
    page.click("#recording-play")
    page.locator("#player[src*='speed=0.5']").wait_for(state="attached")
    page.locator("#player[src*='high_hz=4000']").wait_for(state="attached")
    page.click("#player-stop")
    page.select_option("#recording-speed", "1")


def test_what_is_drawn_becomes_a_mark_and_a_query(page: Any, root: Path) -> None:
    page.goto(page.url.partition("#")[0] + f"#/recording?sound={CLIP}@100&seconds=10")
    page.locator("#recording-times span", has_text="21:31:40").wait_for()
    box = page.locator("#recording-scene").bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2
    page.mouse.move(x + 0.4 * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + 0.5 * box["width"], y)
    page.mouse.move(x + 0.7 * box["width"], y)
    page.mouse.up()
    for label, key, sign in (("owl", "Enter", "+"), ("fox", "n", "-")):
        page.fill("#recording-label", label)
        if key == "n":
            page.locator("#recording-title").focus()
        page.keyboard.press(key)
        page.locator("#recording-marks .mark", has_text=label).wait_for()
        row = marks(root)[-1]
        assert (row["path"], row["label"], row["sign"]) == (CLIP, label, sign)
        assert float(row["start_s"]) == pytest.approx(99, abs=0.05)
        assert float(row["end_s"]) == pytest.approx(102, abs=0.05)
    page.locator("#recording-list li", has_text="fox").locator("text=Take away").click()
    page.locator("#recording-marks .mark", has_text="fox").wait_for(state="detached")
    assert marks(root)[-1]["label"] == "owl"
    page.click("#recording-like")
    page.wait_for_selector("body[data-view=search]")
    chips = page.locator("#search-query .chip")
    wait(page, lambda: chips.count() == 3, "the query is not of the three seconds")
    page.locator("#search-results .sound").first.wait_for()
    # A second of a hit is marked by a key.
    page.fill("#search-mark", "rain")
    page.press("#search-mark", "Enter")
    page.keyboard.press("n")
    wait(page, lambda: marks(root)[-1]["label"] == "rain", "a key marks no hit")
    assert marks(root)[-1]["sign"] == "-"
    for tab in ("recording", "detector"):
        page.click(f"#tab-{tab}")
        page.set_viewport_size({"width": 360, "height": 640})
        page.wait_for_selector(f"body[data-view={tab}]")
        assert not page.locator("body").evaluate("(body) => body.scrollWidth > innerWidth"), tab


def test_detections_are_joined_and_saved_label_by_label_or_all(page: Any, root: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.click("#tab-detector")
    page.wait_for_selector("body[data-view=detector]")
    page.click("#detector-fit")
    tell(page, "said", "Fitted")
    page.locator("#detector-labels button", has_text="wren").click()
    page.fill("#detector-gap", "4")
    page.fill("#detector-least", "2")
    page.press("#detector-least", "Tab")
    page.locator("#detector-labels button", has_text="owl").click()
    page.press("#detector-threshold", "ArrowLeft")
    page.reload()  # what was chosen stays
    page.wait_for_selector("body[data-view=detector]")
    labels = page.locator("#detector-labels button").all_inner_texts()
    assert "wren" in labels
    thresholds = {}
    for label in labels:
        page.locator("#detector-labels button", has_text=label).click()
        page.locator("#detector-title", has_text=label).wait_for()
        if page.locator("#detector-fitted").is_visible():
            thresholds[label] = page.input_value("#detector-threshold")
    assert thresholds["owl"] == "0.49"
    table = root / "thresholds.csv"
    rows = [f"{label},{threshold}" for label, threshold in thresholds.items()]
    table.write_text("\n".join(["label,threshold", *rows, ""]))
    page.locator("#detector-labels button", has_text="wren").click()
    for label, every in (("wren", False), (None, True)):
        page.locator(f"label:has(#detector-{'every' if every else 'one'})").click()
        with page.expect_download() as waiting:
            page.click("#detector-csv")
        only = ("--labels", label) if label else ()
        succeed("detect", root / "emb", "--classifier", root / "emb-labels-detector",
                "--thresholds", table, "--gap", "4", "--least", "2", *only,
                "--out", root / "d.csv")  # fmt: skip
        content = waiting.value.path().read_bytes()
        assert content == (root / "d.csv").read_bytes()
        assert content.count(b"\n") > 1


def test_what_is_drawn_of_a_label_is_not_shown_under_another(page: Any) -> None:
    def choose(label: str) -> None:
        page.locator("#detector-labels button", has_text=label).click()
        page.locator("#detector-title", has_text=label).wait_for()

    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.post_data_json["label"] == "wren":
            held.append(route)
        else:
            route.continue_()

    choose("wren")
    page.fill("#detector-count", "10")
    page.click("#detector-draw")
    drawn = page.locator("#detector-drawn .hit")
    wait(page, lambda: drawn.count() == 10, "nothing is drawn")
    choose("owl")
    page.route("**/detector/review", hold)
    choose("wren")
    wait(page, lambda: len(held) == 1, "the sheet is not asked for")
    choose("owl")
    with page.expect_response("**/detector/review"):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert drawn.count() == 0
    page.unroute("**/detector/review")


def test_a_recording_of_more_than_500_detections_is_gone_through_to_its_end(
    page: Any, tmp_path: Path, write_audio: Any
) -> None:
    """Of 600 calls, in every second second."""
    calls = np.arange(0, 1200, 2)
    vectors = draw(1200, 8)
    vectors[calls] += [9, 9, 0, 0, 0, 0, 0, 0]
    write_audio(tmp_path / "audio/long.flac", np.zeros(1200 * 8000, np.float32), 8000)
    write_table_of(tmp_path / "emb", {"long.flac": vectors}, root=tmp_path / "audio", last_s=1.0)
    marks = tmp_path / "emb-labels-stretches.csv"
    rows = [f"long.flac,{at},{at + 1},{'wren' if at in calls else 'rain'},+" for at in range(80)]
    marks.write_text("\n".join(["path,start_s,end_s,label,sign", *rows, ""]))
    succeed("classify", "fit", tmp_path / "emb", "--labels", marks, "--segments",
            "--out", tmp_path / "emb-labels-detector")  # fmt: skip
    with serve(tmp_path / "emb") as url:
        for at, numbers in ((1010.5, [507, 508]), (1190.5, [597, 598, 599, 600])):
            page.goto(f"{url}#/recording?sound=long.flac@{at}&seconds=10")
            page.reload()
            page.locator("#recording-lanes .lane").first.wait_for()
            page.fill("#recording-label", "wren")
            page.locator("#recording-title").focus()
            for number in numbers:
                page.keyboard.press(".")
                page.locator("#recording-place", has_text=f"{number} of 600").wait_for()
                minutes, seconds = divmod(2 * (number - 1), 60)
                assert page.inner_text("#recording-selected").startswith(f"{minutes}:{seconds:02}")
        page.keyboard.press(".")
        page.locator("#recording-place", has_text="No detection after this; 600").wait_for()
        page.goto("about:blank")
