"""Runs a network by torch, on any device that it knows."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.memory import Fitting
from embedkit.models.module import ExtractorModule, check_device
from embedkit.models.precision import full_float32
from embedkit.runtime.embedder import Embedder, Runtime

PRECISIONS = {Runtime.TORCH_BF16: torch.bfloat16, Runtime.TORCH_FP16: torch.float16}


def torch_embedder(
    model: Path, runtime: Runtime, device: str, size: int, threads: int | None
) -> Embedder:
    """Load a model folder.

    Args:
        model: the folder.
        runtime: one of torch's.
        device: where torch computes.
        size: size of the embedding.
        threads: threads that torch may use in this process; None: as many as it likes.

    Returns:
        the embedder.

    Raises:
        UsageError: there is no such device or size.
        ModelFolderError: it is not a model folder, or damaged.
    """
    check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    module = ExtractorModule.load(model, device, dim=size)
    return module if runtime is Runtime.TORCH else _Autocast(module, PRECISIONS[runtime])


def count_cards() -> int:
    """The number of CUDA devices that torch finds; opens no context."""
    return torch.cuda.device_count()


class _Autocast:
    """A network whose products torch computes in 16 bits; its features stay in float32."""

    def __init__(self, module: ExtractorModule, precision: torch.dtype) -> None:
        self._module = module
        self._precision = precision
        self._fitting = Fitting()

    def embed_segments(self, segments: Samples) -> NDArray[np.float32]:
        return self._fitting.run(self._embed, segments)

    @torch.inference_mode()
    @full_float32()
    def _embed(self, segments: Samples) -> NDArray[np.float32]:
        module = self._module
        device = module.mean.device
        features = module.normalise(module.front_end(torch.from_numpy(segments).to(device)))
        with torch.autocast(device.type, self._precision):
            embeddings = module.network.embedding(features)
        vectors: NDArray[np.float32] = embeddings.float().cpu().numpy()
        return vectors[:, : module.embedding_size]
