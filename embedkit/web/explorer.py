"""What is behind the pages: the collection, the labels, and what was learned from them."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import HTTPException

from embedkit.audio.decode import Samples
from embedkit.errors import EmbedkitError
from embedkit.hearing import Hearing
from embedkit.labels.answers import Answers
from embedkit.web import picture, sound, take, view
from embedkit.web.asked import HeardAs
from embedkit.web.cards import Cards
from embedkit.web.collection import Collection
from embedkit.web.find import Finder
from embedkit.web.learning import Learner
from embedkit.web.marking import Marking
from embedkit.web.plane import Plane
from embedkit.web.regions import Regions
from embedkit.web.uploads import Uploads

LEAST, PAIRS = 0.98, 500  # near-duplicates: from which similarity on, and how many are shown


class Made(NamedTuple):
    """A sound or a picture of a span.

    Attributes:
        key: changes when the content does.
        make: makes the content.
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
        self.marking = Marking(collection, answers.path)
        self.hearing = collection.table.provenance.hearing
        self.plane = plane or Plane(collection)
        self.regions = Regions(collection, self.plane, self.finder)

    def name(self, clip: int) -> str:
        """A clip's name; raises HTTPException 404 if there is no such clip."""
        if clip >= len(self.collection.clips):
            raise HTTPException(404, "no such clip")
        return self.collection.clips[clip]

    def path(self, clip: int) -> Path:
        """A clip's file; raises HTTPException 404 if there is no such clip."""
        self.name(clip)
        return self.collection.path(clip)

    def label(self, clip: int, label: str) -> None:
        """Give a clip a label, or take it away with an empty one.

        Args:
            clip: number of the clip.
            label: the label.
        """
        self.answers.set(self.name(clip), label)

    def stretch(self, clip: int, start_s: float) -> dict[str, Any]:
        """Two minutes of a clip, as they are heard: peaks, segments, and their scores.

        Args:
            clip: number of the clip.
            start_s: where the stretch begins, in seconds.

        Returns:
            JSON values.
        """
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
        """A span as it is in the file.

        Args:
            clip: number of the clip.
            start_s: where the span begins, in seconds.
            end_s: where it ends.

        Returns:
            a WAV file.
        """
        path, track = self.path(clip), self.collection.track
        key = ("cut", clip, start_s, end_s, sound.stamp(path))
        return Made(key, lambda: take.cut(path, start_s, end_s, track))

    def wav(self, clip: int, start_s: float, end_s: float, heard: HeardAs) -> Made:
        """The sound of a span.

        Args:
            clip: number of the clip.
            start_s: where the span begins, in seconds.
            end_s: where it ends.
            heard: speed, band and gain.

        Returns:
            a WAV file.
        """
        gain = np.float32(10 ** (heard.gain_db / 20))
        return self._made(
            f"wav {heard.gain_db}", lambda samples: sound.wav(gain * samples), clip, start_s, end_s,
            heard.of(self.hearing),
        )  # fmt: skip

    def recording(self, clip: int) -> dict[str, Any]:
        """What is known about a whole recording, except its sound."""
        path, collection = self.path(clip), self.collection
        rate = self.cache.get(
            ("rate", clip, sound.stamp(path)),
            lambda: view.rate_of(path, collection.track).to_bytes(8, "big"),
        )
        name = collection.clips[clip]
        return {
            "clip": clip,
            "name": name,
            "rate": int.from_bytes(rate, "big"),
            "duration_s": float(collection.seconds[clip]),
            "recorded_at": collection.recordings.stamp(name, 0.0),
            "site": collection.recordings.site(name),
        }

    def view(self, clip: int, start_s: float, end_s: float, heard: HeardAs) -> Made:
        """The picture of a span of any length, in the recording's own Hz.

        Args:
            clip: number of the clip.
            start_s: where the span begins, in seconds.
            end_s: where it ends.
            heard: band and gain.

        Returns:
            a PNG file.

        Raises:
            EmbedkitError: the span or the band is empty.
        """
        path, track = self.path(clip), self.collection.track
        low_hz, high_hz = heard.low_hz, heard.high_hz
        if not start_s < end_s or low_hz is None or high_hz is None or not low_hz < high_hz:
            raise EmbedkitError(
                "a picture needs a span and a band: start_s, end_s, low_hz, high_hz"
            )
        band = low_hz, high_hz, heard.gain_db
        key = ("view", clip, round(start_s, 3), round(end_s, 3), *band, sound.stamp(path))

        def make() -> bytes:
            return view.view(path, start_s, end_s, *band, track)

        return Made(key, lambda: self.cache.get(key, make))

    def spectrogram(self, clip: int, start_s: float, end_s: float) -> Made:
        """The picture of a span as the network hears it.

        Args:
            clip: number of the clip.
            start_s: where the span begins, in seconds.
            end_s: where it ends.

        Returns:
            a PNG file.
        """
        return self._made("png", picture.spectrogram, clip, start_s, end_s)

    def _made(
        self, what: str, encode: Callable[[Samples], bytes], clip: int, start_s: float,
        end_s: float, asked: Hearing | None = None,
    ) -> Made:  # fmt: skip
        path, hearing = self.path(clip), asked or self.hearing
        # Not to look for what is behind the end: of long files that takes long.
        end_s = min(end_s, float(self.collection.seconds[clip]) + sound.AROUND_S)
        key = (what, hearing, clip, round(start_s, 3), round(end_s, 3), sound.stamp(path))
        track = self.collection.track

        def make() -> bytes:
            return encode(sound.read_span(path, start_s, end_s, track, hearing))

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
