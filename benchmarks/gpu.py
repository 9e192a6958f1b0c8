"""What a GPU does: training and extraction in segments a second, beside one line of plain torch.

    python benchmarks/gpu.py [--device cuda] [--seconds 5] [--most 600]

Every figure is of one card, from memory: nothing is decoded. A step of training has its batch of
features (101 frames of 64 bands) in memory, as from a warm cache; extraction goes from samples to
vectors, by what `embedkit extract` starts on a card. Plain torch is the network alone on a batch
that is on the card already: for training `F.cross_entropy(network(x)[-1], y).backward()` and Adam's
step, in the same precision; for extraction `network.embedding(features)` in float32 as torch has it
by default, TF32 included. Both take turns, and the ratio is of medians.

The models have random weights. `--most` stops before another row once so many seconds are over, and
names what is left out. On a card ONNX Runtime needs `embedkit[gpu]`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim import Adam

from embedkit.bench.extraction import processor_name
from embedkit.checkpoint import ModelConfig
from embedkit.config import Activation, FeatureSpec, Precision, SegmentSpec, TrainSpec
from embedkit.errors import EmbedkitError, UsageError
from embedkit.export import write_network
from embedkit.models.module import ExtractorModule, check_device
from embedkit.models.table import FAMILIES, resolve
from embedkit.runtime import Runtime, prepare
from embedkit.training.features import Features
from embedkit.training.objective import Classification
from embedkit.training.parallel import Processes
from embedkit.training.trainer import Trainer

MODELS = ("gap", "gap-lite", "alexnet-bn")
RUNTIMES = (Runtime.TORCH, Runtime.TORCH_BF16, Runtime.TORCH_FP16, Runtime.ONNX)
SHAPE = (1, 101, 64)
WARM_UP, TURN_S = 3, 0.5  # steps; seconds until the other one's turn

Work = Callable[[], None]


class Bench:
    """Times what a device does."""

    def __init__(self, device: str, seconds: float) -> None:
        """`seconds` for each of two that are compared."""
        self.device, self._seconds = device, seconds

    def compare(self, ours: Work, plain: Work) -> tuple[float, float]:
        """Median seconds of a step of both, by turns."""
        taken: dict[Work, list[float]] = {ours: [], plain: []}
        for work in taken:
            for _ in range(WARM_UP):
                self._step(work)
        end = time.monotonic() + 2 * self._seconds
        while time.monotonic() < end or not all(taken.values()):
            for work, steps in taken.items():
                turn = time.monotonic() + TURN_S
                while not steps or time.monotonic() < turn:
                    steps.append(self._step(work))
        return statistics.median(taken[ours]), statistics.median(taken[plain])

    def _step(self, work: Work) -> float:
        started = time.perf_counter()
        work()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)  # it comes back before the card is done
        return time.perf_counter() - started


def make_module(name: str, precision: Precision, batch_size: int) -> ExtractorModule:
    """An extractor with random weights, on the CPU."""
    model = resolve(name)
    spec = TrainSpec(
        weight_decay=FAMILIES[model.name].weight_decay, precision=precision, batch_size=batch_size
    )
    config = ModelConfig(
        model=model,
        features=FeatureSpec(),
        segments=SegmentSpec(),
        training=spec,
        activation=Activation.SOFTMAX,
        labels=tuple(map(str, range(model.classes))),
    )
    torch.manual_seed(0)
    return ExtractorModule(config, torch.zeros(64), torch.ones(64))


def training(
    bench: Bench, name: str, precision: Precision, batch_size: int, folder: Path
) -> tuple[float, float]:
    """Seconds of a step by the trainer of `embedkit train`, and by plain torch."""
    module = make_module(name, precision, batch_size).to(bench.device).train()
    values = np.random.default_rng(0).standard_normal((2 * batch_size, *SHAPE), np.float32)
    features = Features(
        shards=[values],
        shard=np.zeros(len(values), np.int64),
        row=np.arange(len(values)),
        clip=np.arange(len(values)),
        seconds=np.ones(len(values)),
        failures=[],
    )
    classes = module.config.model.classes
    wanted = [np.eye(classes, dtype=np.float32)[np.arange(len(values)) % classes]] * 2
    goal = Classification([features, features], wanted, Activation.SOFTMAX)
    trainer = Trainer(module, goal, folder, Processes())
    batch = torch.arange(batch_size)

    network = make_module(name, precision, batch_size).to(bench.device).train().network
    optimizer = Adam(network.parameters(), lr=1e-4)
    there = torch.from_numpy(values[:batch_size]).to(bench.device)
    classes_there = torch.arange(batch_size, device=bench.device) % classes
    low = precision is Precision.BFLOAT16

    def plain() -> None:
        with torch.autocast(there.device.type, torch.bfloat16, enabled=low):
            loss = F.cross_entropy(network(there)[-1], classes_there)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return bench.compare(lambda: _ignore(trainer.step(batch)), plain)


def extraction(bench: Bench, model: Path, runtime: Runtime, batch_size: int) -> tuple[float, float]:
    """Seconds of a batch by a runtime, and of the network alone by plain torch."""
    program = prepare(model, runtime=runtime, device=bench.device)
    given = program.front_end()(
        0.1 * np.random.default_rng(0).standard_normal((batch_size, 16000)).astype(np.float32)
    )
    embed = program.start_network()
    module = ExtractorModule.load(model, bench.device)
    features = torch.randn(batch_size, *SHAPE, device=bench.device)

    @torch.inference_mode()
    def plain() -> None:
        module.network.embedding(features)

    return bench.compare(lambda: _ignore(embed(given)), plain)


def _ignore(result: object) -> None:
    """What is timed gives nothing."""


@dataclass(frozen=True)
class Row:
    """What a row is about, and what measures seconds of a batch, ours and plain torch's."""

    network: str
    what: str
    batch: int
    measure: Callable[[], tuple[float, float]]


def rows(options: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """All that there is to measure."""
    bench = Bench(options.device, options.seconds)
    for name in options.models:
        size = options.train_batch
        for precision in Precision:
            measure = partial(training, bench, name, precision, size, scratch)
            yield Row(name, f"training, {precision}", size, measure)
        folder = scratch / name
        module = make_module(name, Precision.FLOAT32, size).eval()
        module.save(folder)
        write_network(module, folder)
        size = options.embed_batch
        for runtime in RUNTIMES:
            measure = partial(extraction, bench, folder, runtime, size)
            yield Row(name, f"extraction, {runtime}", size, measure)


def card_name(device: str) -> str:
    """What the device is called."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{processor_name()}, torch {torch.__version__}"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each of a row's two sides")
    parser.add_argument("--most", type=float, default=600.0, help="seconds for all rows")
    parser.add_argument("--train-batch", type=int, default=256)
    parser.add_argument("--embed-batch", type=int, default=256)
    options = parser.parse_args()
    try:
        check_device(options.device)
    except UsageError as error:
        parser.error(str(error))
    print(f"{card_name(options.device)}\n")
    print("| network | what | batch | segments/s | plain torch | ratio |")
    print("|---|---|---|---|---|---|")
    end = time.monotonic() + options.most
    left_out = []
    with tempfile.TemporaryDirectory() as name:
        for row in rows(options, Path(name)):
            if time.monotonic() > end:
                left_out.append(f"{row.network}, {row.what}: no time")
                continue
            try:
                ours, plain = row.measure()
            except EmbedkitError as error:  # ONNX Runtime for CPUs; too little memory
                left_out.append(f"{row.network}, {row.what}: {error}")
                continue
            print(
                f"| {row.network} | {row.what} | {row.batch} | {row.batch / ours:,.0f} |"
                f" {row.batch / plain:,.0f} | {plain / ours:.2f} |",
                flush=True,
            )
    for what in left_out:
        print(f"\nleft out: {what}")


if __name__ == "__main__":
    main()
