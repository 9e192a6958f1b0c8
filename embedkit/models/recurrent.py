"""Recurrent networks over the frames of a segment (Table 1)."""

import torch
from torch import Tensor, nn

from embedkit.config import ModelSpec
from embedkit.models.network import Network, output, sequence

UNITS = 2048  # of a layer, in each direction
CONTEXT = 1024  # of the attention


def lstm(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """LSTM: three layers; the embedding is the last layer's state after the last frame (2048).

    Args:
        spec: classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    return Network(LSTM(shape[1]), {UNITS: sequence(output(UNITS, spec))})


def bidirectional_gru_attention(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """B-GRU-ATT: two bidirectional layers; the embedding is attention's weighted sum (4096).

    Args:
        spec: classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    return Network(
        BidirectionalGRUAttention(shape[1]), {2 * UNITS: sequence(output(2 * UNITS, spec))}
    )


class LSTM(nn.Module):
    """Frames -> the last state of a stack of LSTM layers."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(bands, UNITS, num_layers=3, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings [B, 2048] of features [B, 1, frames, bands]."""
        states: Tensor = self.lstm(features.squeeze(1))[0]
        return states[:, -1]


class BidirectionalGRUAttention(nn.Module):
    """Frames -> states of both directions -> their sum, weighted by attention.

    A frame's weight is the softmax over frames of c . tanh(W h + b), with h its state [4096], W and
    b to the context size of 1024, and c the context vector (Yang et al., 2016).
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.gru = nn.GRU(bands, UNITS, num_layers=2, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * UNITS, CONTEXT)
        self.context = nn.Parameter(torch.empty(CONTEXT).uniform_(-1, 1) / CONTEXT**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings [B, 4096] of features [B, 1, frames, bands]."""
        states: Tensor = self.gru(features.squeeze(1))[0]
        weights = (self.attention(states).tanh() @ self.context).softmax(dim=1)
        return torch.einsum("bt,bth->bh", weights, states)
