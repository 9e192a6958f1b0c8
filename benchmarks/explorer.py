"""The explorer on large collections: time to the first picture and to results, and memory.

    python benchmarks/explorer.py [--rows 1000 10000 100000] [--size 256]
    python benchmarks/explorer.py --small

A real server and a headless Chromium (apt-get install chromium) on one machine; the vectors are
those of search.py. "First picture" is from the request of the page to the drawn map, "results" from
a click on a sound's Closest sounds to their rows, without their sounds, which are not there,
"search alone" is the same search without a browser; all are medians of five. The map is drawn
without a GPU here, by Chromium's SwiftShader, on the cores that serve it. Memory is the server's,
after all of it.

--small measures what a person with four clips has: seconds until the server answers, its memory
then and after the first spectrogram, and how long the first dropped sound takes, five seconds after
the start.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import soundfile
from playwright.sync_api import sync_playwright

from search import write

TIMES = 5


def request(
    link: str, path: str, body: bytes | None = None, kind: str = "application/json"
) -> bytes:
    """What the server answers, of which a person has the link."""
    address, _, token = link.partition("?token=")
    cookie = f"embedkit-{urlsplit(address).port}={token}"
    headers = {"Cookie": cookie, "Content-Type": kind}
    with urllib.request.urlopen(urllib.request.Request(address + path, body, headers)) as answer:
        return answer.read()


def base(link: str) -> str:
    """Where the edition that is served has its addresses."""
    return f"api/{json.loads(request(link, 'api/collection'))['edition']}"


def ask(link: str) -> float:
    """Seconds of a search."""
    place = base(link)
    started = time.perf_counter()
    request(link, f"{place}/search", b'{"like": [300]}')
    return time.perf_counter() - started


def measure_small() -> str:
    """A line on four clips."""
    program = Path(sys.executable).with_name("embedkit")
    with tempfile.TemporaryDirectory() as name:
        sounds, folder = Path(name) / "sounds", Path(name) / "emb"
        sounds.mkdir()
        for number in range(4):
            noise = 0.1 * np.random.default_rng(number).standard_normal(3 * 32000)
            soundfile.write(sounds / f"{number}.wav", noise, 32000)
        subprocess.run(
            [program, "--quiet", "extract", sounds, "--out", folder],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        started = time.perf_counter()
        server = subprocess.Popen(
            [program, "explore", folder, "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        link = server.stdout.readline().strip()
        place = base(link)
        ready = time.perf_counter() - started
        memory = [psutil.Process(server.pid).memory_info().rss / 2**20]
        time.sleep(5)
        content, started = (sounds / "0.wav").read_bytes(), time.perf_counter()
        request(link, f"{place}/upload", content, "application/octet-stream")
        dropped = time.perf_counter() - started
        request(link, f"{place}/spectrogram/0")
        memory.append(psutil.Process(server.pid).memory_info().rss / 2**20)
        server.terminate()
        server.communicate(timeout=30)
    return (
        f"ready after {ready:.1f} s; {memory[0]:.0f} MB, {memory[1]:.0f} MB after a spectrogram;"
        f" first drop {1000 * dropped:.0f} ms"
    )


def measure(rows: int, size: int, chromium: str) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write(work / "emb", rows, size)
        program = Path(sys.executable).with_name("embedkit")
        started = time.perf_counter()
        server = subprocess.Popen(
            [program, "explore", work / "emb", "--audio", work, "--port", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        ready = time.perf_counter() - started
        pictures, results = [], []
        alone = [ask(address) for _ in range(TIMES)]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            for _ in range(TIMES):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                started = time.perf_counter()
                page.goto(address)
                page.wait_for_selector("body[data-view=map]")
                page.wait_for_selector("#map-legend li")
                pictures.append(time.perf_counter() - started)
                page.fill("#map-find", "0000/0000003.wav")
                page.press("#map-find", "Enter")
                button = page.locator("#map-chosen .card a[aria-label^='Closest sounds']").first
                button.wait_for()
                started = time.perf_counter()
                button.click()
                page.wait_for_selector("#search-query .chip")
                page.wait_for_selector("#search-results:not([aria-busy]) .sound")
                results.append(time.perf_counter() - started)
                page.close()
            browser.close()
        memory = psutil.Process(server.pid).memory_info().rss / 2**20
        server.terminate()
        server.communicate(timeout=30)
    return (
        f"| {rows:,} | {ready:.1f} | {1000 * np.median(pictures):,.0f} |"
        f" {1000 * np.median(results):,.0f} | {1000 * np.median(alone):,.0f} | {memory:,.0f} |"
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.small:
        print(measure_small())
        return
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("this needs Chromium: apt-get install chromium")
    print(
        "| segments | server ready, s | first picture, ms | results, ms | search alone, ms |"
        " server's memory, MB |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for rows in options.rows:
        print(measure(rows, options.size, chromium), flush=True)


if __name__ == "__main__":
    main()
