"""Names that stand beside many rows, each once: of ten million rows their texts take gigabytes."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

AT_ONCE = 65_536  # names that are Python's for a moment


def shared(names: pa.Array | pa.ChunkedArray) -> NDArray[np.object_]:
    """A column of names as Python's, of which equal ones are one object.

    Args:
        names: the column [n].

    Returns:
        object array of str [n].
    """
    texts, numbers = _encoded(names)
    return texts[numbers]


def numbered(names: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Number some names, as `np.unique` does, whose texts all take the room of the longest.

    Args:
        names: object array of str [n].

    Returns:
        the different ones, sorted; and the number of the one that each name is, int64 [n].
    """
    starts = range(0, len(names), AT_ONCE)
    parts = (pa.array(names[start : start + AT_ONCE], pa.string()) for start in starts)
    encoded = [part.dictionary_encode() for part in parts]  # their texts are gone at once
    texts, numbers = _encoded(pa.chunked_array(encoded, pa.dictionary(pa.int32(), pa.string())))
    order = np.argsort(texts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return texts[order], rank[numbers]


def _encoded(
    names: pa.Array | pa.ChunkedArray,
) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    encoded = names.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # not before: an array of texts ends at 2 GB
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices.to_numpy()


class Places:
    """Where each of many different names stands among them; 16 bytes a name, of 200 in a dict."""

    def __init__(self, names: pa.ChunkedArray) -> None:
        """Of a column of different names [n]."""
        self._names = names.combine_chunks()
        starts = range(0, len(names), AT_ONCE)
        some = (self._names.slice(start, AT_ONCE).to_pylist() for start in starts)
        hashes = np.fromiter((hash(name) for part in some for name in part), np.int64, len(names))
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def find(self, name: str) -> int | None:
        """The place of a name; None if it is not among them."""
        wanted = hash(name)
        at = int(np.searchsorted(self._hashes, wanted))
        while at < len(self._hashes) and self._hashes[at] == wanted:  # of another name, hardly ever
            if self._names[self._order[at]].as_py() == name:
                return int(self._order[at])
            at += 1
        return None
