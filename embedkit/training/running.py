"""Settings of a training that do not change what is learned."""

from pathlib import Path
from typing import TypedDict

from embedkit.progress import Track


class Running(TypedDict, total=False):
    """How a training runs; the trained model does not depend on it.

    Attributes:
        cache: folder of a feature cache to use and to keep; by default a cache is made and removed
            when the training ends.
        workers: number of processes that compute features; by default one.
        device: where torch computes; by default the CPU.
        resume: continue an interrupted training with the same settings.
        export: give the finished folder a network for ONNX Runtime; by default yes.
        tensorboard: also write the figures of each epoch for TensorBoard, into the model folder.
        track: shows the progress.
    """

    cache: Path | None
    workers: int
    device: str
    resume: bool
    export: bool
    tensorboard: bool
    track: Track
