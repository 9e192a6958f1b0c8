"""Chooses which of the segments that a search finds are kept."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedkit.errors import UsageError, choices
from embedkit.labels.marked import Segments
from embedkit.numbering import numbered
from embedkit.search.duplicates import LEAST
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

# The vectors float32 [n, D] of segments, by their places among those found.
Vectors = Callable[[Sequence[int]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of the found segments are kept; they are looked at from the best one on.

    Attributes:
        per_clip: the most segments of one clip; None: all.
        per_folder: the most segments of clips in one folder; None: all.
        distinct: leave out near-copies: segments whose vector, less the collection's mean, has a
            cosine of `duplicates.LEAST` or more with that of a better one that is kept.
        threshold: the lowest similarity that is kept; with `farthest`, the highest.
        farthest: the least similar segments are the best.

    Raises:
        UsageError: a number is below 1.
    """

    per_clip: int | None = 1
    per_folder: int | None = None
    distinct: bool = False
    threshold: float | None = None
    farthest: bool = False

    def __post_init__(self) -> None:
        for name in ("per_clip", "per_folder"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')} {value}: must be at least 1")

    @classmethod
    def of(cls, *, segments: bool = False, **settings: Any) -> "Choice":
        """Make a choice by settings; by default the best segment of each clip is kept.

        Args:
            segments: keep all segments of a clip, unless `per_clip` gives a number.
            settings: those of the class; None is the same as leaving a setting out.

        Returns:
            the choice.

        Raises:
            UsageError: there is no such setting, or a number is below 1.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise UsageError(f"search has no setting {name!r}{choices(name, known)}")
        given = {name: value for name, value in settings.items() if value is not None}
        return cls(**{"per_clip": None if segments else 1, **given})

    @property
    def sign(self) -> int:
        """What turns a similarity into how well a segment fits: 1, or -1 with `farthest`."""
        return -1 if self.farthest else 1

    @property
    def least_fit(self) -> float:
        """The lowest fit that is kept: the threshold times the sign."""
        return -np.inf if self.threshold is None else self.sign * self.threshold

    def keep(
        self,
        top: int,
        fits: NDArray[np.floating],
        clips: NDArray[np.integer],
        folders: NDArray[np.integer],
        vectors: Vectors | None = None,
    ) -> list[int]:
        """Choose among segments that are sorted, the best first.

        Args:
            top: the most segments to keep.
            fits: how well each fits, falling [n].
            clips: number of each one's clip [n].
            folders: number of the folder of each one's clip [n].
            vectors: gives vectors of the segments at some places, less the mean and of length 1;
                without it copies are kept.

        Returns:
            the places of those that are kept.
        """
        kept: list[int] = []
        of_clip: Counter[int] = Counter()
        of_folder: Counter[int] = Counter()
        better: list[NDArray[np.float32]] = []
        enough = np.flatnonzero(fits >= self.least_fit).tolist()
        for place, clip, folder in zip(
            enough, clips[enough].tolist(), folders[enough].tolist(), strict=True
        ):
            if len(kept) == top:
                break
            if self.per_clip is not None and of_clip[clip] == self.per_clip:
                continue
            if self.per_folder is not None and of_folder[folder] == self.per_folder:
                continue
            if self.distinct and vectors is not None:
                [vector] = vectors([place])
                if better and max(np.stack(better) @ vector) >= LEAST:
                    continue
                better.append(vector)
            of_clip[clip] += 1
            of_folder[folder] += 1
            kept.append(place)
        return kept

    def most(self, clips: NDArray[np.integer], folders: NDArray[np.integer]) -> int:
        """The most segments that can be kept.

        Args:
            clips: number of each segment's clip [n].
            folders: number of the folder of each segment's clip [n].

        Returns:
            their number.
        """
        _, firsts, counts = np.unique(clips, return_index=True, return_counts=True)
        if self.per_clip is not None:
            counts = counts.clip(max=self.per_clip)
        if self.per_folder is None:
            return int(counts.sum())
        _, folder = np.unique(folders[firsts], return_inverse=True)
        return int(np.bincount(folder, counts).clip(max=self.per_folder).sum())


BEST_OF_EACH, EVERY = Choice(), Choice(per_clip=None)


def number_folders(clips: Sequence[str]) -> NDArray[np.int64]:
    """The number of each clip's folder [n]."""
    folders = [str(PurePosixPath(clip).parent) for clip in clips]
    return numbered(np.array(folders, object))[1]


def lasting(
    table: EmbeddingTable,
    segments: Segments,
    longer: float | None,
    shorter: float | None,
    among: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """Which segments are of clips of some duration.

    Args:
        table: the collection, whose journal has the durations.
        segments: all segments.
        longer: the shortest duration in seconds; None: any.
        shorter: the longest duration in seconds; None: any.
        among: the only segments that are asked about, bool [n].

    Returns:
        bool [n]; None if all are.

    Raises:
        UsageError: no segment is.
    """
    if longer is None and shorter is None:
        return among
    journal = table.journal_table()
    seconds = dict(zip(journal["clip"].to_pylist(), journal["duration_s"].to_pylist(), strict=True))
    durations = np.array([seconds[clip] for clip in segments.names])[segments.owner]
    found: NDArray[np.bool_] = durations >= (0 if longer is None else longer)
    found &= durations <= (np.inf if shorter is None else shorter)
    if among is not None:
        found &= among
    if not found.any():
        asked = " and ".join(
            f"{limit:g} s or {word}"
            for limit, word in ((longer, "longer"), (shorter, "shorter"))
            if limit is not None
        )
        raise UsageError(f"no clip that is asked about is {asked}")
    return found


def centred(vectors: ArrayLike, mean: ArrayLike) -> NDArray[np.float32]:
    """Vectors less a mean, scaled to length 1: what all sounds share then makes none alike.

    Args:
        vectors: [n, D].
        mean: [D].

    Returns:
        float32 [n, D].
    """
    return unit(np.asarray(vectors, np.float32) - np.asarray(mean, np.float32))
