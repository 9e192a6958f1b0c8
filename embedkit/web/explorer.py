"""What stands behind the pages: the collection, the labels, and what was learned of them."""

from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.cluster import MiniBatchKMeans

from embedkit.audio.decode import Samples
from embedkit.classifiers.classifier import Classifier
from embedkit.labels.answers import Answers
from embedkit.names.bundled import load_names
from embedkit.names.vocabulary import Vocabulary
from embedkit.search.duplicates import find_duplicates
from embedkit.search.words import best_rows
from embedkit.web import sound
from embedkit.web.collection import Collection
from embedkit.web.learning import Learner
from embedkit.web.uploads import Uploads

CLUSTERS = 12
SCORED = 8192  # segments at a time
LEAST, PAIRS = 0.98, 500  # near-duplicates: from which similarity on, and how many are shown

Number = Annotated[int, Field(ge=0)]


class Filters(BaseModel):
    """What is looked at, and how much is answered."""

    model_config = ConfigDict(extra="forbid")

    top: int = Field(default=30, ge=1, le=200)
    folder: str = Field(default="", max_length=1000)
    label: str = Field(default="", max_length=100)
    shortest_s: float = Field(default=0.0, ge=0)
    longest_s: float | None = None


class Words(Filters):
    """A search by words."""

    text: str = Field(max_length=200)


class Asked(Filters):
    """A search by sounds: segments and uploads that it is to be like, or unlike."""

    like: list[Number] = Field(default=[], max_length=50)
    unlike: list[Number] = Field(default=[], max_length=50)
    uploads: list[Number] = Field(default=[], max_length=10)
    size: int | None = None
    elsewhere: bool = False  # in no clip of a segment that it is to be like


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
    ) -> None:
        self.collection, self.answers, self.uploads = collection, answers, uploads
        self.model = model
        self.cache = sound.Cache()
        self.number = {name: index for index, name in enumerate(collection.clips)}
        self.seconds = np.maximum.reduceat(collection.end_s, collection.first[:-1])
        self.folders = np.array(
            [name.rpartition("/")[0] for name in collection.clips], dtype=object
        )
        self.learner = Learner(collection, answers)

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Of each segment, by k-means on its vector, int64 [n]."""
        vectors = self.collection.search.vectors
        count = min(CLUSTERS, len(vectors))
        found: NDArray[np.int64] = MiniBatchKMeans(count, random_state=0, n_init=1).fit_predict(
            vectors
        )
        return found

    @cached_property
    def namer(self) -> Classifier:
        """The names that the collection's model brings."""
        return load_names(self.collection.table, self.model)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words that they can be asked for by."""
        return Vocabulary(self.namer.labels)

    def listen(self, asked: Words) -> dict[str, Any]:
        """Of each clip the segment in which what words stand for is heard most surely."""
        collection, meaning = self.collection, self.vocabulary.find(asked.text)
        rows = np.flatnonzero(self.allowed(asked))
        scores = np.zeros(len(rows))
        for start in range(0, len(rows), SCORED):
            some = slice(start, start + SCORED)
            scores[some] = meaning.scores(self.namer.scores(collection.search.vectors[rows[some]]))
        best = best_rows(scores, collection.clip[rows], collection.start_s[rows], asked.top)
        names = meaning.names(self.namer.scores(collection.search.vectors[rows[best]]))
        return {
            "names": str(meaning),
            "found": [
                {**self.card(int(rows[one]), float(scores[one])), "heard": name}
                for one, name in zip(best, names, strict=True)
            ],
        }

    def search(self, asked: Asked) -> list[dict[str, Any]]:
        """The segments nearest to what was asked, but for those of the queries' own."""
        collection = self.collection
        size = asked.size or collection.table.embedding_size
        if size not in collection.sizes:
            raise HTTPException(422, f"size {size}: one of {collection.sizes}")
        like = [collection.search.vectors[self.row(row)] for row in asked.like]
        for number in asked.uploads:
            vector = self.uploads.vector(number)
            if vector is None:
                raise HTTPException(404, "that sound is no longer kept: drop it again")
            like.append(vector)
        if not like:
            raise HTTPException(422, "name a segment or a sound to search for")
        unlike = [collection.search.vectors[self.row(row)] for row in asked.unlike]
        query = collection.search.contrast(like, unlike, size)
        among = self.allowed(asked)
        among[[*asked.like, *asked.unlike]] = False
        if asked.elsewhere:
            among &= ~np.isin(collection.clip, collection.clip[asked.like])
        values, rows = collection.search.search(query, asked.top, size=size, among=among)
        return [self.card(int(row), float(value)) for value, row in zip(values, rows, strict=True)]

    def allowed(self, asked: Filters) -> NDArray[np.bool_]:
        """Which segments fit the filters, bool [n]."""
        fits = self.seconds >= asked.shortest_s
        if asked.longest_s is not None:
            fits &= self.seconds <= asked.longest_s
        if asked.folder:
            inside = [f"{folder}/".startswith(f"{asked.folder}/") for folder in self.folders]
            fits &= np.array(inside)
        if asked.label:
            known = self.answers.labels
            fits &= np.array([known.get(name) == asked.label for name in self.collection.clips])
        return fits[self.collection.clip]

    def card(self, row: int, similarity: float | None = None) -> dict[str, Any]:
        """What a page shows of a segment."""
        collection = self.collection
        clip = int(collection.clip[row])
        return {
            "row": row,
            "clip": clip,
            "name": collection.clips[clip],
            "start_s": float(collection.start_s[row]),
            "end_s": float(collection.end_s[row]),
            "label": self.answers.labels.get(collection.clips[clip], ""),
            "similarity": similarity,
        }

    def row(self, row: int) -> int:
        """A segment's number, or 404."""
        if row >= len(self.collection.clip):
            raise HTTPException(404, "no such segment")
        return row

    def path(self, clip: int) -> Path:
        """A clip's file, or 404."""
        if clip >= len(self.collection.clips):
            raise HTTPException(404, "no such clip")
        return self.collection.path(clip)

    def label(self, clip: int, label: str) -> None:
        """Give a clip a label, or with an empty one take it away."""
        self.path(clip)
        self.answers.set(self.collection.clips[clip], label)

    def stretch(self, clip: int, start_s: float) -> dict[str, Any]:
        """Two minutes of a clip: its peaks, its segments, and their scores."""
        collection = self.collection

        def measure(samples: Samples) -> bytes:
            return np.append(np.float32(len(samples) / sound.RATE), sound.peaks(samples)).tobytes()

        kept = self._made("peaks", measure, clip, start_s, start_s + sound.LONGEST_S).make()
        length, *peaks = np.frombuffer(kept, np.float32).round(4).tolist()
        end_s = start_s + length
        rows = collection.rows_of(clip)
        rows = rows[(collection.end_s[rows] > start_s) & (collection.start_s[rows] < end_s)]
        return {
            "clip": clip,
            "name": collection.clips[clip],
            "duration_s": max(end_s, float(self.seconds[clip])),
            "start_s": start_s,
            "end_s": end_s,
            "peaks": peaks,
            "segments": [self.card(int(row)) for row in rows],
            **self.learner.scores(rows),
        }

    def wav(self, clip: int, start_s: float, end_s: float) -> Made:
        """The sound of a span."""
        return self._made("wav", sound.wav, clip, start_s, end_s)

    def spectrogram(self, clip: int, start_s: float, end_s: float) -> Made:
        """The picture of a span."""
        return self._made("png", sound.spectrogram, clip, start_s, end_s)

    def _made(
        self, what: str, encode: Callable[[Samples], bytes], clip: int, start_s: float, end_s: float
    ) -> Made:
        path = self.path(clip)
        key = (what, clip, round(start_s, 3), round(end_s, 3), sound.stamp(path))
        track = self.collection.track

        def make() -> bytes:
            return encode(sound.read_span(path, start_s, end_s, track))

        return Made(key, lambda: self.cache.get(key, make))

    def duplicates(self) -> list[dict[str, Any]]:
        """Pairs of clips that are nearly the same, as cards of their first segments."""
        pairs = find_duplicates(self.collection.table, LEAST)[:PAIRS]
        first = {name: int(self.collection.first[index]) for name, index in self.number.items()}
        return [
            {"similarity": pair.similarity, "one": self.card(first[pair.clip]),
             "other": self.card(first[pair.other])}
            for pair in pairs
        ]  # fmt: skip
