"""Places vectors on a plane, to look at."""

import io
import warnings
from collections.abc import Callable
from enum import StrEnum
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import missing, require
from embedkit.vectors import unit


class Projection(StrEnum):
    """How vectors are placed on a plane so that near ones by cosine stay near."""

    PCA = "pca"  # at once; far ones stay far
    TSNE = "tsne"
    UMAP = "umap"  # the extra `umap`

    @property
    def installed(self) -> bool:
        """Whether the library that it needs is installed; it is not loaded."""
        return self is not Projection.UMAP or find_spec("umap") is not None

    def check(self) -> None:
        """Refuse it before the work begins.

        Raises:
            UsageError: the extra that it needs is not installed.
        """
        if not self.installed:
            raise missing("umap", "umap")


Report = Callable[[float], None]

AXES_AT_ONCE = 65_536  # vectors of which a copy is made
FITTED_AT_ONCE = 1024  # vectors that are placed among others
NEIGHBOURS = 3  # that place one
REGIONS_BY = 20_000  # points


def unreported(_share: float) -> None:
    """Report to nobody."""


def project(
    vectors: NDArray[np.float32],
    how: Projection = Projection.TSNE,
    seed: int = 0,
    report: Report = unreported,
) -> NDArray[np.float32]:
    """Place vectors on a plane.

    Args:
        vectors: [n, D], of any lengths.
        how: how they are placed.
        seed: seed of the draws.
        report: is told by UMAP, as it goes, the share that is done.

    Returns:
        float32 [n, 2].

    Raises:
        UsageError: the extra that it needs is not installed.
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
            min_dist=0.3,  # so that points do not hide each other
            metric="cosine",
            init="spectral" if len(vectors) > 4 else "random",  # of fewer it has no eigenvectors
            random_state=seed,
            n_jobs=1,
            tqdm_kwds={"disable": False, "file": _Epochs(report), "bar_format": "{n}/{total}"},
        )
        points = umap.fit_transform(directions)
    return points


class _Epochs(io.StringIO):
    """The file for UMAP's progress bar; it reads the share of epochs that are done."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def write(self, text: str) -> int:
        done, _, total = text.strip().partition("/")
        if done.isdecimal() and total.isdecimal() and int(total):
            self._report(int(done) / int(total))
        return len(text)


def project_some(
    vectors: NDArray[np.float32],
    how: Projection,
    most: int,
    seed: int = 0,
    report: Report = unreported,
) -> NDArray[np.float32]:
    """Place many vectors on a plane, by laying out only some of them.

    The others stand at the mean of their three nearest ones by cosine.

    Args:
        vectors: [n, D].
        how: how they are placed.
        most: the most vectors to lay out, drawn at random.
        seed: seed of the draws.
        report: is told by UMAP, as it goes, the share that is done.

    Returns:
        float32 [n, 2].

    Raises:
        UsageError: the extra that it needs is not installed.
    """
    if len(vectors) <= most:
        return project(vectors, how, seed, report)
    drawn = np.sort(np.random.default_rng(seed).choice(len(vectors), most, replace=False))
    placed = project(vectors[drawn], how, seed, report)
    known = unit(vectors[drawn])
    points = np.empty((len(vectors), 2), np.float32)
    for start in range(0, len(vectors), FITTED_AT_ONCE):
        some = slice(start, start + FITTED_AT_ONCE)
        near = np.argpartition(-(unit(vectors[some]) @ known.T), NEIGHBOURS, axis=1)
        points[some] = placed[near[:, :NEIGHBOURS]].mean(axis=1)
    points[drawn] = placed
    return points


def principal_axes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two directions in which vectors [n, D] vary most, each of length 1, float32 [2, D].

    The largest number of each is positive.
    """
    mean, size = vectors.mean(axis=0), vectors.shape[1]
    spread = np.zeros((size, size))
    for start in range(0, len(vectors), AXES_AT_ONCE):
        away = (vectors[start : start + AXES_AT_ONCE] - mean).astype(np.float64)
        spread += away.T @ away
    axes: NDArray[np.float64] = np.linalg.eigh(spread)[1][:, :-3:-1].T
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return (axes * np.sign(largest)).astype(np.float32)


def regions(points: NDArray[np.float32], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Cut a plane into regions by k-means.

    There is at most one region for every 8 points. If there are many points, 20,000 drawn at random
    make the regions.

    Args:
        points: [n, 2].
        most: the most regions.
        seed: seed of the draws.

    Returns:
        number of each point's region, int64 [n].
    """
    from sklearn.cluster import KMeans

    some = points
    if len(points) > REGIONS_BY:
        some = np.random.default_rng(seed).choice(points, REGIONS_BY, replace=False)
    count = min(most, max(1, len(points) // 8), len(np.unique(some, axis=0)))
    found: NDArray[np.int64] = KMeans(count, n_init=4, random_state=seed).fit(some).predict(points)
    return found.astype(np.int64)
