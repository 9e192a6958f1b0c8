"""What the labels teach: scores of segments, and which clips to label next."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.labels.answers import Answers
from embedkit.web.collection import Collection

if TYPE_CHECKING:
    from embedkit.classifiers.classifier import Classifier

PROPOSED = 12  # clips to label next


class Learner:
    """Learns from the labels as they are when something is asked of it."""

    def __init__(self, collection: Collection, answers: Answers) -> None:
        self._collection, self._answers = collection, answers
        self._number = {name: index for index, name in enumerate(collection.clips)}
        self._learned: tuple[Mapping[str, str], Classifier | None] = {}, None

    def propose(self, passed: Iterable[int]) -> dict[str, Any]:
        """What the labels have led to so far, and the clips to label next, by number.

        Args:
            passed: numbers of clips that a person has skipped, and that are left out.
        """
        from embedkit.classifiers.active import suggest  # scikit-learn: seconds, for who labels

        clips, known = self._collection.clips, self._known()
        skipped = {clip for clip in self._answers.skipped if clip in self._number}
        left_out = skipped | {clips[number] for number in passed if number < len(clips)}
        proposal, classifier = suggest(
            clips, self._collection.clip_vectors, known, sorted(left_out), PROPOSED
        )
        self._learned = known, classifier
        proposed = [
            {"clip": self._number[clip], "name": clip, "guess": guess}
            for clip, guess, _ in proposal.proposed
        ]
        return {
            **asdict(proposal),
            "proposed": proposed,
            "clips": len(clips),
            "skipped": len(skipped - known.keys()),
        }

    def scores(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Scores of segments by what the labels teach; empty if there are fewer than two labels."""
        from embedkit.classifiers.active import learn

        known = self._known()
        if known != self._learned[0]:
            vectors = self._collection.clip_vectors
            self._learned = known, learn(self._collection.clips, vectors, known)
        classifier = self._learned[1]
        if classifier is None:
            return {"labels": [], "scores": []}
        scores = classifier.scores(self._collection.search.vectors[rows])
        return {"labels": list(classifier.labels), "scores": scores.round(4).tolist()}

    def _known(self) -> dict[str, str]:
        return {clip: label for clip, label in self._answers.labels.items() if clip in self._number}
