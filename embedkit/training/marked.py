"""The labels of segments, where labels have a beginning and an end."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from embedkit import metrics
from embedkit.datasets import Manifest
from embedkit.labels.marked import Segments, choose
from embedkit.labels.stretches import Rule
from embedkit.training.features import Features


class MarkedClassification:
    """What is known about each segment: yes or no for each label, or nothing."""

    def __init__(
        self,
        sets: Sequence[Features],
        parts: Sequence[Manifest],
        labels: Sequence[str],
        rule: Rule,
        hops_s: Sequence[float],
    ) -> None:
        """Leave out the segments about which nothing is known.

        Args:
            sets: features of the training and the validation clips.
            parts: these clips.
            labels: the outputs.
            rule: which segment has which label.
            hops_s: for each set, seconds from one segment's start to the next one's.

        Raises:
            DatasetError: no segment of a set has a label.
        """
        self.training, self._wanted = _known(sets[0], parts[0], labels, rule, hops_s[0])
        self.validation, self._validation_wanted = _known(
            sets[1], parts[1], labels, rule, hops_s[1]
        )

    def wanted(self, segments: NDArray[np.int64]) -> NDArray[np.float32]:
        """1 for a label that the segment has, 0 for one that it has not, NaN for an unknown one."""
        return self._wanted[segments]

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy over what is known; the mean over classes.

        Args:
            outputs: [B, outputs], before the sigmoid.
            wanted: [B, outputs]; NaN where it is unknown.

        Returns:
            the sum over segments.
        """
        known = ~wanted.isnan()
        loss = F.binary_cross_entropy_with_logits(
            outputs, wanted.nan_to_num(), weight=known.to(outputs.dtype), reduction="sum"
        )
        return loss / wanted.shape[1]

    def chances(self, clips: NDArray[np.int64]) -> NDArray[np.float64]:
        """Makes every label equally likely; a clip counts by its segments."""
        has = (self._wanted == 1).astype(np.float64)
        chance = has @ (1 / np.maximum(has.sum(axis=0), 1))
        of_clip = np.bincount(self.training.clip, chance)
        return of_clip[clips].astype(np.float64)

    def figures(self, outputs: Iterable[Tensor]) -> dict[str, float]:
        """Loss and mAP of segments, over what is known about them."""
        scores = np.concatenate([batch.cpu().numpy() for batch in outputs]).astype(np.float64)
        wanted = self._validation_wanted
        likely = np.clip(scores, 1e-7, 1 - 1e-7)
        loss = -np.nanmean(wanted * np.log(likely) + (1 - wanted) * np.log(1 - likely))
        held = (wanted == 1).any(axis=0) & (wanted == 0).any(axis=0)
        figures = {"validation_loss": float(loss)}
        if held.any():
            figures["validation_map"] = metrics.mean_average_precision(
                wanted[:, held], scores[:, held]
            )
        return figures


def _known(
    features: Features, part: Manifest, labels: Sequence[str], rule: Rule, hop_s: float
) -> tuple[Features, NDArray[np.float32]]:
    """The segments about which something is known, and their targets [segments, labels]."""
    number = np.arange(len(features)) - np.searchsorted(features.clip, features.clip)
    start_s = (number * hop_s).astype(np.float64)
    names = [str(clip.path) for clip in part.clips]
    chosen = choose(
        Segments(
            names=names, owner=features.clip, start_s=start_s, end_s=start_s + features.seconds
        ),
        dict(zip(names, part.clips, strict=True)),
        labels,
        rule,
        several_labels=True,
        most=len(features),
    )
    kept = np.zeros(len(features), bool)
    kept[chosen.rows] = True
    return features.where(kept), chosen.targets
