"""Runs batches that fit into the memory of a device."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError

log = logging.getLogger(__name__)

Array = NDArray[np.float32]

# Said by torch, cuDNN, cuBLAS and ONNX Runtime, whose errors have no class of their own for it.
SHORT = ("out of memory", "alloc_failed", "allocate memory", "bad allocation", "bad_alloc")


def is_short(error: Exception) -> bool:
    """Whether an error says that the device or the machine has too little memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in SHORT)


class Fitting:
    """Divides batches that do not fit, and remembers the size that does."""

    def __init__(self) -> None:
        self._most = math.inf

    def run(self, compute: Callable[[Array], Array], segments: Array) -> Array:
        """Compute on segments [B, ...], fewer at a time if need be.

        A batch that does not fit is halved, down to one segment.

        Args:
            compute: gives rows [B, D] that do not depend on what else is in the batch.
            segments: its input.

        Returns:
            what `compute` gave, joined.

        Raises:
            EmbedkitError: there is too little memory for one segment.
        """
        most = min(self._most, len(segments))
        found: list[Array] = []
        done = 0
        while done < len(segments) or not found:
            batch = segments[done : done + int(most)]
            rows = _rows_or_reason(compute, batch)
            if not isinstance(rows, str):
                found.append(rows)
                done += len(batch)
            elif len(batch) <= 1:
                raise EmbedkitError(
                    f"there is too little memory for one segment: {rows}; end what else uses the"
                    " device, or choose another --device or a smaller model"
                )
            else:
                most = math.ceil(len(batch) / 2)
        if most < min(self._most, len(segments)):
            self._most = most
            log.warning(
                "%d segments at a time do not fit into memory: from here on it is %d",
                len(segments),
                most,
            )
        return found[0] if len(found) == 1 else np.concatenate(found)


def _rows_or_reason(compute: Callable[[Array], Array], batch: Array) -> Array | str:
    """The rows, or the reason why there is too little memory for them.

    The reason is text, not the exception, whose traceback would hold on to the failed batch.
    """
    try:
        return compute(batch)
    except Exception as error:
        if not is_short(error):
            raise
        return first_line(error)


def first_line(error: Exception) -> str:
    """The message of an error without the advice that libraries add; MemoryError has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def room_for(batch_size: int, device: Any) -> Iterator[None]:
    """Guard a training: if its batches do not fit, the error says what to do.

    Args:
        batch_size: segments in a batch.
        device: where it learns.

    Yields:
        nothing; it guards what is within.

    Raises:
        EmbedkitError: they do not fit.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, EmbedkitError) or not is_short(error):
            raise
        raise EmbedkitError(
            f"there is too little memory on {device} to train with batches of {batch_size}"
            f" segments: {first_line(error)}; choose a smaller one with --batch-size, or end what"
            " else uses the device"
        ) from error
