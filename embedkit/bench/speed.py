"""How many segments a second a network learns from, and embeds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.optim import Adam

from embedkit.config import ModelSpec, Precision
from embedkit.models.build import build_model

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Segments a second, from features on; the median of three, after one that does not count."""

    training: float
    inference: float


def measure_speed(
    spec: ModelSpec,
    shape: tuple[int, int],
    batch_size: int,
    device: str = "cpu",
    precision: Precision = Precision.FLOAT32,
) -> Speed:
    """Time steps of training and batches of inference on noise.

    Args:
        spec: the network.
        shape: frames and bands of the features.
        batch_size: segments in a batch.
        device: where torch computes.
        precision: the numbers of the products while training; inference is in float32.

    Returns:
        segments a second.
    """
    network = build_model(spec, shape).to(device).to(memory_format=torch.channels_last)
    features = torch.randn(batch_size, 1, *shape, device=device)
    wanted = torch.randint(spec.classes, (batch_size,), device=device)
    optimizer = Adam(network.parameters(), lr=1e-4, fused=True)

    def learn() -> None:
        with torch.autocast(
            features.device.type, torch.bfloat16, enabled=precision is Precision.BFLOAT16
        ):
            logits = network(features)[-1]
        loss = F.cross_entropy(logits.float(), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.inference_mode()
    def embed() -> None:
        network.embedding(features)

    network.train()
    training = batch_size / _median_seconds(learn, device)
    network.eval()
    return Speed(training=training, inference=batch_size / _median_seconds(embed, device))


def _median_seconds(work: Callable[[], None], device: str) -> float:
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
