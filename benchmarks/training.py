"""Training from the memory-mapped feature cache beside the bare step.

    python benchmarks/training.py [--models mlp gap-lite gap] [--segments 201750] [--steps 40]

The cache holds noise, by default as many segments as AudioSet's balanced training set (5.2 GB), in
shards as `embedkit train` writes them, and its pages are dropped from memory first. Five steps in a
row that draw their batch from it, the next one read ahead as in training, alternate with five whose
batch is in memory already.
"""

import argparse
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.checkpoint import ModelConfig
from embedkit.config import Activation, FeatureSpec, SegmentSpec, TrainSpec
from embedkit.models.module import ExtractorModule
from embedkit.models.table import FAMILIES, resolve
from embedkit.training.features import SHARDS, Features
from embedkit.training.objective import Classification
from embedkit.training.parallel import Processes
from embedkit.training.trainer import Trainer

SHAPE = (1, 101, 64)
BLOCK = 5  # steps in a row


class InMemory(Features):
    """Features whose every batch is the same, there already."""

    def __init__(self, features: Features, batch: NDArray[np.float32]) -> None:
        """Take the clips of `features`, and one batch of values."""
        vars(self).update(vars(features))
        self._batch = batch

    def rows(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """The batch."""
        return self._batch[: len(segments)]


def write_cache(folder: Path, segments: int) -> Features:
    """Noise in shards, none of its pages in memory."""
    rng = np.random.default_rng(0)
    counts = [len(part) for part in np.array_split(np.arange(segments), SHARDS)]
    shards = []
    for number, count in enumerate(counts):
        path = folder / f"{number}.f32"
        with path.open("wb") as file:
            rng.standard_normal((count, *SHAPE), np.float32).tofile(file)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        shards.append(np.memmap(path, np.float32, "r", shape=(count, *SHAPE)))
    return Features(
        shards=shards,
        shard=np.repeat(np.arange(SHARDS), counts),
        row=np.concatenate([np.arange(count) for count in counts]),
        clip=np.arange(segments) // 10,
        seconds=np.ones(segments),
        failures=[],
    )


def measure(name: str, features: Features, steps: int, folder: Path) -> tuple[float, float]:
    """Segments a second from the cache, and bare."""
    model = resolve(name)
    spec = TrainSpec(weight_decay=FAMILIES[model.name].weight_decay)
    config = ModelConfig(
        model=model,
        features=FeatureSpec(),
        segments=SegmentSpec(),
        training=spec,
        activation=Activation.SIGMOID,
        labels=tuple(map(str, range(model.classes))),
    )
    torch.manual_seed(0)
    extractor = ExtractorModule(config, torch.zeros(64), torch.ones(64)).train()
    targets = np.random.default_rng(0).random((int(features.clip[-1]) + 1, model.classes)) < 0.01
    wanted = [targets.astype(np.float32)] * 2
    bare = InMemory(features, features.rows(np.arange(spec.batch_size)))
    trainer = Trainer(
        extractor,
        Classification([features, features], wanted, config.activation),
        folder,
        Processes(),
    )
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for block in range(2 * steps // BLOCK):
        cached = block % 2 == 0
        trainer.training = features if cached else bare
        order = torch.randperm(len(features))[: (BLOCK + 2) * spec.batch_size]
        batches = order.split(spec.batch_size)
        for number, (batch, after) in enumerate(pairwise(batches)):
            started = time.perf_counter()
            if cached:
                features.prefetch(after.numpy())
            trainer.step(batch)
            if number:  # nothing was read ahead for the first
                seconds[cached].append(time.perf_counter() - started)
    return tuple(spec.batch_size / statistics.median(seconds[key]) for key in (True, False))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "gap-lite", "gap"])
    parser.add_argument("--segments", type=int, default=201_750)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        features = write_cache(Path(name), options.segments)
        print("| model | segments/s from the cache | bare | ratio |\n|---|---|---|---|")
        for model in options.models:
            cached, bare = measure(model, features, options.steps, Path(name))
            print(f"| {model} | {cached:.0f} | {bare:.0f} | {cached / bare:.3f} |")


if __name__ == "__main__":
    main()
