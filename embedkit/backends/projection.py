"""Vectors on a plane, to look at."""

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from embedkit.backends.search import unit


def project(vectors: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Place vectors [n, D] on a plane [n, 2] so that near ones by cosine stay near (t-SNE)."""
    perplexity = max(1.0, min(30.0, (len(vectors) - 1) / 4))
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    points: NDArray[np.float32] = embedding.fit_transform(unit(vectors))
    return points
