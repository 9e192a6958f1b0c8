"""What stands behind the pages: the collection, the labels, and what was learned of them."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import HTTPException

from embedkit.audio.decode import Samples
from embedkit.labels.answers import Answers
from embedkit.web import picture, sound, take
from embedkit.web.cards import Cards
from embedkit.web.collection import Collection
from embedkit.web.find import Finder
from embedkit.web.learning import Learner
from embedkit.web.plane import Plane
from embedkit.web.regions import Regions
from embedkit.web.uploads import Uploads

LEAST, PAIRS = 0.98, 500  # near-duplicates: from which similarity on, and how many are shown


class Made(NamedTuple):
    """A sound or a picture of a span.

    Attributes:
        key: of the content: changes when the file does.
        make: the content.
    """

    key: Hashable
    make: Callable[[], bytes]


class Explorer:
    """Answers what the pages ask, by numbers of clips and segments of one edition."""

    def __init__(
        self,
        collection: Collection,
        answers: Answers,
        uploads: Uploads,
        model: Path | None = None,
        plane: Plane | None = None,
    ) -> None:
        self.collection, self.answers, self.uploads = collection, answers, uploads
        self.cards = Cards(collection, answers)
        self.finder = Finder(self.cards, uploads, model)
        self.cache = sound.Cache()
        self.number = {name: index for index, name in enumerate(collection.clips)}
        self.learner = Learner(collection, answers)
        self.hearing = collection.table.provenance.hearing
        self.plane = plane or Plane(collection)
        self.regions = Regions(collection, self.plane, self.finder)

    def name(self, clip: int) -> str:
        """A clip's name, or 404."""
        if clip >= len(self.collection.clips):
            raise HTTPException(404, "no such clip")
        return self.collection.clips[clip]

    def path(self, clip: int) -> Path:
        """A clip's file, or 404."""
        self.name(clip)
        return self.collection.path(clip)

    def label(self, clip: int, label: str) -> None:
        """Give a clip a label, or with an empty one take it away."""
        self.answers.set(self.name(clip), label)

    def stretch(self, clip: int, start_s: float) -> dict[str, Any]:
        """Two minutes of a clip, as they are heard: peaks, segments, and their scores."""
        collection, speed = self.collection, self.hearing.speed

        def measure(samples: Samples) -> bytes:
            length_s = np.float32(len(samples) / sound.RATE * speed)
            return np.append(length_s, sound.peaks(samples)).tobytes()

        end_s = start_s + sound.longest_s(self.hearing)
        kept = self._made("peaks", measure, clip, start_s, end_s).make()
        length, *peaks = np.frombuffer(kept, np.float32).round(4).tolist()
        end_s = start_s + length
        rows = collection.rows_of(clip)
        rows = rows[(collection.end_s[rows] > start_s) & (collection.start_s[rows] < end_s)]
        return {
            "clip": clip,
            "name": collection.clips[clip],
            "duration_s": max(end_s, float(collection.seconds[clip])),
            "start_s": start_s,
            "end_s": end_s,
            "peaks": peaks,
            "segments": [self.cards.segment(int(row)) for row in rows],
            **self.learner.scores(rows),
        }

    def cut(self, clip: int, start_s: float, end_s: float) -> Made:
        """A span as it stands in the file."""
        path, track = self.path(clip), self.collection.track
        key = ("cut", clip, start_s, end_s, sound.stamp(path))
        return Made(key, lambda: take.cut(path, start_s, end_s, track))

    def wav(self, clip: int, start_s: float, end_s: float) -> Made:
        """The sound of a span."""
        return self._made("wav", sound.wav, clip, start_s, end_s)

    def spectrogram(self, clip: int, start_s: float, end_s: float) -> Made:
        """The picture of a span."""
        return self._made("png", picture.spectrogram, clip, start_s, end_s)

    def _made(
        self, what: str, encode: Callable[[Samples], bytes], clip: int, start_s: float, end_s: float
    ) -> Made:
        path = self.path(clip)
        # Not to look for what is behind the end: of long files that takes long.
        end_s = min(end_s, float(self.collection.seconds[clip]) + sound.AROUND_S)
        key = (what, clip, round(start_s, 3), round(end_s, 3), sound.stamp(path))
        track = self.collection.track

        def make() -> bytes:
            return encode(sound.read_span(path, start_s, end_s, track, self.hearing))

        return Made(key, lambda: self.cache.get(key, make))

    def duplicates(self) -> list[dict[str, Any]]:
        """Pairs of clips that are nearly the same, as cards of their first segments."""
        from embedkit.search.duplicates import find_duplicates

        pairs = find_duplicates(self.collection.table, LEAST)[:PAIRS]
        first = {name: int(self.collection.first[index]) for name, index in self.number.items()}
        return [
            {"similarity": pair.similarity, "one": self.cards.segment(first[pair.clip]),
             "other": self.cards.segment(first[pair.other])}
            for pair in pairs
        ]  # fmt: skip
