"""A trained network's vectors of labelled clips, from the features that it was trained on."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.datasets import Clip
from embedkit.datasets.manifest import targets
from embedkit.labels.join import Labelled
from embedkit.models.module import ExtractorModule
from embedkit.training.features import compute_features


@torch.inference_mode()
def clip_vectors(
    extractor: ExtractorModule, clips: Sequence[Clip], cache: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The vector of each clip.

    Args:
        extractor: takes the features that the cache holds.
        clips: the clips to embed.
        cache: as `train` takes it; it grows by the clips that it does not hold yet.

    Returns:
        vectors [n, D] of the clips that can be decoded, and their numbers among the clips [n].
    """
    config = extractor.config
    found = compute_features(clips, cache, config.features, config.segments)
    total = scoring.no_sums(len(clips), extractor.embedding_size)
    for batch in np.array_split(np.arange(len(found)), math.ceil(len(found) / 64)):
        features = torch.from_numpy(found.rows(batch)).to(extractor.mean)
        vectors = extractor.network.embedding(extractor.normalise(features)).cpu().numpy()
        scoring.add(total, vectors, found.seconds[batch], found.clip[batch])
    kept = np.unique(found.clip)
    return scoring.means(total[kept]).astype(np.float32), kept


def labelled_vectors(
    extractor: ExtractorModule,
    known: Sequence[Clip],
    held: Sequence[Clip],
    cache: Path,
    several_labels: bool,
) -> Labelled:
    """The vectors of the clips that a network was trained on, and of those held out.

    Args:
        extractor: the trained network.
        known: get the split `train`.
        held: get the split `test`.
        cache: as for `clip_vectors`.
        several_labels: whether a clip may have more than one label.

    Returns:
        the labelled vectors.
    """
    clips = [*known, *held]
    vectors, kept = clip_vectors(extractor, clips, cache)
    there = [clips[number] for number in kept]
    return Labelled(
        clips=[str(clip.path) for clip in there],
        vectors=vectors,
        targets=targets(there, extractor.config.labels),
        labels=extractor.config.labels,
        several_labels=several_labels,
        folds=None,
        splits=["train" if number < len(known) else "test" for number in kept],
        groups=[clip.group or str(clip.path) for clip in there],
    )
