"""Compares sizes of vectors by the user's own labels: what each costs and what it keeps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.random_projection import GaussianRandomProjection

from embedkit import metrics
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import find_method
from embedkit.classifiers.splits import Indices
from embedkit.errors import DatasetError
from embedkit.labels.join import Labelled
from embedkit.progress import Track, untracked
from embedkit.vectors import unit

SIZES = (64, 128, 256, 512, 1024)
METHODS = ("logistic", "knn", "plda")
QUERIES = 200  # whose search is timed
ROWS = 100_000  # segments that they search among
LEVEL = 0.05  # of the test that tells worse vectors from the best

Splits = Sequence[tuple[Indices, Indices]]


class How(StrEnum):
    """How a small vector is made of a large one."""

    WHOLE = "whole"
    TRAINED = "trained"  # whole too: of a network that was trained for this size alone
    PREFIX = "prefix"  # the first numbers: of a Matryoshka model trained for it
    PCA = "pca"  # fitted on the training clips
    RANDOM = "random projection"
    INT8 = "prefix, int8"  # its numbers in 8 bits, by their range over the training clips


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """What vectors of one size are worth.

    Attributes:
        how: how they are made.
        size: numbers of a vector.
        bytes_an_hour: bytes for an hour of audio, at one vector a second.
        correct: by method, 1 for each held-out clip that is named right [clips]; empty where a clip
            may have several labels.
        figures: accuracy, or mAP where a clip may have several labels, by method; and the mAP of
            the held-out clips' retrieval among themselves.
        search_ms: milliseconds of one exact query among 100,000 segments.
        network: the network that makes the vectors, where it was trained for the comparison.
        parameters, macs: number of that network's parameters, and of its multiply-accumulates for a
            segment.
    """

    how: How
    size: int
    bytes_an_hour: int
    correct: dict[str, NDArray[np.float64]]
    figures: dict[str, float]
    search_ms: float
    network: str = ""
    parameters: int | None = None
    macs: int | None = None

    @property
    def name(self) -> str:
        """The vectors in words."""
        kind = "" if self.how in (How.WHOLE, How.PREFIX) else f" ({self.how})"
        return f"{self.network} {self.size} numbers{kind}".lstrip()


def compare_sizes(
    data: Labelled,
    splits: Splits,
    methods: Sequence[str] = METHODS,
    *,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
    track: Track = untracked,
) -> Iterator[SizeRow]:
    """Score vectors of every size, made of those in the collection.

    Args:
        data: labelled clips.
        splits: for each split the rows to fit on, and those that are held out.
        methods: names of methods of classification; PLDA is left out where clips have several
            labels.
        sizes: sizes that are made if they are below the vectors' own; PCA also needs them to be
            below the number of clips.
        seed: seed of the random projection.
        track: shows the progress.

    Yields:
        a row for each way and size.

    Raises:
        DatasetError: the vectors are smaller than the smallest size.
    """
    whole = data.vectors.shape[1]
    smaller = [size for size in sizes if size < whole]
    if not smaller:
        raise DatasetError(f"vectors of {whole} numbers: no size of {sizes} is smaller")
    # Clips vary in no more directions than there are clips.
    most = min(len(fitted) for fitted, _ in splits) - 1
    made = [(how, size) for how in _MADE for size in smaller if how is not How.PCA or size <= most]
    asked = [(How.WHOLE, whole), *made, (How.INT8, whole)]
    for how, size in track(asked, "Sizes", len(asked)):
        yield score_size(data, splits, methods, how, size, seed)


def score_size(
    data: Labelled,
    splits: Splits,
    methods: Sequence[str],
    how: How,
    size: int,
    seed: int = 0,
) -> SizeRow:
    """Score vectors made in one way, of one size.

    Args:
        data: as for `compare_sizes`.
        splits: as for `compare_sizes`.
        methods: as for `compare_sizes`.
        how: how the vectors are made.
        size: numbers of a vector.
        seed: seed of the random projection.

    Returns:
        the row.
    """
    if data.several_labels:
        methods = [name for name in methods if name != "plda"]
    chosen = {
        name: find_method(name, **({"c": 0.1} if name == "logistic" else {})) for name in methods
    }
    done: dict[str, list[classify.Evaluation]] = {name: [] for name in methods}
    retrieved = []
    for fitted, held in splits:
        made = _with(data, _make(data.vectors, fitted, how, size, seed))
        for name, method in chosen.items():
            done[name].append(classify.evaluate(made, [(fitted, held)], method))
        retrieved.append(metrics.retrieval(made.vectors[held], made.targets[held])[0])
    figures: dict[str, float] = {}
    correct: dict[str, NDArray[np.float64]] = {}
    for name, parts in done.items():
        if data.several_labels:
            targets = np.concatenate([part.targets for part in parts])
            scores = np.concatenate([part.scores for part in parts])
            figures[name] = metrics.mean_average_precision(targets, scores)
        else:
            correct[name] = np.concatenate([part.correct for part in parts])
            figures[name] = float(correct[name].mean())
    figures["retrieval"] = float(np.nanmean(retrieved))
    numbers = 1 if how is How.INT8 else 4
    return SizeRow(
        how=how,
        size=size,
        bytes_an_hour=3600 * numbers * size,
        correct=correct,
        figures=figures,
        search_ms=_search_ms(made.vectors, how),
    )


def _with(data: Labelled, vectors: NDArray[np.float32]) -> Labelled:
    return Labelled(**{**vars(data), "vectors": vectors})


def _make(
    vectors: NDArray[np.float32], fitted: Indices, how: How, size: int, seed: int
) -> NDArray[np.float32]:
    """All vectors at a size; what has to be learned for it is learned from the training clips."""
    if how is How.PCA:
        pca = PCA(size, random_state=seed).fit(vectors[fitted])
        return np.asarray(pca.transform(vectors), np.float32)
    if how is How.RANDOM:
        projection = GaussianRandomProjection(size, random_state=seed).fit(vectors[:1])
        return np.asarray(projection.transform(vectors), np.float32)
    prefix = vectors[:, :size]
    if how is not How.INT8:
        return prefix
    low, high = prefix[fitted].min(axis=0), prefix[fitted].max(axis=0)
    step = np.maximum(high - low, 1e-12) / 255
    codes = np.clip(np.round((prefix - low) / step), 0, 255)
    decoded: NDArray[np.float32] = (codes * step + low).astype(np.float32)
    return decoded


_MADE = (How.PREFIX, How.PCA, How.RANDOM, How.INT8)


def _search_ms(vectors: NDArray[np.float32], how: How) -> float:
    """Median milliseconds of one query among 100,000 segments like these."""
    rng = np.random.default_rng(0)
    rows = unit(vectors)[rng.integers(len(vectors), size=ROWS)]
    kind = "SQ8" if how is How.INT8 else "Flat"
    index = faiss.index_factory(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    seconds = []
    for query in rows[:QUERIES]:
        started = time.perf_counter()
        index.search(query[None], 10)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def advise(rows: Sequence[SizeRow], method: str) -> str:
    """The smallest vectors that are not clearly worse than the best, with the evidence.

    Only what a network gives by itself is advised: whole vectors and their first numbers. Vectors
    are clearly worse if McNemar's exact test on the held-out clips tells them from the best at a
    level of 5 %.

    Args:
        rows: the rows of all sizes.
        method: the method whose figures count.

    Returns:
        the advice in words.
    """
    offered = [row for row in rows if row.how in (How.WHOLE, How.TRAINED, How.PREFIX)]
    best = max(offered, key=lambda row: (row.figures[method], row.how is How.WHOLE, -row.size))
    if method not in best.correct:
        return (
            f"{best.name}: {best.figures[method]:.3f} by {method} is the best; with several labels"
            " a clip, smaller ones are not tested against it."
        )
    clips = len(best.correct[method])
    for row in sorted(offered, key=lambda row: (row.size, row.macs or 0)):
        if row is best:
            break
        mine, its = row.correct[method], best.correct[method]
        p = metrics.mcnemar(its, mine)
        if p >= LEVEL:
            return (
                f"{row.name}: {method} names {int(mine.sum())} of {clips} clips right, with the"
                f" best, {best.name}, {int(its.sum())}; {int((its > mine).sum())} that it alone"
                f" names right against {int((mine > its).sum())} are no clear difference (McNemar's"
                f" exact test, p = {p:.2f}). It takes {row.bytes_an_hour / 1e6:.1f} MB for an hour"
                f" of audio instead of {best.bytes_an_hour / 1e6:.1f}."
            )
    return f"{best.name}: everything smaller is clearly worse by {method} on these {clips} clips."
