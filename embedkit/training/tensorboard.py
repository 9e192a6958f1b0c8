"""The figures of a training for TensorBoard, which is an extra of the installation."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def write_epoch(folder: Path, record: Mapping[str, float]) -> None:
    """Add the figures of an epoch to the event files in a model folder."""
    with SummaryWriter(str(folder / FOLDER)) as writer:
        for name, value in record.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(record["epoch"]))
