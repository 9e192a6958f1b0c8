"""Peak memory of an extraction by the length of its one file, and by the number of its files.

    python benchmarks/memory.py MODEL_DIR [--minutes 1 60 600] [--files 1000 10000 100000]

Every row is a run in a process of its own, with one worker: white noise at 16 kHz and 16 bits; many
files are of 0.1 s, links to one in each folder. The worker decodes, embeds and writes; the main
process walks the folder and hands over the files.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from embedkit.extraction import Settings, extract
from embedkit.extraction.worker import peak_memory
from embedkit.processes import WorkerPool


def one_file(folder: Path, minutes: int) -> None:
    """A file of so many minutes."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(folder / "noise.wav", "w", 16000, 1) as file:
        for _ in range(minutes):
            file.write(0.1 * rng.standard_normal(16000 * 60))


def many_files(folder: Path, count: int) -> None:
    """So many files of 0.1 s, a thousand in a folder, links to one of them."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(1600)
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.wav"
        if number % 1000 == 0:  # file systems bound how many links a file may have
            path.parent.mkdir()
            soundfile.write(path, noise, 16000)
            first = path
        else:
            os.link(first, path)


def peaks(kind: str, size: int, model: Path) -> tuple[float, float]:
    """Peak resident memory of the worker and of the main process, in MB of 2^20 bytes."""
    with tempfile.TemporaryDirectory() as name:
        audio = Path(name) / "audio"
        audio.mkdir()
        {"minutes": one_file, "files": many_files}[kind](audio, size)
        done = extract(audio, model, Path(name) / "embeddings", Settings(workers=1))
        assert done.files == (size if kind == "files" else 1)
        assert not done.errors
        return done.peak_bytes / 2**20, peak_memory() / 2**20


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=int, nargs="*", default=[1, 60, 600])
    parser.add_argument("--files", type=int, nargs="*", default=[1000, 10_000, 100_000])
    options = parser.parse_args()
    print("| | worker, MB | main process, MB |\n|---|---|---|")
    for kind in ("minutes", "files"):
        for size in getattr(options, kind):
            # Nothing of the row before may be in this one's peak.
            with WorkerPool(1) as pool:
                worker, main_process = pool.submit(peaks, kind, size, options.model).result()
            print(f"| {size:,} {kind} | {worker:.0f} | {main_process:.0f} |", flush=True)


if __name__ == "__main__":
    main()
