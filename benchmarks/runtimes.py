"""What ONNX Runtime and OpenVINO gain over torch, and what short numbers cost in accuracy.

    embedkit train DATA/meta.csv --model gap --hold-out-fold 1 --out model ...
    embedkit export model --to onnx --int8
    python benchmarks/runtimes.py model DATA

DATA is a folder with `meta.csv` (path, label, fold). Speed: the network alone, from features to
embeddings, two threads; the ratio of two runtimes is the median over pairs of runs, one after the
other. Accuracy: clips that logistic regression (C = 0.1, standardised clip vectors) names right,
over all folds of the labels. The extractor was trained on most of these clips, so the accuracy is
not one of the method: only the difference between the runtimes counts.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from embedkit.bench.extraction import processor_name
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import published_folds
from embedkit.extraction import Runtime, Settings, extract
from embedkit.labels.join import join_labels
from embedkit.models.module import ExtractorModule
from embedkit.runtime import prepare
from embedkit.store import EmbeddingTable, Rows

THREADS, SEGMENTS, PAIRS = 2, 32, 15
RUNTIMES = [Runtime.ONNX, Runtime.ONNX_INT8]
if find_spec("openvino"):
    RUNTIMES += [Runtime.OPENVINO, Runtime.OPENVINO_BF16, Runtime.OPENVINO_INT8]


def speeds(model: Path) -> dict[str, tuple[float, float]]:
    """Segments a second and the ratio to torch of each runtime's network."""
    segments = 0.1 * torch.randn(SEGMENTS, 16000)
    extractor = ExtractorModule.load(model)
    torch.set_num_threads(THREADS)
    with torch.inference_mode():
        features = extractor.front_end(segments)

    @torch.inference_mode()
    def eager() -> None:
        extractor.network.embedding(extractor.normalise(features))

    eager_s: list[float] = []
    found = {}
    for runtime in RUNTIMES:
        embed = prepare(model, runtime=runtime).start(THREADS).embed_features
        pairs = [
            (seconds(eager), seconds(partial(embed, features.numpy()))) for _ in range(1 + PAIRS)
        ]
        eager_s += [pair[0] for pair in pairs[1:]]
        rate = SEGMENTS / statistics.median(pair[1] for pair in pairs[1:])
        found[str(runtime)] = rate, statistics.median(a / b for a, b in pairs[1:])
    return {"torch": (SEGMENTS / statistics.median(eager_s), 1.0), **found}


def seconds(work: Callable[[], object]) -> float:
    """What it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def accuracy(model: Path, data: Path, folder: Path, runtime: Runtime) -> tuple[int, int, Rows]:
    """Clips named right, of how many, and the rows."""
    extract(data, model, folder, Settings(runtime=runtime))
    table = EmbeddingTable.open(folder)
    labelled = join_labels(table, str(data / "meta.csv"))
    done = classify.evaluate(labelled, list(published_folds(labelled)), Logistic(c=0.1))
    return int(done.correct.sum()), len(done.clips), table.rows()


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        rates = speeds(options.model)
        rows = {}
        print(f"{processor_name()}, {THREADS} threads\n")
        print("| runtime | segments/s | ratio to torch | clips right | mean cosine to torch |")
        print("|---|---|---|---|---|")
        for runtime in (Runtime.TORCH, *RUNTIMES):
            right, clips, rows[runtime] = accuracy(
                options.model, options.data, scratch / runtime, runtime
            )
            exact, here = rows[Runtime.TORCH].embeddings, rows[runtime].embeddings
            lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(here, axis=1)
            cosine = ((exact * here).sum(axis=1) / np.maximum(lengths, 1e-12)).mean()
            rate, ratio = rates[str(runtime)]
            print(f"| {runtime} | {rate:.0f} | {ratio:.2f} | {right} of {clips} | {cosine:.5f} |")


if __name__ == "__main__":
    main()
