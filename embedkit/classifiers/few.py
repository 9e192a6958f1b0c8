"""How well the nearest mean of a few examples of each label names all other clips."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.splits import Indices
from embedkit.labels.join import Labelled
from embedkit.vectors import unit

DRAWS = 50  # of examples, for each split


def few_shot(
    data: Labelled, splits: Sequence[tuple[Indices, Indices]], examples: int, seed: int = 0
) -> NDArray[np.float64] | None:
    """How often each held-out clip is named right by the nearest class mean, by cosine.

    The means are of some clips of each label, drawn at random among those to fit on. The mean of
    all of these is subtracted first, which needs no label (prototypes, Snell et al. 2017).

    Args:
        data: clips with one label each.
        splits: for each split the rows to fit on, and those that are held out.
        examples: number of examples of each label.
        seed: seed of the draws.

    Returns:
        a share of the draws for each clip, in the order in which the splits hold them out, float64
            [n]; None where some label has too few clips.
    """
    rng = np.random.default_rng(seed)
    right = []
    for fitted, held in splits:
        pools = [fitted[data.classes[fitted] == index] for index in range(len(data.labels))]
        if min(map(len, pools)) < examples:
            return None
        middle = data.vectors[fitted].mean(axis=0)
        vectors, asked = unit(data.vectors - middle), unit(data.vectors[held] - middle)
        hits = np.zeros(len(held))
        for _ in range(DRAWS):
            drawn = np.stack([rng.choice(pool, examples, replace=False) for pool in pools])
            means = unit(vectors[drawn].mean(axis=1))
            hits += (asked @ means.T).argmax(axis=1) == data.classes[held]
        right.append(hits / DRAWS)
    return np.concatenate(right)
