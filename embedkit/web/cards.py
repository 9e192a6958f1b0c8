"""Describes a segment, or a sound with its best seconds, for a page."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.labels.answers import Answers
from embedkit.web.collection import Collection

SECONDS = 5  # of a sound, at most


class Cards:
    """Describes segments and clips by their numbers."""

    def __init__(self, collection: Collection, answers: Answers) -> None:
        self.collection, self.answers = collection, answers

    def segment(self, row: int) -> dict[str, Any]:
        """A segment."""
        clip = int(self.collection.clip[row])
        return {**self._times(row), "clip": clip, **self._of(clip), "similarity": None}

    def sound(
        self, clip: int, rows: NDArray[np.int64], scores: NDArray[np.floating] | None
    ) -> dict[str, Any]:
        """Describe a sound.

        Args:
            clip: number of the clip.
            rows: its segments, in order.
            scores: scores of these [n]; the best come first.

        Returns:
            JSON values.
        """
        order = range(len(rows)) if scores is None else np.argsort(-scores, kind="stable")
        seconds = [
            {
                **self._times(int(rows[one])),
                "similarity": None if scores is None else float(scores[one]),
            }
            for one in order[:SECONDS]
        ]
        return {
            "clip": clip,
            **self._of(clip),
            "duration_s": float(self.collection.seconds[clip]),
            "similarity": seconds[0]["similarity"],
            "seconds": seconds,
        }

    def _of(self, clip: int) -> dict[str, Any]:
        name = self.collection.clips[clip]
        label = self.answers.labels.get(name, "")
        return {"name": name, "label": label, "site": self.collection.recordings.site(name)}

    def _times(self, row: int) -> dict[str, Any]:
        collection = self.collection
        start_s, name = float(collection.start_s[row]), collection.clips[collection.clip[row]]
        return {
            "row": row,
            "start_s": start_s,
            "end_s": float(collection.end_s[row]),
            "recorded_at": collection.recordings.stamp(name, start_s),
        }
