"""The rows of the paper's tables: networks on front-ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from embedkit.config import FrontEnd
from embedkit.errors import UsageError, choices
from embedkit.models.build import build_model, count_macs
from embedkit.models.network import count_parameters
from embedkit.models.table import MODELS, resolve


@dataclass(frozen=True, kw_only=True)
class System:
    """A row of the table: a network on a front-end."""

    model: str
    front_end: FrontEnd = FrontEnd.LOG_MEL

    @property
    def name(self) -> str:
        """The network's name, with the front-end's where that is not log-mel."""
        log_mel = self.front_end is FrontEnd.LOG_MEL
        return self.model if log_mel else f"{self.model}, {self.front_end}"


def systems(
    models: Sequence[str] = (), front_ends: Sequence[str] = (), front_end_model: str = "gap"
) -> list[System]:
    """The rows of a table, the cheapest first, so that an interrupted run has most of them.

    Args:
        models: names of networks on log-mel; by default all.
        front_ends: names of other front-ends, for one network; by default all.
        front_end_model: that network.

    Returns:
        the rows.

    Raises:
        UsageError: there is no such model or front-end.
    """
    unknown = sorted(set(front_ends) - set(FrontEnd))
    if unknown:
        raise UsageError(f"no front-end {unknown[0]!r}{choices(unknown[0], FrontEnd)}")
    compared = set(map(FrontEnd, front_ends or FrontEnd))
    if compared - {FrontEnd.LOG_MEL}:
        compared.add(FrontEnd.LOG_MEL)  # what the others are compared with
    else:
        compared.clear()
    found = [
        *(System(model=name) for name in models or MODELS),
        *(System(model=front_end_model, front_end=kind) for kind in FrontEnd if kind in compared),
    ]
    return by_cost(list(dict.fromkeys(found)))


def by_cost(found: Sequence[System]) -> list[System]:
    """Systems sorted by the multiply-accumulates of a segment; equal ones stay in their order."""
    return sorted(found, key=lambda system: count_macs(resolve(system.model)))


def parameters_at_527(model: str) -> int:
    """Parameters with the paper's 527 outputs, as in its tables."""
    with torch.device("meta"):
        return count_parameters(build_model(resolve(model)))
