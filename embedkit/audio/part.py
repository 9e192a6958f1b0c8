"""A part of a file, or a file with some of its bytes put right, for decoders that take a file."""

import io
import os
from io import FileIO


def read_at(descriptor: int, length: int, place: int) -> bytes:
    """Bytes of an open file; its own position stays.

    Args:
        descriptor: of the open file.
        length: the most bytes to read.
        place: where the first one is.

    Returns:
        the bytes that are there.
    """
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, place)
    before = os.lseek(descriptor, 0, os.SEEK_CUR)  # Windows
    os.lseek(descriptor, place, os.SEEK_SET)
    try:
        return os.read(descriptor, length)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


class Part(io.RawIOBase):
    """The bytes of an open file from `start` to `end`, with some of them replaced.

    It has a position of its own, so that several parts can be read by turns.

    Attributes:
        start: where it begins in the file.
        size: number of its bytes.
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
        """Take a part of an open file.

        Args:
            descriptor: of the open file.
            start: its first byte in the file.
            end: the byte behind it; by default the file's end.
            at: place in the part of the bytes to replace.
            new: the bytes that stand there instead.
        """
        super().__init__()
        self._descriptor, self.start = descriptor, start
        self.size = max(0, (os.fstat(descriptor).st_size if end is None else end) - start)
        self._at, self._new = at, new
        self._place = 0

    def fileno(self) -> int:
        """The descriptor of the whole file."""
        return self._descriptor

    @classmethod
    def of(cls, file: "FileIO | Part") -> "Part":
        """A whole file, or a part as it is."""
        return file if isinstance(file, Part) else cls(file.fileno())

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place in the part."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part.

        Args:
            offset: bytes from there.
            whence: from the beginning, the position or the end, as for any file.

        Returns:
            the new position.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read as many bytes as there are and as the buffer holds."""
        data = self.pread(len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def pread(self, length: int, place: int) -> bytes:
        """Bytes of the part; the position stays.

        Args:
            length: the most bytes to read.
            place: where the first one is in the part.

        Returns:
            the bytes that are there.
        """
        wanted = max(0, min(length, self.size - place))
        # A place from a damaged header may be beyond what the system takes for one.
        data = read_at(self._descriptor, wanted, self.start + place) if wanted else b""
        low, high = max(place, self._at), min(place + len(data), self._at + len(self._new))
        if low >= high:
            return data
        new = self._new[low - self._at : high - self._at]
        return data[: low - place] + new + data[high - place :]

    def part(self, start: int, end: int | None = None, *, at: int = 0, new: bytes = b"") -> "Part":
        """A part of this part, without its own new bytes.

        Args:
            start: its first byte in this part.
            end: the byte behind it; by default this part's end.
            at: place in the new part of the bytes to replace.
            new: the bytes that stand there instead.

        Returns:
            the new part.
        """
        last = self.start + (self.size if end is None else end)
        return Part(self._descriptor, self.start + start, last, at=at - start, new=new)
