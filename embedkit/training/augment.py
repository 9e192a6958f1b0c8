"""Augmentations of a training batch; none of them is in the paper."""

import torch
from torch import Tensor, nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from embedkit.config import TrainSpec


def spec_augment(spec: TrainSpec) -> nn.Module:
    """Mask a run of frames and a run of bands of each segment [B, 1, frames, bands] (SpecAugment).

    The masked values become 0, the mean of normalised features.
    """
    # torchaudio calls the last axis time and the one before it frequency; ours are the other way.
    masks: list[nn.Module] = []
    if spec.time_mask:
        masks.append(FrequencyMasking(spec.time_mask, iid_masks=True))
    if spec.band_mask:
        masks.append(TimeMasking(spec.band_mask, iid_masks=True))
    return nn.Sequential(*masks)


def mix(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., 2018): x = l x_i + (1 - l) x_j, y alike, l from Beta(alpha, alpha).

    Args:
        features: [B, ...].
        targets: [B, outputs].
        alpha: of the Beta distribution; 0: nothing is mixed.

    Returns:
        the mixed features and targets.
    """
    share = torch.distributions.Beta(alpha, alpha).sample((len(features),)).to(features.device)
    other = torch.randperm(len(features), device=features.device)
    wide = share.view(-1, 1, 1, 1)
    narrow = share.view(-1, 1)
    return (
        wide * features + (1 - wide) * features[other],
        narrow * targets + (1 - narrow) * targets[other],
    )
