"""ResNet-50 (He et al., 2016), as the paper fits it to log-mel segments (Table 1)."""

from torch import Tensor, nn

from embedkit.config import ModelSpec
from embedkit.models.network import Layers, Network, output, sequence

WIDTH = 64  # of the first stage; every further one is twice as wide
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


def resnet_50(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """ResNet-50 with one input channel and a first convolution of stride 1.

    Its embedding is the mean over the last maps (2048), of 7 x 4 for 101 x 64 features.

    Args:
        spec: classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    del shape  # any will do
    layers: Layers = [
        ("conv1", nn.Conv2d(1, WIDTH, 7, padding=3, bias=False)),
        ("bn1", nn.BatchNorm2d(WIDTH)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(3, stride=2, padding=1)),
    ]
    inputs = WIDTH
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            name = f"stage{stage + 1}_block{block + 1}"
            layers.append((name, Bottleneck(inputs, WIDTH * 2**stage, stride)))
            inputs = WIDTH * 2**stage * EXPANSION
    layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return Network(sequence(layers), {inputs: sequence(output(inputs, spec))})


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut; the 3 x 3 has the stride."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, 4 x width, frames, bands], each side divided by the stride."""
        total: Tensor = self.residual(maps) + self.shortcut(maps)
        return total.relu()
