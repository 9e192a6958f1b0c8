"""Draw docs/explorer-recording.png and docs/explorer-detector.png: an hour in a wood, explored.

Run: python docs/recording.py

It makes an hour of sound in which birds and crickets call, and a selection table of Raven's with
the calls of its first quarter of an hour and some of its noise. Needs Chromium (apt-get install
chromium).
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from explored import PROGRAM, explored

from embedkit.demo.synth import synthesise_clip

HERE = Path(__file__).parent
RATE, SECONDS, CALL_S = 16000, 3600, 3
NAME, MARKED_S = "20260601_213000", 900
KINDS = {"bird": 60, "cricket": 40}
QUIET = 8  # stretches that are marked as noise
HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def make(folder: Path) -> Path:
    """The recording, and its table; where the table is."""
    rng = np.random.default_rng(3)
    samples = (0.004 * rng.standard_normal(SECONDS * RATE)).astype(np.float32)
    rows = []
    places = rng.choice(SECONDS // 5, sum(KINDS.values()), replace=False) * 5
    labels = [label for label, count in KINDS.items() for _ in range(count)]
    for at, label in zip(places, labels, strict=True):
        own = np.random.default_rng(rng.integers(2**30))
        loud = rng.uniform(0.1, 0.5)
        first = at * RATE
        samples[first : first + CALL_S * RATE] += loud * synthesise_clip(label, own, CALL_S, RATE)
        if at < MARKED_S:
            rows.append(f"{len(rows) + 1}\tSpectrogram 1\t1\t{at}\t{at + CALL_S}\t0\t8000\t{label}")
    quiet = [at for at in range(0, MARKED_S, 5) if at not in places]
    for at in quiet[:: len(quiet) // QUIET][:QUIET]:
        rows.append(f"{len(rows) + 1}\tSpectrogram 1\t1\t{at}\t{at + CALL_S}\t0\t8000\tnoise")
    (folder / "sounds/wood").mkdir(parents=True)
    soundfile.write(folder / f"sounds/wood/{NAME}.wav", samples.clip(-1, 1), RATE)
    table = folder / f"{NAME}.Table.1.selections.txt"
    table.write_text("\n".join([f"{HEAD}\tAnnotation", *rows, ""]))
    return table


def walk(page: Any, address: str, table: Path) -> None:
    """From the table to detections; then the recording, about one of them."""
    page.goto(f"{address}#/detector")
    page.wait_for_selector("body[data-view=detector]")
    page.set_input_files("#detector-file", table)
    page.locator("#detector-said", has_text="are new").wait_for()
    page.click("#detector-fit")
    page.locator("#detector-found .hit").first.wait_for()
    page.click("#detector-draw")
    page.locator("#detector-drawn .hit").nth(3).wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=HERE / "explorer-detector.png")
    page.goto(f"{address.partition('?')[0]}#/recording?sound=wood/{NAME}.wav@1200&seconds=60")
    page.locator("#recording-lanes canvas").nth(1).wait_for()
    page.click("#recording-next")
    page.locator("#recording-selected", has_text=":").wait_for()
    page.locator("#recording-picture[data-shown]").wait_for()
    page.locator("#recording-overview-picture[data-shown]").wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=HERE / "explorer-recording.png")


def main() -> None:
    """Make the recording, embed, describe and serve it, and draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = make(folder)
        emb = folder / "embeddings"
        for command in (
            ("extract", folder / "sounds", "--out", emb),
            ("describe", emb, "--timezone", "Europe/Berlin", "--site-pattern", "{site}/*"),
        ):
            subprocess.run([PROGRAM, *command], check=True, stdout=subprocess.DEVNULL)
        with explored(emb, 1000) as (page, address):
            walk(page, address, table)


if __name__ == "__main__":
    main()
