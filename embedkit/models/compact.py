"""A compact extractor for CPUs, beyond the paper: depthwise-separable convolutions."""

from torch import nn

from embedkit.config import ModelSpec
from embedkit.models.network import Layers, Network, free_size, output_heads, sequence

STEM = 24
# Maps and stride of each block: most of the work is where the maps are small already.
BLOCKS = ((40, 1), (80, 2), (80, 1), (176, 2), (176, 1), (384, 2), (384, 1))


def gap_lite(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """Gap-lite: depthwise-separable convolutions (Howard et al., 2017) and global average pooling.

    The last 1 x 1 convolution has a map for each number of the embedding.
    """
    del shape  # any will do
    layers: Layers = [("stem", _normalised(nn.Conv2d(1, STEM, 3, stride=2, padding=1, bias=False)))]
    inputs = STEM
    for number, (maps, stride) in enumerate(BLOCKS, start=1):
        depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        layers += [
            (f"depthwise{number}", _normalised(depthwise)),
            (f"pointwise{number}", _normalised(nn.Conv2d(inputs, maps, 1, bias=False))),
        ]
        inputs = maps
    layers += [
        ("maps", _normalised(nn.Conv2d(inputs, free_size(spec), 1, bias=False))),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
    ]
    return Network(sequence(layers), output_heads(spec))


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
