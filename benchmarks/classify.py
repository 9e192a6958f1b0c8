"""Fit, predict and detect on many segments: time and peak memory, which are not to grow with them.

    python benchmarks/classify.py [--rows 100000 1000000] [--size 256] [--methods logistic knn plda]

The vectors are those of search.py; clips have one of 20 labels at random, so that only cost is
measured. Each command runs in a process of its own, on segments.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from search import SEGMENTS, write


def measure(*arguments: object) -> tuple[float, float]:
    """Seconds and peak megabytes of an embedkit command."""
    program = Path(sys.executable).with_name("embedkit")
    started = time.perf_counter()
    process = os.posix_spawn(program, [str(program), "--quiet", *map(str, arguments)], os.environ)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.perf_counter() - started, usage.ru_maxrss / 2**10


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--methods", nargs="+", default=["logistic", "knn", "plda"])
    options = parser.parse_args()
    commands = ("fit", "predict", "detect")
    print("| segments | method |" + "".join(f" {name}, s | peak MB |" for name in commands))
    print("|---|---|" + "---|---|" * len(commands), flush=True)
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            write(work / "emb", rows, options.size)
            draw = random.Random(0)
            clips = [f"{clip // 1000:04d}/{clip:07d}.wav" for clip in range(rows // SEGMENTS)]
            lines = [f"{clip},kind{draw.randrange(20)}" for clip in clips]
            (work / "labels.csv").write_text("\n".join(["path,label", *lines]))
            for method in options.methods:
                model = work / method
                fit = measure(
                    *("classify", "fit", work / "emb", "--labels", work / "labels.csv"),
                    *("--method", method, "--segments", "--out", model),
                )
                predict = measure(
                    *("classify", "predict", work / "emb", "--classifier", model),
                    *("--segments", "--out", work / f"{method}.parquet"),
                )
                detect = measure(
                    *("detect", work / "emb", "--classifier", model),
                    *("--threshold", 0.1, "--out", work / f"{method}.csv"),
                )
                cells = "".join(
                    f" {seconds:.0f} | {peak:,.0f} |" for seconds, peak in (fit, predict, detect)
                )
                print(f"| {rows:,} | {method} |{cells}", flush=True)


if __name__ == "__main__":
    main()
