"""Sounds found: by sounds that they are like, by words for what is heard, or by name."""

import re
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray

from embedkit.numbering import numbered
from embedkit.web.asked import Filters, Named, Sounds, Words
from embedkit.web.cards import Cards
from embedkit.web.uploads import Uploads

if TYPE_CHECKING:
    from embedkit.classifiers.classifier import Classifier
    from embedkit.names.vocabulary import Vocabulary

SCORED = 8192  # segments at a time

Scores = NDArray[np.floating]


class Finder:
    """Finds sounds, a page of them at a time, each with its best seconds."""

    def __init__(self, cards: Cards, uploads: Uploads, model: Path | None = None) -> None:
        """Among the sounds of a collection.

        Args:
            cards: describe what is found.
            uploads: may be asked for by number.
            model: that made the collection, if it has moved.
        """
        self.cards, self.collection, self.answers = cards, cards.collection, cards.answers
        self.uploads, self.model = uploads, model
        names = self.collection.clips
        self.folders = np.array([name.rpartition("/")[0] for name in names], dtype=object)
        self.shelves = numbered(self.folders)[1]
        self.written = [_plain(name) for name in names]

    @cached_property
    def namer(self) -> "Classifier":
        """The names that the collection's model brings."""
        from embedkit.names.bundled import load_names  # what classifies: much, for who asks

        return load_names(self.collection.table, self.model)

    @cached_property
    def vocabulary(self) -> "Vocabulary":
        """The words that they can be asked for by."""
        from embedkit.names.vocabulary import Vocabulary

        return Vocabulary(self.namer.labels)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Of each clip among all by name, as people sort names: 2 comes before 10."""
        keys = [
            [(len(part.lstrip("0")) * part.isdecimal(), part) for part in re.split(r"(\d+)", name)]
            for name in self.written
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return np.argsort(order)

    def by_sounds(self, asked: Sounds) -> dict[str, Any]:
        """Those nearest to what was asked, by segments that were not asked by.

        Raises:
            HTTPException: 404 or 422, what is asked by is not there.
        """
        collection, search = self.collection, self.collection.search
        size = asked.size or collection.table.embedding_size
        if size not in collection.sizes:
            raise HTTPException(422, f"size {size}: must be one of {collection.sizes}")
        like = [search.vectors[self.row(row)] for row in asked.like]
        for number in asked.uploads:
            vector = self.uploads.vector(number)
            if vector is None:
                raise HTTPException(404, "that sound is no longer kept: drop it again")
            like.append(vector)
        if not like:
            raise HTTPException(422, "name a segment or a sound to search for")
        unlike = [search.vectors[self.row(row)] for row in asked.unlike]
        among = self._allowed(asked)
        among[[*asked.like, *asked.unlike]] = False
        if asked.elsewhere:
            among &= ~np.isin(collection.clip, collection.clip[asked.like])
        scores = search.scores(search.contrast(like, unlike, size), size)
        return self._page(asked, among, scores)

    def by_words(self, asked: Words) -> dict[str, Any]:
        """Those in which what words stand for is heard most surely.

        Raises:
            EmbedkitError: the model brings no names, or none is called so.
        """
        vectors, meaning = self.collection.search.vectors, self.vocabulary.find(asked.text)
        among = self._allowed(asked)
        rows = np.flatnonzero(among)
        scores = np.zeros(len(among))
        for start in range(0, len(rows), SCORED):
            some = rows[start : start + SCORED]
            scores[some] = meaning.scores(self.namer.scores(vectors[some]))
        found = self._page(asked, among, scores)
        best = [sound["seconds"][0]["row"] for sound in found["found"]]
        heard = meaning.names(self.namer.scores(vectors[best])) if best else []
        for sound, name in zip(found["found"], heard, strict=True):
            sound["heard"] = name
        return {**found, "names": str(meaning)}

    def by_name(self, asked: Named) -> dict[str, Any]:
        """Those in whose path every word of a text stands, in capitals or not."""
        words = _plain(asked.text).split()
        named = np.array([all(word in name for word in words) for name in self.written])
        return self._page(asked, self._allowed(asked) & named[self.collection.clip], None)

    def row(self, row: int) -> int:
        """A segment's number, or 404."""
        if row >= len(self.collection.clip):
            raise HTTPException(404, "no such segment")
        return row

    def _allowed(self, asked: Filters) -> NDArray[np.bool_]:
        """Which segments fit the filters, bool [n]."""
        collection = self.collection
        fits = collection.seconds >= asked.shortest_s
        if asked.longest_s is not None:
            fits &= collection.seconds <= asked.longest_s
        if asked.folder:
            inside = [f"{folder}/".startswith(f"{asked.folder}/") for folder in self.folders]
            fits &= np.array(inside)
        if asked.label:
            known = self.answers.labels
            fits &= np.array([known.get(name) == asked.label for name in collection.clips])
        among = fits[collection.clip]
        recorded = asked.of(collection.recordings)
        if recorded is not None:
            owner = collection.clip.astype(np.int64)
            among &= recorded.fits(collection.clips, owner, collection.start_s)
        return among

    def _page(
        self, asked: Filters, among: NDArray[np.bool_], scores: Scores | None
    ) -> dict[str, Any]:
        """The sounds that some segments are of, in the order asked for: how many, and a page."""
        collection = self.collection
        kept = np.where(among, 0.0 if scores is None else scores, -np.inf)
        best = np.maximum.reduceat(kept, collection.first[:-1])
        clips = np.flatnonzero(best > -np.inf)
        keys = {
            "best": -best,
            "name": self.places,
            "longest": -collection.seconds,
            "shortest": collection.seconds,
            "folder": self.shelves,
        }
        order = np.lexsort((self.places[clips], -best[clips], keys[asked.sort][clips]))
        found = []
        for clip in clips[order][asked.offset : asked.offset + asked.top].tolist():
            rows = collection.rows_of(clip)
            rows = rows[among[rows]]
            found.append(self.cards.sound(clip, rows, None if scores is None else scores[rows]))
        return {"total": len(clips), "found": found}


def _plain(text: str) -> str:
    """A text as it is compared: not by capitals, nor by how accents are encoded."""
    return unicodedata.normalize("NFC", text).casefold()
