"""Finds the segments of a collection in which a query of words is heard most surely."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.classifier import Classifier
from embedkit.names.meaning import Meaning
from embedkit.numbering import numbered
from embedkit.progress import Track, untracked
from embedkit.search.choice import BEST_OF_EACH, EVERY, Choice, centred, number_folders
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A found segment.

    Attributes:
        clip: name of its clip.
        start_s, end_s: seconds within the clip.
        score: how surely it holds what was asked for, in [0, 1].
        name: the surest of the names that were asked for; for several sounds one name each.
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
    choice: Choice = BEST_OF_EACH,
    track: Track = untracked,
) -> list[list[Heard]]:
    """The segments where each of some meanings is heard most surely, the best first.

    All segments except slivers at the clips' ends are scored, some at a time, so that memory does
    not grow with the collection. Of equal segments, the one of the clip that is first by name comes
    first.

    Args:
        table: the collection.
        classifier: a classifier of its vectors.
        meanings: what queries stand for in the classifier's labels.
        top: the most results of each.
        among: which rows to look at, in the order of the parts, bool [rows]; by default all.
        choice: which results are kept; by default the best segment of each clip. Its similarities
            are scores here.
        track: shows the progress.

    Returns:
        a list of results for each meaning.

    Raises:
        EmbedkitError: the classifier was fitted on other vectors.
    """
    classifier.check(table)
    # Which copies are left out is known when all that is better is: so more are looked at, until
    # enough are left.
    first = replace(EVERY, farthest=choice.farthest, threshold=choice.threshold)
    depth = 4 * top if choice.distinct else top
    while True:
        best, mean = _listen(
            table, classifier, meanings, depth, among, first if choice.distinct else choice, track
        )
        answers = [[found.heard for found in _keep(mine, top, choice, mean)] for mine in best]
        if not choice.distinct or all(
            len(answer) == top or len(mine) < depth
            for answer, mine in zip(answers, best, strict=True)
        ):
            return answers
        depth *= 4


class _Found(NamedTuple):
    """A found segment, and its vector [D]."""

    heard: Heard
    vector: NDArray[np.float32]


def _listen(
    table: EmbeddingTable,
    classifier: Classifier,
    meanings: Sequence[Meaning],
    top: int,
    among: NDArray[np.bool_] | None,
    choice: Choice,
    track: Track,
) -> tuple[list[list[_Found]], NDArray[np.float64]]:
    """The best of each meaning, best first; and the mean of all vectors and one of zeros [D]."""
    best: list[list[_Found]] = [[] for _ in meanings]
    total, seen = np.zeros(table.embedding_size), 0
    for batch in track(table.batches(), "Listening", None):
        total += batch.embeddings.sum(axis=0, dtype=float)
        kept = searched(batch, table)
        if among is not None:
            kept &= among[seen : seen + len(kept)]
        seen += len(kept)
        clips, owner = numbered(batch.clips[kept])
        start_s, end_s = batch.start_s[kept], batch.end_s[kept]
        vectors = batch.embeddings[kept]
        folders = number_folders(clips.tolist())
        probabilities = classifier.scores(vectors)
        for number, meaning in enumerate(meanings):
            scores = meaning.scores(probabilities)
            order = np.lexsort((start_s, owner, -choice.sign * scores))
            clip = owner[order]
            fits = choice.sign * scores[order]
            places = choice.keep(top, fits, clip, folders[clip])
            rows = order[places]
            names = meaning.names(probabilities[rows])
            found = [
                _Found(
                    Heard(
                        clip=str(clips[owner[row]]),
                        start_s=float(start_s[row]),
                        end_s=float(end_s[row]),
                        score=float(scores[row]),
                        name=name,
                    ),
                    vectors[row].copy(),
                )
                for row, name in zip(rows, names, strict=True)
            ]
            best[number] = _keep([*best[number], *found], top, choice, total)
    return best, total / (seen + 1)


def _keep(found: list[_Found], top: int, choice: Choice, mean: NDArray[np.float64]) -> list[_Found]:
    """The results that are kept, the best first, of some in any order."""
    found.sort(key=lambda one: (-choice.sign * one.heard.score, one.heard.clip, one.heard.start_s))
    names = [one.heard.clip for one in found]
    _, clips = np.unique(np.array(names, object), return_inverse=True)
    places = choice.keep(
        top,
        np.array([choice.sign * one.heard.score for one in found]),
        clips,
        number_folders(names),
        lambda places: centred([found[place].vector for place in places], mean),
    )
    return [found[place] for place in places]
