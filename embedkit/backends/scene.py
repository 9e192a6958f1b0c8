"""A long clip decided from its segments: three ways, compared."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from embedkit.backends.classifier import Classifier
from embedkit.backends.classify import Evaluation, evaluate
from embedkit.backends.labels import Labelled
from embedkit.backends.method import Floats, Method
from embedkit.backends.splits import Indices


class Decision(StrEnum):
    """How a clip's label comes from its segments."""

    MEAN_SCORE = "mean of scores"  # paper, section 3.2
    MAJORITY = "majority"  # of the segments' labels; of equally many, by the mean of scores
    MEAN_VECTOR = "mean vector"  # a classifier of clips, on the mean of their segments' vectors


def decide(
    scores: Floats, owners: NDArray[np.int64], decision: Decision, count: int
) -> NDArray[np.float64]:
    """Scores of clips from those of their segments.

    Args:
        scores: of segments [n, classes].
        owners: of each the number of its clip [n].
        decision: mean of scores, or majority.
        count: of clips.

    Returns:
        [count, classes]; of a majority, the shares of the segments' labels, and where they are
        equal a little more for the higher mean score.
    """
    total = np.zeros((count, scores.shape[1]))
    np.add.at(total, owners, scores)
    segments = np.maximum(np.bincount(owners, minlength=count), 1)[:, None]
    mean = total / segments
    if decision is Decision.MEAN_SCORE:
        return mean
    votes = np.zeros_like(total)
    np.add.at(votes, (owners, scores.argmax(axis=1)), 1)
    # Less than half a vote, whatever the mean.
    shares: NDArray[np.float64] = (votes + 0.49 * mean) / (segments + 0.49)
    return shares


def compare_decisions(
    clips: Labelled,
    segments: Labelled,
    splits: Sequence[tuple[Indices, Indices]],
    method: Method,
) -> dict[Decision, Evaluation]:
    """Score held-out clips in all three ways.

    Args:
        clips: vectors of clips.
        segments: of the same clips' segments.
        splits: of the clips.
        method: of classification; fitted on segments for the first two ways, on clips for the last.
    """
    number = {clip: index for index, clip in enumerate(clips.clips)}
    owner = np.array([number[clip] for clip in segments.clips])
    found: dict[Decision, list[Floats]] = {
        Decision.MEAN_SCORE: [],
        Decision.MAJORITY: [],
    }
    for fitted, held in splits:
        rows = np.flatnonzero(np.isin(owner, fitted))
        asked = np.flatnonzero(np.isin(owner, held))
        model = Classifier.fit(segments, rows, method, fingerprint="")
        scores = model.scores(segments.vectors[asked])
        place = np.full(len(clips.clips), -1)
        place[held] = np.arange(len(held))
        for decision, parts in found.items():
            parts.append(decide(scores, place[owner[asked]], decision, len(held)))
    whole = evaluate(clips, splits, method)
    evaluations = {
        decision: Evaluation(**{**vars(whole), "scores": np.concatenate(parts)})
        for decision, parts in found.items()
    }
    return {**evaluations, Decision.MEAN_VECTOR: whole}
