"""Puts sounds of a collection into clusters, and measures how far each is from all others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.tracks import WRITERS, check_table
from embedkit.errors import EmbeddingFolderError
from embedkit.names.groups import names_of_groups
from embedkit.progress import Track, untracked
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

Floats = NDArray[np.float32]

AXES = 32  # principal axes on which sounds are compared
SAMPLE = 20_000  # sounds that clusters are looked for in: of more, a sample
NEIGHBOURS = 5
MOST = 100  # clusters, where nobody says how many
AT_ONCE = 4096  # sounds that are compared with the sample at a time
COLUMNS = pa.schema(
    [
        ("clip", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("cluster", pa.int64()),
        ("name", pa.string()),
        ("distance", pa.float64()),
    ]
)


class Method(StrEnum):
    """How clusters are found."""

    KMEANS = "kmeans"  # every sound is in one
    HDBSCAN = "hdbscan"  # where sounds are dense; others are in none


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """Clips or segments to cluster, n of them, in the order of the parts.

    Attributes:
        clips: names of the clips; for segments, the names of their clips.
        start_s, end_s: seconds within the clip, float64 [n].
        points: vectors, of length 1 and less the mean, on the principal axes of the collection,
            float32 [n, 32], or on as many axes as there are.
        drawn: numbers of the sample, rising, int64 [k]; all numbers, if they are not too many.
        vectors: vectors of the sample, as they are stored, float32 [k, D].
    """

    clips: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    points: Floats
    drawn: NDArray[np.int64]
    vectors: Floats

    @property
    def is_sampled(self) -> bool:
        """Whether the sample leaves some out."""
        return len(self.drawn) < len(self.clips)


class Cluster(NamedTuple):
    """Sounds that are near one another.

    Attributes:
        number: from 1 on, the largest first; 0 holds the sounds that are in no cluster.
        size: number of sounds.
        clips: number of their clips.
        name: the name that tells it from the others, where the model brings names; else its
            commonest folder. clip, start_s, end_s: the sound in its middle.
    """

    number: int
    size: int
    clips: int
    name: str
    clip: str
    start_s: float
    end_s: float


def read_sounds(
    table: EmbeddingTable, *, segments: bool = False, seed: int = 0, track: Track = untracked
) -> Sounds:
    """Read what is to be clustered, in two passes; 32 numbers of each sound are held in memory.

    Args:
        table: the collection.
        segments: read every segment except slivers, not the mean of each clip.
        seed: seed of the sample.
        track: shows the progress.

    Returns:
        the sounds.

    Raises:
        EmbeddingFolderError: there are no vectors.
    """
    size = table.embedding_size
    count, total, products = 0, np.zeros(size), np.zeros((size, size))
    for part in track(_parts(table, segments), "Reading vectors", None):
        units = unit(part.vectors).astype(np.float64)
        count += len(units)
        total += units.sum(axis=0)
        products += units.T @ units
    if not count:
        raise EmbeddingFolderError(f"{table.folder}: it has no vectors to cluster")
    mean = total / count
    axes = np.linalg.eigh(products - count * np.outer(mean, mean))[1][:, : -AXES - 1 : -1]
    drawn = np.arange(count)
    if count > SAMPLE:
        drawn = np.sort(np.random.default_rng(seed).choice(count, SAMPLE, replace=False))
    clips: list[str] = []
    starts, ends, points, vectors = [], [], [], []
    for part in track(_parts(table, segments), "Placing sounds", None):
        low, high = np.searchsorted(drawn, [len(clips), len(clips) + len(part.clips)])
        vectors.append(part.vectors[drawn[low:high] - len(clips)])
        points.append(((unit(part.vectors) - mean) @ axes).astype(np.float32))
        starts.append(part.start_s)
        ends.append(part.end_s)
        clips += part.clips
    return Sounds(
        clips=clips,
        start_s=np.concatenate(starts),
        end_s=np.concatenate(ends),
        points=np.concatenate(points),
        drawn=drawn,
        vectors=np.concatenate(vectors),
    )


def find_clusters(
    sounds: Sounds,
    method: Method = Method.KMEANS,
    *,
    count: int | None = None,
    least: int = 5,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Put sounds into clusters.

    Clusters are made of the sample; every other sound joins the cluster of the nearest one of it.

    Args:
        sounds: the sounds.
        method: how clusters are made.
        count: clusters of k-means; by default the square root of half the sample, at most 100.
        least: the fewest sounds of a cluster of HDBSCAN.
        seed: seed of k-means.

    Returns:
        the number of each sound's cluster, int64 [n]: from 1 on, the largest first; 0 for none.
    """
    sample = sounds.points[sounds.drawn]
    if method is Method.KMEANS:
        from sklearn.cluster import KMeans

        wanted = count or min(MOST, max(1, round((len(sample) / 2) ** 0.5)))
        wanted = min(wanted, len(np.unique(sample, axis=0)))
        # By name: the order of the rows is of chance, and would begin with other middles.
        names = np.array([sounds.clips[number] for number in sounds.drawn])
        order = np.lexsort((sounds.start_s[sounds.drawn], names))
        found = np.empty(len(sample), np.int64)
        found[order] = KMeans(wanted, n_init=10, random_state=seed).fit_predict(sample[order])
    elif len(sample) < least:
        found = np.full(len(sample), -1)
    else:
        from sklearn.cluster import HDBSCAN

        found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(sample)
    if sounds.is_sampled:
        near = np.concatenate([rows[:, 0] for _, rows in _nearest(sounds.points, sample, 1)])
        found = found[near]
    numbers, sizes = np.unique(found[found >= 0], return_counts=True)
    ranks = np.zeros(int(found.max()) + 2, np.int64)  # the last is that of -1
    ranks[numbers[np.argsort(-sizes, kind="stable")]] = np.arange(1, len(numbers) + 1)
    ranked: NDArray[np.int64] = ranks[found]
    return ranked


def distances(sounds: Sounds, track: Track = untracked) -> NDArray[np.float64]:
    """The distance of each sound to the fifth nearest other one of the sample.

    The distance to the middle of its cluster would say less: it is large for many sounds of a wide
    cluster, and small for some odd ones that are a cluster of their own.

    Args:
        sounds: the sounds.
        track: shows the progress.

    Returns:
        float64 [n].
    """
    sample = sounds.points[sounds.drawn]
    own = np.zeros(len(sounds.clips), np.int64)
    own[sounds.drawn] = 1  # it finds itself first
    wanted = min(NEIGHBOURS, len(sample) - 1)
    if not wanted:
        return np.full(len(sounds.clips), np.inf)
    blocks = _nearest(sounds.points, sample, wanted + 1)
    total = -(-len(sounds.clips) // AT_ONCE)
    squares = np.concatenate([values for values, _ in track(blocks, "Comparing", total)])
    mine = squares[np.arange(len(squares)), wanted - 1 + own]
    found: NDArray[np.float64] = np.sqrt(np.maximum(mine, 0)).astype(np.float64)
    return found


def describe(
    sounds: Sounds, clusters: NDArray[np.int64], names: Classifier | None
) -> list[Cluster]:
    """Describe the clusters, the largest first; sounds that are in none come last.

    Args:
        sounds: the sounds.
        clusters: number of each sound's cluster [n].
        names: a classifier that names vectors; None: folders name the clusters.

    Returns:
        one entry for each cluster.
    """
    called: list[str] = []
    if names is not None:
        called = names_of_groups(sounds.vectors, clusters[sounds.drawn], names)
    order = np.argsort(clusters, kind="stable")
    edges = np.flatnonzero(np.diff(clusters[order])) + 1
    found = []
    for rows in np.split(order, edges):
        number, points = int(clusters[rows[0]]), sounds.points[rows]
        middle = rows[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
        clips = [sounds.clips[row] for row in rows]
        folders = Counter(str(PurePosixPath(clip).parent) for clip in clips)
        name = called[number] if number < len(called) else ""
        found.append(
            Cluster(
                number=number,
                size=len(rows),
                clips=len(set(clips)),
                name=name or folders.most_common(1)[0][0],
                clip=sounds.clips[middle],
                start_s=float(sounds.start_s[middle]),
                end_s=float(sounds.end_s[middle]),
            )
        )
    return sorted(found, key=lambda cluster: cluster.number or len(found))


def agreement(clusters: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float | int]:
    """How far clusters agree with labels, by chance-adjusted measures.

    Sounds that are in no cluster count as one cluster.

    Args:
        clusters: number of each sound's cluster [n].
        labels: label of each [n]; sounds with an empty one are left out.

    Returns:
        ami, the adjusted mutual information, and ari, the adjusted Rand index; both are 1 where
        clusters and labels are the same, and near 0 by chance; and labelled, the number of sounds.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    known = np.array([bool(label) for label in labels])
    truth, mine = np.array(labels)[known], clusters[known]
    return {
        "ami": float(adjusted_mutual_info_score(truth, mine)),
        "ari": float(adjusted_rand_score(truth, mine)),
        "labelled": int(known.sum()),
    }


def write_clusters(
    path: Path,
    sounds: Sounds,
    clusters: NDArray[np.int64],
    described: Sequence[Cluster],
    far: NDArray[np.float64],
) -> None:
    """Write a row for each sound: clip, start_s, end_s, cluster, name, distance.

    Args:
        path: a .csv or .parquet file.
        sounds: the sounds.
        clusters: number of each sound's cluster [n].
        described: the clusters.
        far: what `distances` gave [n].

    Raises:
        UsageError: the file ends neither in .csv nor in .parquet.
    """
    check_table(path)
    called = {cluster.number: cluster.name for cluster in described}
    names = [called[number] for number in clusters.tolist()]
    columns = [sounds.clips, sounds.start_s, sounds.end_s, clusters, names, far]
    with atomic_write(path) as file, WRITERS[path.suffix](file, COLUMNS) as writer:
        writer.write_table(pa.table(columns, schema=COLUMNS))


class _Part(NamedTuple):
    clips: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    vectors: Floats


def _parts(table: EmbeddingTable, segments: bool) -> Iterator[_Part]:
    if segments:
        for batch in table.batches():
            kept = searched(batch, table)
            spans = batch.start_s[kept], batch.end_s[kept]
            yield _Part(batch.clips[kept].tolist(), *spans, batch.embeddings[kept])
        return
    journal = table.journal_table()
    seconds = dict(zip(journal["clip"].to_pylist(), journal["duration_s"].to_pylist(), strict=True))
    for clips, vectors in table.clip_batches():
        ends = np.array([seconds[clip] for clip in clips], np.float64)
        yield _Part(clips, np.zeros(len(clips)), ends, vectors)


def _nearest(
    points: Floats, sample: Floats, count: int
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Squared distances and numbers of the nearest of a sample [some, count], some at a time."""
    for start in range(0, len(points), AT_ONCE):
        yield faiss.knn(points[start : start + AT_ONCE], sample, count, faiss.METRIC_L2)
