"""A part of a file, or a file some of whose bytes are put right, for decoders that take a file."""

import io
import os
from io import FileIO


def read_at(descriptor: int, length: int, place: int) -> bytes:
    """Bytes of an open file from a place on; the file's own position stays."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, place)
    before = os.lseek(descriptor, 0, os.SEEK_CUR)  # Windows
    os.lseek(descriptor, place, os.SEEK_SET)
    try:
        return os.read(descriptor, length)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


class Part(io.RawIOBase):
    """The bytes of an open file from `start` to `end`, with `new` in place of those `at` a place.

    It has a position of its own, so that several parts may be read by turns.

    Attributes:
        start: where it begins in the file.
        size: how many bytes it has.
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
        """Of the file that is open as `descriptor`; `end` is its end by default.

        `at` is a place in the part.
        """
        super().__init__()
        self._descriptor, self.start = descriptor, start
        self.size = max(0, (os.fstat(descriptor).st_size if end is None else end) - start)
        self._at, self._new = at, new
        self._place = 0

    def fileno(self) -> int:
        """Of the whole file."""
        return self._descriptor

    @classmethod
    def of(cls, file: "FileIO | Part") -> "Part":
        """A whole file, or a part as it is."""
        return file if isinstance(file, Part) else cls(file.fileno())

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place in the part."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read as many bytes as there is room for, and as there are."""
        data = self.pread(len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def pread(self, length: int, place: int) -> bytes:
        """So many bytes from a place on, or as many as there are; the position stays."""
        wanted = max(0, min(length, self.size - place))
        # A place from a damaged header may be beyond what the system takes for one.
        data = read_at(self._descriptor, wanted, self.start + place) if wanted else b""
        low, high = max(place, self._at), min(place + len(data), self._at + len(self._new))
        if low >= high:
            return data
        new = self._new[low - self._at : high - self._at]
        return data[: low - place] + new + data[high - place :]

    def part(self, start: int, end: int | None = None, *, at: int = 0, new: bytes = b"") -> "Part":
        """A part of it, without its own new bytes; places are in this one."""
        last = self.start + (self.size if end is None else end)
        return Part(self._descriptor, self.start + start, last, at=at - start, new=new)
