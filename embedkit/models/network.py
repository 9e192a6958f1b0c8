"""What every network is: one half that makes the embedding, one that classifies it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from embedkit.config import ModelSpec


class Network(nn.Module):
    """Normalised features -> embedding -> one output per class.

    Attributes:
        embedding: [B, 1, frames, bands] -> [B, D].
        classifier: [B, D] -> [B, classes], before softmax or sigmoid.
        embedding_size: D.
    """

    def __init__(self, embedding: nn.Module, classifier: nn.Module, embedding_size: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.classifier = classifier
        self.embedding_size = embedding_size

    def forward(self, features: Tensor) -> Tensor:
        """Class outputs [B, classes] of features [B, 1, frames, bands]."""
        logits: Tensor = self.classifier(self.embedding(features))
        return logits


Build = Callable[[ModelSpec, tuple[int, int]], Network]
"""Makes a network from its spec and the shape of a segment's features (frames, bands)."""


def count_parameters(network: nn.Module) -> int:
    """How many numbers training learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, shape: tuple[int, int]) -> int:
    """Multiply-accumulates of one segment with features of `shape` (frames, bands)."""
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 1, *shape, device=device))
    return counter.get_total_flops() // 2
