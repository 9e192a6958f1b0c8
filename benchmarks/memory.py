"""Peak memory of an extraction by the length of its one file.

    python benchmarks/memory.py MODEL_DIR [--minutes 1 10 30]

Each length runs in a process of its own: white noise, 16 kHz, 16 bits, one worker.
"""

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from embedkit.extraction import extract


def peak_mb(model: Path, minutes: int) -> float:
    """Peak resident memory in MB of this process after extracting one file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "noise.wav"
        with soundfile.SoundFile(path, "w", 16000, 1) as file:
            for _ in range(minutes):
                file.write(0.1 * rng.standard_normal(16000 * 60))
        extract(path, model, Path(name) / "embeddings")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10, 30])
    options = parser.parse_args()
    print("| minutes | peak MB |\n|---|---|")
    for minutes in options.minutes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(f"| {minutes} | {pool.apply(peak_mb, (options.model, minutes)):.0f} |")


if __name__ == "__main__":
    main()
