"""A part of a file, or a file some of whose bytes are put right, for decoders that take a file."""

import io
import os


class Part(io.RawIOBase):
    """The bytes of an open file from `start` to `end`, with `new` in place of those `at` a place.

    It has a position of its own, so that several parts may be read by turns.

    Attributes:
        start: where it begins in the file.
    """

    def __init__(
        self,
        descriptor: int,
        start: int = 0,
        end: int | None = None,
        *,
        at: int = 0,
        new: bytes = b"",
    ) -> None:
        """Of the file that is open as `descriptor`; `end` is its end by default."""
        super().__init__()
        self._descriptor, self.start = descriptor, start
        self._end = os.fstat(descriptor).st_size if end is None else end
        self._at, self._new = at, new
        self._place = start

    def fileno(self) -> int:
        """Of the whole file."""
        return self._descriptor

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place in the part."""
        return self._place - self.start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part."""
        base = {os.SEEK_SET: self.start, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = max(self.start, base + offset)
        return self.tell()

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read as many bytes as there is room for, and as there are."""
        first = self._place
        wanted = max(0, min(len(buffer), self._end - first))
        data = bytearray(os.pread(self._descriptor, wanted, first))
        low, high = max(first, self._at), min(first + len(data), self._at + len(self._new))
        if low < high:
            data[low - first : high - first] = self._new[low - self._at : high - self._at]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
