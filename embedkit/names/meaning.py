"""What words stand for, and how surely that is heard, by the scores of a classifier."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST = 1e-12  # probability, so that it has a logarithm


class How(StrEnum):
    """The way in which words led to names."""

    EXACT = "exact"  # they are one
    SYNONYM = "synonym"  # they stand for some in our own table
    ALTERNATIVE = "alternative"  # they are one of those that a name lists, or it without brackets
    ONTOLOGY = "ontology"  # they are a name of AudioSet's ontology, and names below it have scores
    PART = "part"  # they are words of a longer name
    SPELLING = "spelling"  # other words, written nearly so, led to them


@dataclass(frozen=True)
class Match:
    """A sound that some words stand for.

    Attributes:
        words: words of the query.
        how: how they were matched.
        found: names that they stand for, in the classifier or the ontology.
        names: these names and those below them, as far as the classifier scores them.
    """

    words: str
    how: How
    found: tuple[str, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        """The match in words for a person."""
        below = len(set(self.names) - set(self.found))
        more = f" (and {below} below)" if below else ""
        return "; ".join(self.found) + more


@dataclass(frozen=True)
class Meaning:
    """What a query stands for: sounds that are to be heard at the same time.

    Attributes:
        labels: labels of the classifier.
        matches: one for each sound.
    """

    labels: tuple[str, ...]
    matches: tuple[Match, ...]

    def __str__(self) -> str:
        """The meaning in words for a person."""
        return " + ".join(map(str, self.matches))

    def scores(self, probabilities: ArrayLike) -> Floats:
        """How surely all of it is heard [n], by the probabilities of the labels [n, labels].

        A sound is as sure as the surest of its names. For several sounds the geometric mean counts:
        it ranks as the probability of all at once would, if they were independent.
        """
        of_labels = np.asarray(probabilities, np.float64)
        sounds: list[Floats] = [of_labels[:, own].max(axis=1) for own in self._columns]
        if len(sounds) == 1:
            return sounds[0]
        mean: Floats = np.exp(np.log(np.maximum(sounds, LEAST)).mean(axis=0))
        return mean

    def names(self, probabilities: ArrayLike) -> list[str]:
        """The surest name of each sound, joined by ` + `, for some rows [n, labels]."""
        of_labels = np.asarray(probabilities)
        best = [own[of_labels[:, own].argmax(axis=1)] for own in self._columns]
        return [" + ".join(self.labels[column] for column in row) for row in np.transpose(best)]

    @cached_property
    def _columns(self) -> list[NDArray[np.int64]]:
        return [np.array([self.labels.index(name) for name in each.names]) for each in self.matches]
