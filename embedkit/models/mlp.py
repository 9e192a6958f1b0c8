"""MLP: three hidden layers on the flattened features (Table 1)."""

from torch import nn

from embedkit.config import ModelSpec
from embedkit.models.network import Layers, Network, output, sequence

UNITS = 1000
HIDDEN = 3


def mlp(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """MLP; its embedding is the last hidden layer's output (1000).

    The paper prints 9.48M parameters. Three layers of 1000 on 101 x 64 features with 527 outputs,
    as it describes them, have 9.00M. Dropout acts before every layer except the first: with half of
    the features missing it would be another experiment.

    Args:
        spec: classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    layers: Layers = [("flatten", nn.Flatten())]
    inputs = shape[0] * shape[1]
    for number in range(1, HIDDEN + 1):
        if number > 1:
            layers.append((f"fc{number}_dropout", nn.Dropout(spec.dropout)))
        layers += _hidden(number, inputs)
        inputs = UNITS
    return Network(sequence(layers), {UNITS: sequence(output(UNITS, spec))})


def _hidden(number: int, inputs: int) -> Layers:
    return [
        (f"fc{number}", nn.Linear(inputs, UNITS)),
        (f"fc{number}_bn", nn.BatchNorm1d(UNITS)),
        (f"fc{number}_relu", nn.ReLU()),
    ]
