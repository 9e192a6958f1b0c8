"""What is heard in a whole collection: its names, by the time in which they are likely."""

from dataclasses import dataclass

import numpy as np

from embedkit.classifiers.classifier import Classifier
from embedkit.names.surroundings import surrounded
from embedkit.names.tagging import LEAST
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable

MOST = 20_000  # segments that are named: of more, so many at even distances
TOLD = 5  # names in a line


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is heard in a collection.

    Attributes:
        shares: share of the time of each name that is likely in some of it; the largest first. They
            do not add up to one: a second may have several names, or none.
        segments: number of segments that were named.
        sampled: whether there are more.
    """

    shares: dict[str, float]
    segments: int
    sampled: bool

    def __str__(self) -> str:
        """The first names in a line."""
        some = list(self.shares.items())[:TOLD]
        named = ", ".join(f"{name} {_percent(share)}" for name, share in some)
        sample = f" (of a sample of {self.segments:,} segments)" if self.sampled else ""
        return f"{named or 'no name is likely'}{sample}"

    def rows(self) -> list[dict[str, str | float]]:
        """All shares for a program."""
        return [{"name": name, "share": share} for name, share in self.shares.items()]


def summarise(table: EmbeddingTable, names: Classifier, track: Track = untracked) -> Summary:
    """The share of a collection's time of each name.

    A name has the seconds of those segments for which it has, in their surroundings, a probability
    of 0.2 or more. They are the segments that `embedkit tag --stretches` finds for it.

    Args:
        table: the embedding folder; of more than 20,000 segments, 20,000 at even distances are
            named.
        names: a classifier of its vectors.
        track: shows the progress.

    Returns:
        the shares.

    Raises:
        EmbedkitError: the names are those of other vectors.
    """
    names.check(table)
    every = max(1, -(-len(table) // MOST))
    seconds = np.zeros(len(names.labels))
    total_s, segments = 0.0, 0
    for rows in track(surrounded(table, every=every), "Naming"):
        lengths = rows.end_s - rows.start_s
        seconds += lengths @ (names.scores(rows.embeddings) >= LEAST)
        total_s += float(lengths.sum())
        segments += len(lengths)
    order = [int(index) for index in np.argsort(-seconds, kind="stable") if seconds[index] > 0]
    shares = {names.labels[index]: float(seconds[index] / total_s) for index in order}
    return Summary(shares=shares, segments=segments, sampled=every > 1)


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.005 else "under 1 %"
