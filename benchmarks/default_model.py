r"""What embedkit's own models are worth: ESC-10 by size of the vectors, and its speed.

    python benchmarks/default_model.py ESC10 [--yamnet yamnet.tflite] [--gap DIR]
        [--teacher extractor.toml] [--speed AUDIO_DIR] [--write]

ESC10 holds meta.csv (path,fold,label) and the audio that it names. Every system is scored alike:
logistic regression (standardised clip means, C = 0.1) fitted on four folds and scored on the fifth,
all five in turn. The peers are the same network with random weights, 20 MFCC (mean and deviation,
librosa), with its file (see yamnet.py) the 1,024 numbers of YAMNet, with its `extractor.toml` the
model's teacher, and with --gap networks that were trained on ESC-10 itself, each on four folds: the
folders fold1 to fold5 of

    embedkit train ESC10/meta.csv --model gap --hold-out-fold 1 --epochs 8 --batch-size 32 \
        --schedule one-cycle --learning-rate 3e-4 --out gap/fold1     # and so on

"Named" are clips without any training: right is a clip if of the names below, those of its class
have the likeliest one. The teacher hears whole clips for that, and single seconds for its vectors.
The last column is what features and network cost alone, on one core: seconds of sound a second, of
samples that lie in memory at the rate that each takes, in batches of 8 (YAMNet: 1), whatever the
size.

With --speed a folder of audio is extracted at every size, from its files; --write puts figures.json
into the package and the picture into docs/.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.atomic import atomic_write
from embedkit.audio.decode import decode
from embedkit.bench.extraction import measure_extraction, processor_name
from embedkit.checkpoint import load_config
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import hold_out_fold
from embedkit.config import DEFAULT_MODEL, FAST_MODEL
from embedkit.export import write_network
from embedkit.extraction import Settings, extract
from embedkit.labels.join import Labelled, join_labels
from embedkit.models.module import ExtractorModule
from embedkit.names.bundled import NAMES, named_sizes
from embedkit.pages.plots import save_png
from embedkit.runtime import Runtime, prepare
from embedkit.runtime.foreign import open_foreign
from embedkit.store import EmbeddingTable
from esc10 import mfcc_vectors

FOLDS = ("1", "2", "3", "4", "5")
# The names of AudioSet that anyone would take for those of ESC-10's classes.
OBVIOUS = {
    "baby_cry": ("Baby cry, infant cry",),
    "chainsaw": ("Chainsaw",),
    "clock_tick": ("Tick", "Tick-tock", "Clock"),
    "dog_bark": ("Dog", "Bark"),
    "fire_crackling": ("Fire", "Crackle"),
    "helicopter": ("Helicopter",),
    "person_sneeze": ("Sneeze",),
    "rain": ("Rain", "Raindrop", "Rain on surface"),
    "rooster": ("Chicken, rooster", "Crowing, cock-a-doodle-doo"),
    "sea_waves": ("Waves, surf", "Ocean"),
}
C = 0.1
TIMED_S, ROUNDS = 1.0, 7
OWN, INT8, FAST = "embedkit's own", "the same in int8", "the fast model"
TEACHER, YAMNET = "its teacher", "YAMNet"
OURS = (
    (OWN, DEFAULT_MODEL, Runtime.ONNX),
    (INT8, DEFAULT_MODEL, Runtime.ONNX_INT8),
    (FAST, FAST_MODEL, Runtime.ONNX),
)
MEGABYTE_AN_HOUR = 4 * 3600 / 1e6  # of one float32 number a second

Row = dict[str, str | int | float]


def score(name: str, data: Labelled, size: int | None = None, **more: float) -> Row:
    """Five folds on the first `size` numbers of each vector; `more` goes into the row."""
    data = replace(data, vectors=data.vectors[:, :size])
    correct = classify.evaluate(
        data, [hold_out_fold(data, fold) for fold in FOLDS], Logistic(c=C)
    ).correct
    return {**row_of(name, correct, data.vectors.shape[1]), **more}


def own(name: str, model: Path, data: Labelled, size: int) -> Row:
    """One of our own models at a size: by labels, and by its names, if it has some of that size."""
    if size not in named_sizes(model):
        return score(name, data, size)
    names = Classifier.load(model / NAMES / str(size))
    named = count_named(names.scores(data.vectors[:, :size]), names.labels, data)
    return score(name, data, size, named=named)


def count_named(scores: NDArray[np.floating], labels: tuple[str, ...], data: Labelled) -> int:
    """How many clips have the likeliest name among those of their class, of scores [n, labels]."""
    classes = [[labels.index(name) for name in OBVIOUS[label]] for label in data.labels]
    likeliest = np.stack([scores[:, names].max(axis=1) for names in classes], axis=1).argmax(axis=1)
    return int((likeliest == data.classes).sum())


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


def costs(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of sound a second on one core, by system: medians of rounds of all in turn."""
    rng = np.random.default_rng(0)
    second = rng.uniform(-0.1, 0.1, (8, 16000)).astype(np.float32)
    systems: dict[str, tuple[Callable[[NDArray[np.float32]], Any], NDArray[np.float32]]] = {}
    for name, model, runtime in OURS:
        embedder = prepare(model, runtime=runtime).start(threads=1)
        systems[name] = embedder.embed_segments, second
    if options.yamnet:
        import yamnet

        yamnet.start(options.yamnet)
        systems[YAMNET] = (lambda one: yamnet.hear(one[0])), second[:1]
    if options.teacher:
        teacher = open_foreign(options.teacher, threads=1)
        rate = teacher.description.sample_rate
        systems[TEACHER] = teacher.hear, rng.uniform(-0.1, 0.1, (8, rate)).astype(np.float32)
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, (hear, sounds) in systems.items():
            count, start = 0, time.perf_counter()
            while time.perf_counter() - start < TIMED_S:
                hear(sounds)
                count += len(sounds)
            found[name].append(count / (time.perf_counter() - start))
    return {name: float(np.median(speeds)) for name, speeds in found.items()}


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


def of_yamnet(data: Labelled, root: Path, model: Path) -> Row:
    """Clip means of YAMNet's vectors."""
    import yamnet

    yamnet.start(model)
    vectors = [yamnet.embed(root / clip)[1]["embedding"].mean(axis=0) for clip in data.clips]
    return score(YAMNET, replace(data, vectors=np.array(vectors)))


def of_teacher(data: Labelled, root: Path, description: Path) -> Row:
    """Clip means of the teacher's vectors of seconds, and its names for whole clips."""
    teacher = open_foreign(description, threads=1)
    rate = teacher.description.sample_rate
    vectors, logits = [], []
    for clip in data.clips:
        sound = np.concatenate(list(decode(root / clip, rate)))
        seconds = np.pad(sound, (0, -len(sound) % rate)).reshape(-1, rate)
        vectors.append(teacher.hear(seconds)[0].mean(axis=0))
        logits.append(teacher.hear(sound[None])[1][0])
    named = count_named(np.array(logits), teacher.labels, data)
    return score(TEACHER, replace(data, vectors=np.array(vectors)), named=named)


def trained_there(root: Path, models: Path) -> Row:
    """Networks that were trained on the folds that the back-end is fitted on."""
    correct = []
    for fold in FOLDS:
        data = embed(root, models / f"fold{fold}", Runtime.ONNX, (256,))
        split = hold_out_fold(data, fold)
        correct.append(classify.evaluate(data, [split], Logistic(c=C)).correct)
    return row_of("gap, trained on ESC-10", np.concatenate(correct), 256)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Score every system."""
    root, sizes = options.esc10, load_config(DEFAULT_MODEL).model.dims
    data = embed(root, DEFAULT_MODEL, Runtime.ONNX, sizes)
    for name, model, runtime in OURS:
        ours = embed(root, model, runtime, sizes)
        for size in sizes:
            yield own(name, model, ours, size)
    yield score("the same, untrained", untrained(root, sizes), 256)
    yield score("MFCC", replace(data, vectors=mfcc_vectors(data, root)))
    if options.gap:
        yield trained_there(root, options.gap)
    if options.yamnet:
        yield of_yamnet(data, root, options.yamnet)
    if options.teacher:
        yield of_teacher(data, root, options.teacher)


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
    for name, style in ((OWN, "o-"), (INT8, "s--"), (FAST, "^:")):
        mine = [row for row in found if row["system"] == name]
        quality.plot(
            [row["size"] * MEGABYTE_AN_HOUR for row in mine],
            [100 * row["correct"] / row["clips"] for row in mine],
            style,
            label=name,
        )
    for row in found:
        if row["system"] not in {OWN, INT8, FAST}:
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
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--gap", type=Path)
    parser.add_argument("--speed", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = list(rows(options))
    speed = costs(options)
    print(f"{processor_name()}\n")
    print("| vectors | numbers | MB an hour | right | accuracy | named | on one core |")
    print("|---|---|---|---|---|---|---|")
    for row in found:
        named = f"{row['named']}, {row['named'] / row['clips']:.1%}" if "named" in row else ""
        print(
            f"| {row['system']} | {row['size']} | {row['size'] * MEGABYTE_AN_HOUR:.1f} |"
            f" {row['correct']} of {row['clips']} | {row['correct'] / row['clips']:.1%}"
            f" ({row['low']:.1%} to {row['high']:.1%}) | {named} |"
            f" {format(speed[row['system']], ',.0f') if row['system'] in speed else ''} |"
        )
    timed = list(speeds(options.speed)) if options.speed else []
    if timed:
        print("\n| runtime | numbers | seconds of audio a second |")
        print("|---|---|---|")
        for row in timed:
            print(f"| {row['runtime']} | {row['size']} | {row['speed']:,.0f} |")
    if options.write:
        for name, model in ((OWN, DEFAULT_MODEL), (FAST, FAST_MODEL)):
            figures = {
                str(row["size"]): {"esc10_accuracy": row["correct"] / row["clips"]}
                for row in found
                if row["system"] == name
            }
            with atomic_write(model / "figures.json") as file:
                file.write(json.dumps(figures, indent=2).encode() + b"\n")
        save_png(picture(found, timed), Path("docs/default_model.png"))


if __name__ == "__main__":
    main()
