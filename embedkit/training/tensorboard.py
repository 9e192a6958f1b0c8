"""The figures of a training for TensorBoard, which is an extra of the installation."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from embedkit.pages.plots import axis_of

FOLDER = "tensorboard"


def write_record(folder: Path, record: Mapping[str, float]) -> None:
    """Add the figures of an epoch or a checkpoint to the event files in a model folder.

    Args:
        folder: the model folder.
        record: figures by name.
    """
    axis = axis_of(record)
    with SummaryWriter(str(folder / FOLDER)) as writer:
        for name, value in record.items():
            if name != axis:
                writer.add_scalar(name, value, int(record[axis]))
