"""AlexNet for log-mel segments, and the paper's strategies to make it small (Table 2)."""

import torch
from torch import nn

from embedkit.config import ModelSpec
from embedkit.models.network import Layers, Network, free_size, output, output_heads, sequence

FULL = 3982  # units of the full-width FC layers
MAPS = (64, 192, 384, 256, 256)  # of each convolution


def alexnet(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """AlexNet without batch normalisation; its embedding is the last FC layer's output (3982).

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    return _fully_connected(spec, shape, width=FULL, normalised=False)


def alexnet_bn(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """AlexNet(BN): batch normalisation after every convolution and FC layer.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    return _fully_connected(spec, shape, width=FULL, normalised=True)


def small_fc(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """FC-D: AlexNet(BN) whose two FC layers both have D units.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    return _fully_connected(spec, shape, width=free_size(spec), normalised=True)


def bottleneck_final(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """Bneck-Final-D: a linear layer of D units between the last FC layer and the output.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    dim = free_size(spec)
    trunk, flat = _trunk(shape)
    embedding = [
        *trunk,
        *_fc(1, flat, FULL, spec.dropout),
        *_fc(2, FULL, FULL, spec.dropout),
        ("bottleneck", nn.Linear(FULL, dim)),
    ]
    return Network(sequence(embedding), output_heads(spec))


def bottleneck_mid(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """Bneck-Mid-D: a linear layer of D units between the two FC layers.

    Each prefix that is an embedding of its own has a second FC layer and an output of its own.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    dim = free_size(spec)
    trunk, flat = _trunk(shape)
    embedding = [
        *trunk,
        *_fc(1, flat, FULL, spec.dropout),
        ("bottleneck", nn.Linear(FULL, dim)),
    ]
    heads = {
        size: sequence([*_fc(2, size, FULL, spec.dropout), *output(FULL, spec)])
        for size in spec.dims or (dim,)
    }
    return Network(sequence(embedding), heads)


def global_average_pooling(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """Global-avg-pool: the mean of each map after the last max-pool replaces both FC layers.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    dim = free_size(spec)
    trunk, _ = _trunk(shape, last=dim)
    trunk[-1] = ("pool", nn.AdaptiveAvgPool2d(1))
    return Network(sequence([*trunk, ("flatten", nn.Flatten())]), output_heads(spec))


def _fully_connected(
    spec: ModelSpec, shape: tuple[int, int], *, width: int, normalised: bool
) -> Network:
    trunk, flat = _trunk(shape, normalised=normalised)
    embedding = [
        *trunk,
        *_fc(1, flat, width, spec.dropout, normalised),
        *_fc(2, width, width, spec.dropout, normalised),
    ]
    return Network(sequence(embedding), {width: sequence(output(width, spec))})


def _trunk(
    shape: tuple[int, int], *, last: int | None = None, normalised: bool = True
) -> tuple[Layers, int]:
    """The convolutions and the flattening after them; the flattened size (8960 for 101 x 64)."""
    first, second, third, fourth, fifth = MAPS
    layers: Layers = [
        *_conv(1, 1, first, (11, 7), normalised, stride=(2, 1)),
        ("pool1", nn.MaxPool2d(3, 2)),
        *_conv(2, first, second, (5, 5), normalised),
        ("pool2", nn.MaxPool2d(3, 2)),
        *_conv(3, second, third, (3, 3), normalised),
        *_conv(4, third, fourth, (3, 3), normalised),
        *_conv(5, fourth, last or fifth, (3, 3), normalised),
        ("pool5", nn.MaxPool2d(3, 2)),
        ("flatten", nn.Flatten()),
    ]
    probe = sequence(layers).eval()  # a batch of one has no variance to normalise by
    with torch.inference_mode():
        flat = int(probe(torch.zeros(1, 1, *shape)).shape[1])
    probe.train()
    return layers, flat


def _conv(
    number: int,
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    normalised: bool,
    stride: tuple[int, int] = (1, 1),
) -> Layers:
    # 11 x 7 with stride 2 x 1 is padded by 2 x 3 (time x mel), every other one to keep its size.
    padding = (2, 3) if number == 1 else (kernel[0] // 2, kernel[1] // 2)
    layers: Layers = [(f"conv{number}", nn.Conv2d(inputs, outputs, kernel, stride, padding))]
    if normalised:
        layers.append((f"conv{number}_bn", nn.BatchNorm2d(outputs)))
    return [*layers, (f"conv{number}_relu", nn.ReLU())]


def _fc(number: int, inputs: int, outputs: int, dropout: float, normalised: bool = True) -> Layers:
    layers: Layers = [
        (f"fc{number}_dropout", nn.Dropout(dropout)),
        (f"fc{number}", nn.Linear(inputs, outputs)),
    ]
    if normalised:
        layers.append((f"fc{number}_bn", nn.BatchNorm1d(outputs)))
    return [*layers, (f"fc{number}_relu", nn.ReLU())]
