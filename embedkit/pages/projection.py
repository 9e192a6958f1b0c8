"""Vectors on a plane, to look at."""

import warnings
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import require
from embedkit.vectors import unit


class Projection(StrEnum):
    """How vectors come onto a plane so that near ones by cosine stay near."""

    PCA = "pca"  # at once; far ones stay far
    TSNE = "tsne"
    UMAP = "umap"  # the extra `umap`


def project(
    vectors: NDArray[np.float32], how: Projection = Projection.TSNE, seed: int = 0
) -> NDArray[np.float32]:
    """Place vectors [n, D] on a plane [n, 2].

    Raises:
        UsageError: the extra that it takes is not installed.
    """
    directions = unit(vectors - vectors.mean(axis=0) if how is Projection.PCA else vectors)
    if len(vectors) < 3:  # too few to have a plane of their own
        return np.pad(directions[:, :1], ((0, 0), (0, 1)))
    points: NDArray[np.float32]
    if how is Projection.PCA:
        points = (directions - directions.mean(axis=0)) @ principal_axes(directions).T
    elif how is Projection.TSNE:
        from sklearn.manifold import TSNE

        perplexity = max(1.0, min(30.0, (len(vectors) - 1) / 4))
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
            directions
        )
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of what it could do with TensorFlow
            require("umap", "umap")
            from umap import UMAP

        umap = UMAP(
            n_neighbors=min(15, len(vectors) - 1),
            metric="cosine",
            init="spectral" if len(vectors) > 4 else "random",  # of fewer it has no eigenvectors
            random_state=seed,
            n_jobs=1,
        )
        points = umap.fit_transform(directions)
    return points


def principal_axes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two directions in which vectors [n, D] vary most, each of length 1, float32 [2, D].

    Of each one the number that is largest is positive.
    """
    away = (vectors - vectors.mean(axis=0)).astype(np.float64)
    axes: NDArray[np.float64] = np.linalg.eigh(away.T @ away)[1][:, :-3:-1].T
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return (axes * np.sign(largest)).astype(np.float32)


def regions(points: NDArray[np.float32], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Cut a plane into regions by k-means: the number of the one that each point [n, 2] is in.

    There are at most so many, and not more than one for every 8 points.
    """
    from sklearn.cluster import KMeans

    count = min(most, max(1, len(points) // 8), len(np.unique(points, axis=0)))
    found: NDArray[np.int64] = KMeans(count, n_init=4, random_state=seed).fit_predict(points)
    return found.astype(np.int64)
