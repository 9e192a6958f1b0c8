"""The segments of a collection in which what some words stand for is heard most surely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.classifier import Classifier
from embedkit.names.meaning import Floats, Meaning
from embedkit.progress import Track, untracked
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A segment found.

    Attributes:
        clip: its name.
        start_s, end_s: in the clip.
        score: how surely it holds what was asked for, in [0, 1].
        name: the surest of the names that were asked for; of several sounds one each.
    """

    clip: str
    start_s: float
    end_s: float
    score: float
    name: str


def find_heard(
    table: EmbeddingTable,
    classifier: Classifier,
    meanings: Sequence[Meaning],
    top: int,
    *,
    among: NDArray[np.bool_] | None = None,
    by_clip: bool = True,
    track: Track = untracked,
) -> list[list[Heard]]:
    """The segments where each of some meanings is heard most surely, best first.

    All segments but slivers at the clips' ends are scored, some at a time: memory does not grow
    with the collection. Of equal ones those of the clip that comes first by name come first.

    Args:
        table: the collection.
        classifier: of its vectors.
        meanings: of words in the classifier's labels.
        top: how many at most.
        among: which rows to look at, in the order of the parts, bool [rows]; by default all.
        by_clip: only the best segment of each clip.
        track: shows the progress.

    Raises:
        EmbedkitError: the classifier is one of other vectors.
    """
    classifier.check(table)
    best: list[list[Heard]] = [[] for _ in meanings]
    seen = 0
    for batch in track(table.batches(), "Listening", None):
        kept = searched(batch, table)
        if among is not None:
            kept &= among[seen : seen + len(kept)]
        seen += len(kept)
        clips, owner = np.unique(batch.clips[kept].astype(str), return_inverse=True)
        start_s, end_s = batch.start_s[kept], batch.end_s[kept]
        probabilities = classifier.scores(batch.embeddings[kept])
        for number, meaning in enumerate(meanings):
            scores = meaning.scores(probabilities)
            rows = best_rows(scores, owner, start_s, top, by_clip=by_clip)
            names = meaning.names(probabilities[rows])
            found = [
                Heard(
                    clip=str(clips[owner[row]]),
                    start_s=float(start_s[row]),
                    end_s=float(end_s[row]),
                    score=float(scores[row]),
                    name=name,
                )
                for row, name in zip(rows, names, strict=True)
            ]
            best[number] = _merge([*best[number], *found], top, by_clip)
    return best


def best_rows(
    scores: Floats,
    owner: NDArray[np.integer],
    start_s: Floats,
    top: int,
    *,
    by_clip: bool = True,
) -> NDArray[np.int64]:
    """Rows of the highest scores, best first; of equal ones the first by clip and time.

    Args:
        scores: [n].
        owner: of each row, the number of its clip [n].
        start_s: of each row [n].
        top: how many at most.
        by_clip: only the best row of each clip.
    """
    order = np.lexsort((start_s, owner, -scores))
    if by_clip:
        _, first = np.unique(owner[order], return_index=True)
        order = order[np.sort(first)]
    return order[:top]


def _merge(hits: list[Heard], top: int, by_clip: bool) -> list[Heard]:
    hits.sort(key=lambda hit: (-hit.score, hit.clip, hit.start_s))
    if by_clip:
        firsts: dict[str, Heard] = {}
        for hit in hits:
            firsts.setdefault(hit.clip, hit)
        hits = list(firsts.values())
    return hits[:top]
