"""How long work shows its progress: the caller passes what wraps the loop."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items through, showing how many of `total` have gone by."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterable[T]:
        """Iterate over `items`.

        Args:
            items: what to pass through.
            description: says what is done.
            total: number of items, where `items` does not say it.

        Returns:
            the same items.
        """


def untracked(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Pass the items through and show nothing.

    Args:
        items: what to pass through.
        description: is not used.
        total: is not used.

    Returns:
        `items`.
    """
    return items
