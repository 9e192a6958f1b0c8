r"""What embedkit's own model is worth: ESC-10 by size of the vectors, and its speed.

    python benchmarks/default_model.py ESC10 [--yamnet yamnet.tflite] [--gap DIR]
        [--speed AUDIO_DIR] [--write]

ESC10 holds meta.csv (path,fold,label) and the audio that it names. Every system is scored alike:
logistic regression (standardised clip means, C = 0.1) fitted on four folds and scored on the fifth,
all five in turn. The peers are the same network with random weights, 20 MFCC (mean and deviation,
librosa), with its file (see yamnet.py) the 1,024 numbers of YAMNet, and with --gap networks that
were trained on ESC-10 itself, each on four folds: the folders fold1 to fold5 of

    embedkit train ESC10/meta.csv --model gap --hold-out-fold 1 --epochs 8 --batch-size 32 \
        --schedule one-cycle --learning-rate 3e-4 --out gap/fold1     # and so on

With --speed a folder of audio is extracted at every size; --write puts figures.json into the
package and the picture into docs/.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from esc10 import mfcc_vectors
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.atomic import atomic_write
from embedkit.bench.extraction import measure_extraction, processor_name
from embedkit.checkpoint import load_config
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import hold_out_fold
from embedkit.config import DEFAULT_MODEL
from embedkit.export import write_network
from embedkit.extraction import Settings, extract
from embedkit.labels.join import Labelled, join_labels
from embedkit.models.module import ExtractorModule
from embedkit.pages.plots import save_png
from embedkit.runtime import Runtime
from embedkit.store import EmbeddingTable

FOLDS = ("1", "2", "3", "4", "5")
C = 0.1
MEGABYTE_AN_HOUR = 4 * 3600 / 1e6  # of one float32 number a second

Row = dict[str, str | int | float]


def score(name: str, data: Labelled, size: int | None = None) -> Row:
    """Five folds on the first `size` numbers of each vector."""
    data = replace(data, vectors=data.vectors[:, :size])
    correct = classify.evaluate(
        data, [hold_out_fold(data, fold) for fold in FOLDS], Logistic(c=C)
    ).correct
    return row_of(name, correct, data.vectors.shape[1])


def row_of(name: str, correct: NDArray[np.float64], size: int) -> Row:
    """Right and wrong clips as a row."""
    low, high = metrics.share_interval(correct)
    row: Row = {
        "system": name,
        "size": size,
        "correct": int(correct.sum()),
        "clips": len(correct),
        "low": low,
        "high": high,
    }
    print(f"{name}, {row['size']}: {row['correct']}", file=sys.stderr)
    return row


def embed(root: Path, model: Path, runtime: Runtime, sizes: tuple[int, ...]) -> Labelled:
    """Extract with all numbers, and join the labels."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "embeddings"
        extract(root, model, out, Settings(runtime=runtime, dim=sizes[-1]))
        return join_labels(EmbeddingTable.open(out), str(root / "meta.csv"))


def untrained(root: Path, sizes: tuple[int, ...]) -> Labelled:
    """The same network with random weights; its features are normalised as the trained one's."""
    trained = ExtractorModule.load()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        module = ExtractorModule(trained.config, trained.mean, trained.std).eval()
        module.save(folder)
        write_network(module, Path(folder))
        return embed(root, Path(folder), Runtime.ONNX, sizes)


def yamnet_vectors(data: Labelled, root: Path, model: Path) -> NDArray[np.float32]:
    """Clip means of YAMNet's vectors."""
    import yamnet

    yamnet.start(model)
    return np.array([yamnet.embed(root / clip)[1]["embedding"].mean(axis=0) for clip in data.clips])


def trained_there(root: Path, models: Path) -> Row:
    """Networks that were trained on the folds that the back-end is fitted on."""
    correct = []
    for fold in FOLDS:
        data = embed(root, models / f"fold{fold}", Runtime.ONNX, (256,))
        split = hold_out_fold(data, fold)
        correct.append(classify.evaluate(data, [split], Logistic(c=C)).correct)
    return row_of("gap, trained on ESC-10", np.concatenate(correct), 256)


def rows(root: Path, yamnet: Path | None, gap: Path | None) -> Iterator[Row]:
    """Score every system."""
    sizes = load_config(DEFAULT_MODEL).model.dims
    data = embed(root, DEFAULT_MODEL, Runtime.ONNX, sizes)
    for size in sizes:
        yield score("embedkit's own", data, size)
    small = embed(root, DEFAULT_MODEL, Runtime.ONNX_INT8, sizes)
    for size in sizes:
        yield score("the same in int8", small, size)
    yield score("the same, untrained", untrained(root, sizes), 256)
    yield score("MFCC", replace(data, vectors=mfcc_vectors(data, root)))
    if gap:
        yield trained_there(root, gap)
    if yamnet:
        yield score("YAMNet", replace(data, vectors=yamnet_vectors(data, root, yamnet)))


def speeds(root: Path) -> Iterator[Row]:
    """Seconds of audio a second, end to end, at every size."""
    for runtime in (Runtime.ONNX, Runtime.ONNX_INT8):
        for size in load_config(DEFAULT_MODEL).model.dims:
            found = measure_extraction(root, DEFAULT_MODEL, runtime=runtime, dim=size, seconds=0.5)
            print(f"{runtime}, {size}: {found.end_to_end:.0f}", file=sys.stderr)
            yield {"runtime": str(runtime), "size": size, "speed": found.end_to_end}


def picture(found: list[Row], timed: list[Row]) -> Figure:
    """Accuracy and speed over the bytes of an hour of audio."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    quality, speed = figure.subplots(1, 2)
    for name, style in (("embedkit's own", "o-"), ("the same in int8", "s--")):
        mine = [row for row in found if row["system"] == name]
        quality.plot(
            [row["size"] * MEGABYTE_AN_HOUR for row in mine],
            [100 * row["correct"] / row["clips"] for row in mine],
            style,
            label=name,
        )
    for row in found:
        if row["system"] not in {"embedkit's own", "the same in int8"}:
            place = row["size"] * MEGABYTE_AN_HOUR, 100 * row["correct"] / row["clips"]
            quality.plot(*place, "x", color="0.4")
            quality.annotate(
                str(row["system"]), place, textcoords="offset points", xytext=(0, -14), ha="center"
            )
    quality.set(ylabel="ESC-10 accuracy, %", title="Quality")
    quality.margins(0.12)
    quality.legend(loc="center right")
    for runtime, style in (("onnx", "o-"), ("onnx-int8", "s--")):
        mine = [row for row in timed if row["runtime"] == runtime]
        speed.plot(
            [row["size"] * MEGABYTE_AN_HOUR for row in mine],
            [row["speed"] for row in mine],
            style,
            label={"onnx": "float32", "onnx-int8": "int8"}[runtime],
        )
    speed.set(ylabel="seconds of audio a second", title="Speed, end to end")
    speed.set_ylim(0)
    speed.legend()
    for axes in (quality, speed):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("MB for an hour of audio")
        axes.set_xticks(
            [size * MEGABYTE_AN_HOUR for size in load_config(DEFAULT_MODEL).model.dims],
            [f"{size * MEGABYTE_AN_HOUR:.1f}" for size in load_config(DEFAULT_MODEL).model.dims],
        )
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("esc10", type=Path)
    parser.add_argument("--yamnet", type=Path)
    parser.add_argument("--gap", type=Path)
    parser.add_argument("--speed", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = list(rows(options.esc10, options.yamnet, options.gap))
    print("| vectors | numbers | MB an hour | right | accuracy |\n|---|---|---|---|---|")
    for row in found:
        print(
            f"| {row['system']} | {row['size']} | {row['size'] * MEGABYTE_AN_HOUR:.1f} |"
            f" {row['correct']} of {row['clips']} | {row['correct'] / row['clips']:.1%}"
            f" ({row['low']:.1%} to {row['high']:.1%}) |"
        )
    timed = list(speeds(options.speed)) if options.speed else []
    if timed:
        print(f"\n{processor_name()}\n\n| runtime | numbers | seconds of audio a second |")
        print("|---|---|---|")
        for row in timed:
            print(f"| {row['runtime']} | {row['size']} | {row['speed']:,.0f} |")
    if options.write:
        figures = {
            str(row["size"]): {"esc10_accuracy": row["correct"] / row["clips"]}
            for row in found
            if row["system"] == "embedkit's own"
        }
        with atomic_write(DEFAULT_MODEL / "figures.json") as file:
            file.write(json.dumps(figures, indent=2).encode() + b"\n")
        save_png(picture(found, timed), Path("docs/default_model.png"))


if __name__ == "__main__":
    main()
