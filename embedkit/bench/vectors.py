"""A trained network's vectors of labelled clips, from the features that it was trained on."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.datasets import Clip
from embedkit.models.module import ExtractorModule
from embedkit.training.features import compute_features


@torch.inference_mode()
def clip_vectors(
    extractor: ExtractorModule, clips: Sequence[Clip], cache: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The vector of each clip.

    Args:
        extractor: of the features that the cache holds.
        clips: to embed.
        cache: as `train` takes it; grows by the clips that it does not hold yet.

    Returns:
        vectors [n, D] of the clips that can be decoded, and their numbers among the clips [n].
    """
    config = extractor.config
    found = compute_features(clips, cache, config.features, config.segments)
    total = scoring.no_sums(len(clips), extractor.embedding_size)
    for batch in np.array_split(np.arange(len(found)), math.ceil(len(found) / 64)):
        features = extractor.normalise(torch.from_numpy(found.rows(batch)))
        vectors = extractor.network.embedding(features).numpy()
        scoring.add(total, vectors, found.seconds[batch], found.clip[batch])
    kept = np.unique(found.clip)
    return scoring.means(total[kept]).astype(np.float32), kept
