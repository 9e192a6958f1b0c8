"""The parts of every network: one makes the embedding, and heads classify it."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from embedkit.config import ModelSpec
from embedkit.models.table import choose_size

Layers = list[tuple[str, nn.Module]]


class Network(nn.Module):
    """Normalised features -> embedding -> one output per class.

    Most networks have one head, on the whole embedding. A Matryoshka network has one for each
    prefix that is an embedding of its own.

    Attributes:
        embedding: [B, 1, frames, bands] -> [B, D].
        heads: by the length d of the prefix, ascending to D: [B, d] -> [B, classes], before
            softmax or sigmoid.
    """

    def __init__(self, embedding: nn.Module, heads: Mapping[int, nn.Module]) -> None:
        super().__init__()
        self.embedding = embedding
        self.heads = nn.ModuleDict({str(size): head for size, head in sorted(heads.items())})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the prefixes that are embeddings, ascending."""
        return tuple(int(size) for size in self.heads)

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.sizes[-1]

    def size(self, dim: int | None) -> int:
        """The size that is asked for, or D; raises as `choose_size` does."""
        return choose_size(self.sizes, dim)

    def classify(self, embedding: Tensor) -> Tensor:
        """Class outputs [B, classes] of embeddings [B, d], d one of `sizes`."""
        logits: Tensor = self.heads[str(embedding.shape[1])](embedding)
        return logits

    def forward(self, features: Tensor) -> list[Tensor]:
        """Class outputs [B, classes] by each head of features [B, 1, frames, bands]."""
        embedding: Tensor = self.embedding(features)
        return [self.classify(embedding[:, :size]) for size in self.sizes]


Build = Callable[[ModelSpec, tuple[int, int]], Network]
"""Makes a network from its spec and the shape of a segment's features (frames, bands)."""


def sequence(layers: Layers) -> nn.Sequential:
    """Layers one after the other, by their names."""
    return nn.Sequential(OrderedDict(layers))


def output(inputs: int, spec: ModelSpec) -> Layers:
    """The output layer and the dropout before it.

    Args:
        inputs: number of its inputs.
        spec: classes and dropout.

    Returns:
        the layers with their names.
    """
    return [
        ("output_dropout", nn.Dropout(spec.dropout)),
        ("output", nn.Linear(inputs, spec.classes)),
    ]


def free_size(spec: ModelSpec) -> int:
    """The size of the embedding, for a family that leaves it free."""
    assert spec.dim is not None  # build_model has checked it
    return spec.dim


def output_heads(spec: ModelSpec) -> dict[int, nn.Module]:
    """An output layer on each prefix of the embedding that is an embedding of its own."""
    return {size: sequence(output(size, spec)) for size in spec.dims or (free_size(spec),)}


def count_parameters(network: nn.Module) -> int:
    """The number of parameters that training learns."""
    return sum(parameter.numel() for parameter in network.parameters())
