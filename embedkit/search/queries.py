"""Queries of a search: clips of the collection, files, folders, and spans of them."""

import fnmatch
import math
import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.files import find_audio
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import find_labels
from embedkit.labels.marked import Segments, carriers
from embedkit.labels.stretches import Rule
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

if TYPE_CHECKING:
    from embedkit.search.query_embedder import QueryEmbedder

SECONDS = r"\d{1,9}(\.\d+)?"
SPAN = re.compile(f"(?P<start>{SECONDS})-(?P<end>{SECONDS})")


class Queries:
    """Turns what a person names into vectors of a collection.

    A name is a clip of the collection or the path of a file, with or without a span of seconds
    behind an `@`: `long.wav@12.5-14`. If a clip or file has just that name, it is meant.
    """

    def __init__(
        self, table: EmbeddingTable, model: Path | None = None, device: str = "cpu"
    ) -> None:
        """Prepare queries of a collection; files are embedded by QueryEmbedder.

        Args:
            table: the collection.
            model: where its model is now, if it has moved.
            device: where torch computes.
        """
        self._table = table
        self._model, self._device = model, device

    def expand(self, names: Sequence[str]) -> Iterator[str]:
        """The names; for a folder, the names of the audio files in it.

        Raises:
            UsageError: a folder has no audio.
        """
        for name in names:
            if self._table.has_clip(name) or not os.path.isdir(name):
                yield name
                continue
            yield from map(str, find_audio(Path(name)).paths)

    def vector(self, name: str) -> NDArray[np.float32]:
        """The vector [D] of a sound.

        Raises:
            UsageError: there is neither such a clip nor such a file, or the span is empty.
            AudioError: the file cannot be decoded.
            EmbeddingFolderError: the collection's model is not there, or not the same.
        """
        sound, start_s, end_s = self._parse(name)
        if self._table.has_clip(sound):
            return self._table.clip_vector(sound, start_s, end_s)
        return self._embedder.embed(Path(sound), start_s, end_s)

    def clip(self, name: str) -> str:
        """The clip of the collection that a name means; empty if it is a file."""
        sound, _, _ = self._parse(name)
        return sound if self._table.has_clip(sound) else ""

    def contrast(self, like: Sequence[str], unlike: Sequence[str]) -> NDArray[np.float32]:
        """The mean of some sounds minus the mean of others, each scaled to length 1.

        Args:
            like: names of sounds.
            unlike: names of sounds to subtract; may be empty.

        Returns:
            float32 [D].
        """
        vector = self._mean(like)
        return vector - self._mean(unlike) if unlike else vector

    def allowed(
        self,
        segments: Segments,
        pattern: str | None,
        labels: Path | None,
        label: str | None,
        rule: Rule | None = None,
        label_column: str = "",
    ) -> NDArray[np.bool_] | None:
        """Which segments are of clips that fit a pattern of paths, and have a label.

        Args:
            segments: all segments.
            pattern: pattern of the clips' names; None: any.
            labels: what `read_dataset` reads.
            label: the label; where labels have times, the segment has it, else the clip.
            rule: the rule for labels with times.
            label_column: the heading of the labels, where the table has none of the known headings.

        Returns:
            bool [segments]; None if all are.

        Raises:
            DatasetError: no segment is, or the labels cannot be read.
        """
        if pattern is None and label is None:
            return None
        clips = segments.names
        fits = np.array([fnmatch.fnmatchcase(clip, pattern or "*") for clip in clips])
        found: NDArray[np.bool_] = fits[segments.owner]
        if labels is not None and label is not None:
            known, manifest = find_labels(list(clips), self._table, str(labels), label_column)
            if manifest.has_times:
                found &= carriers(segments, known, label, rule or Rule())
            else:
                has = [clip in known and label in known[clip].labels for clip in clips]
                found &= np.array(has)[segments.owner]
        if not found.any():
            asked = " and ".join(str(part) for part in (pattern, label) if part is not None)
            raise DatasetError(f"no clip of the collection fits {asked}")
        return found

    def _mean(self, names: Sequence[str]) -> NDArray[np.float32]:
        vectors = unit(np.array([self.vector(name) for name in self.expand(names)]))
        mean: NDArray[np.float32] = vectors.mean(axis=0)
        return mean

    def _parse(self, name: str) -> tuple[str, float, float]:
        sound, _, span = name.rpartition("@")
        if self._is_there(name) or not sound:
            return name, 0.0, math.inf
        found = SPAN.fullmatch(span)
        if found is None:
            if self._is_there(sound):
                raise UsageError(
                    f"{name}: {span!r} is no span of seconds; expected FROM-TO, as in"
                    f" {sound}@12.5-14"
                )
            return name, 0.0, math.inf
        start_s, end_s = float(found["start"]), float(found["end"])
        if start_s >= end_s:
            raise UsageError(
                f"{name}: a span from {start_s:g} to {end_s:g} s is empty; expected FROM-TO with"
                " FROM below TO"
            )
        return sound, start_s, end_s

    def _is_there(self, name: str) -> bool:
        return self._table.has_clip(name) or os.path.exists(name)

    @cached_property
    def _embedder(self) -> "QueryEmbedder":
        from embedkit.search.query_embedder import QueryEmbedder

        return QueryEmbedder(self._table.provenance, self._model, self._device)
