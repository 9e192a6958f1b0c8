"""A compact extractor for CPUs, beyond the paper: depthwise-separable convolutions."""

import torch
from torch import Tensor, nn

from embedkit.config import ModelSpec
from embedkit.models.network import Layers, Network, free_size, output_heads, sequence

STEM = 24
# Maps and stride of each block, by stages: most of the work is where the maps are small already.
STAGES = (((40, 1), (80, 2)), ((80, 1), (176, 2), (176, 1)), ((384, 2), (384, 1)))


def gap_lite(spec: ModelSpec, shape: tuple[int, int]) -> Network:
    """Gap-lite: depthwise-separable convolutions (Howard et al., 2017), averaged at 3 depths.

    Args:
        spec: size, classes and dropout.
        shape: frames and bands of a segment's features.

    Returns:
        the network with random weights.
    """
    _, bands = shape
    return Network(GapLite(bands, free_size(spec)), output_heads(spec))


class GapLite(nn.Module):
    """Normalised features [B, 1, frames, bands] -> embedding [B, D].

    The embedding is linear in statistics over the segment of each band of the features, and of each
    map at the end of each stage: its mean, and how much it changes (statistics pooling: Snyder et
    al., 2018). So it tells what sounds, and when, at several scales.
    """

    def __init__(self, bands: int, size: int) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(1, STEM, 3, stride=2, padding=1, bias=False))
        stages, inputs, statistics = [], STEM, bands
        for blocks in STAGES:
            layers: Layers = []
            for number, (maps, stride) in enumerate(blocks, start=1):
                depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
                layers += [
                    (f"depthwise{number}", _normalised(depthwise)),
                    (f"pointwise{number}", _normalised(nn.Conv2d(inputs, maps, 1, bias=False))),
                ]
                inputs = maps
            stages.append(sequence(layers))
            statistics += inputs
        self.stages = nn.ModuleList(stages)
        self.normalise = nn.BatchNorm1d(2 * statistics)
        self.projection = nn.Linear(2 * statistics, size)

    def forward(self, features: Tensor) -> Tensor:
        """Embed."""
        over_time = [features.squeeze(1)]
        maps = self.stem(features)
        for stage in self.stages:
            maps = stage(maps)
            over_time.append(maps.mean(dim=3).transpose(1, 2))
        pooled = torch.cat([_mean_and_deviation(series) for series in over_time], dim=1)
        embedding: Tensor = self.projection(self.normalise(pooled))
        return embedding


def _mean_and_deviation(series: Tensor) -> Tensor:
    """Over time: [B, frames, n] -> [B, 2 n]."""
    mean = series.mean(dim=1, keepdim=True)
    variance = (series - mean).square().mean(dim=1)
    return torch.cat([mean.squeeze(1), (variance + 1e-5).sqrt()], dim=1)  # steep at 0


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
