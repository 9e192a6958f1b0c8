"""Decides a long clip from its segments in three ways, and compares them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from embedkit import metrics, scoring
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.evaluate import Evaluation, evaluate
from embedkit.classifiers.method import Floats, Method
from embedkit.classifiers.splits import Indices
from embedkit.labels.join import Labelled
from embedkit.progress import Track, untracked


class Decision(StrEnum):
    """How a clip's label comes from its segments."""

    MEAN_SCORE = "mean of scores"  # paper, section 3.2
    MAJORITY = "majority"  # the label of most seconds; of equally many, by the mean of scores
    MEAN_VECTOR = "mean vector"  # a classifier of clips, on their vectors


TIE = 1e-6  # shares of the seconds that are nearer to each other than this are equal


def decide(
    scores: Floats, seconds: Floats, owners: NDArray[np.int64], decision: Decision, count: int
) -> NDArray[np.float64]:
    """Scores of clips from those of their segments.

    Args:
        scores: scores of the segments [n, classes].
        seconds: real duration of each [n].
        owners: number of each one's clip [n].
        decision: mean of scores, or majority.
        count: number of clips.

    Returns:
        [count, classes]; for a majority, the share of the seconds of each label, and where two
            shares are equal a little more for the label with the higher mean score.
    """
    mean = scoring.clip_means(scores, seconds, owners, count)
    if decision is Decision.MEAN_SCORE:
        return mean
    votes = np.eye(scores.shape[1])[scores.argmax(axis=1)]
    shares = scoring.clip_means(votes, seconds, owners, count)
    return (shares + TIE * mean) / (1 + TIE)


def compare_decisions(
    clips: Labelled,
    segments: Labelled,
    splits: Sequence[tuple[Indices, Indices]],
    method: Method,
    track: Track = untracked,
) -> dict[Decision, Evaluation]:
    """Score held-out clips in all three ways.

    Args:
        clips: vectors of clips.
        segments: vectors of the same clips' segments.
        splits: for each split the clips to fit on, and those that are held out.
        method: the method, which is fitted on segments for the first two ways, and on clips for the
            last.
        track: shows the progress of each fit.

    Returns:
        the scores by decision.
    """
    number = {clip: index for index, clip in enumerate(clips.clips)}
    owner = np.array([number[clip] for clip in segments.clips])
    seconds = segments.seconds
    assert seconds is not None, "segments have a duration"
    found: dict[Decision, list[Floats]] = {
        Decision.MEAN_SCORE: [],
        Decision.MAJORITY: [],
    }
    for fitted, held in splits:
        rows = np.flatnonzero(np.isin(owner, fitted))
        asked = np.flatnonzero(np.isin(owner, held))
        model = Classifier.fit(segments, rows, method, fingerprint="", track=track)
        scores = model.scores(segments.vectors[asked])
        place = np.full(len(clips.clips), -1)
        place[held] = np.arange(len(held))
        for decision, parts in found.items():
            parts.append(decide(scores, seconds[asked], place[owner[asked]], decision, len(held)))
    whole = evaluate(clips, splits, method, track)
    evaluations = {
        decision: Evaluation(**{**vars(whole), "scores": np.concatenate(parts)})
        for decision, parts in found.items()
    }
    return {**evaluations, Decision.MEAN_VECTOR: whole}


def against_best(found: Mapping[Decision, Evaluation]) -> dict[Decision, float]:
    """How likely two equally good ways differ as much as each way does from the best of these.

    It is the p of McNemar's exact test on the clips, and 1 for the best itself.
    """
    best = max(found.values(), key=lambda done: done.correct.mean()).correct
    return {way: metrics.mcnemar(best, done.correct) for way, done in found.items()}
