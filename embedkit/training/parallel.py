"""Data-parallel training: torchrun starts one process for each device; they average gradients."""

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from embedkit.errors import UsageError
from embedkit.processes import end_with_parent

# One process computes the features and validates while the others wait.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together.

    Attributes:
        rank: of this process; 0 writes the model folder.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def wrap(self, network: nn.Module) -> nn.Module:
        """A network whose gradients are the mean over all processes.

        Batch normalisation's statistics are of each process's own share of a batch.
        """
        return DistributedDataParallel(network) if self.count > 1 else network

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch."""
        return batch.tensor_split(self.count)[self.rank]

    def sum(self, value: float) -> float:
        """The sum of every process's value."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return not distributed.is_torchelastic_launched() or os.environ["RANK"] == "0"


def join(device: str) -> tuple[Processes, str]:
    """Join the processes that torchrun started; without it, there is only this one.

    Returns:
        the processes, and the device of this one: `cuda` becomes its own GPU, the only one on which
            it opens a context.

    Raises:
        UsageError: several processes would share a GPU.
    """
    if not distributed.is_torchelastic_launched():
        return Processes(), device
    card = _own_card() if device == "cuda" else None
    if card is None and device.startswith("cuda") and int(os.environ["LOCAL_WORLD_SIZE"]) > 1:
        raise UsageError(
            f"device {device!r} for all processes that torchrun started here: --device cuda gives"
            " each of them a card of its own"
        )
    if not distributed.is_initialized():  # once in a process: a second group would find the first
        end_with_parent()  # torchrun, killed, would leave us training
        backend = "gloo"
        if device.startswith("cuda"):
            # First of all: whoever names no card means this one, and not the first of the machine.
            torch.cuda.set_device(card or device)
            # gloo also beside NCCL: sums of numbers that stand in main memory.
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, timeout=PATIENCE, device_id=card)
        atexit.register(distributed.destroy_process_group)
    return Processes(distributed.get_rank(), distributed.get_world_size()), str(card or device)


def _own_card() -> torch.device:
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= count:
        raise UsageError(
            f"torchrun started process {number + 1} here, and there are {count} cards: start"
            f" {count}, with --nproc-per-node {count}"
        )
    return torch.device("cuda", number)
