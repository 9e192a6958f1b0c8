"""How long work tells where it is: the caller hands in what wraps the loop."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items through, showing how many of `total` have gone by."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterable[T]:
        """Iterate over `items`."""


def untracked(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Pass the items through and show nothing."""
    return items
