"""Ogg pages (RFC 3533): whether the last one is whole, and where one stream follows another."""

import os
from io import FileIO

from embedkit.audio.part import Part, read_at

PAGE = 65307  # bytes at most
HEAD = 27  # bytes of a page's header before the table of its segments
SCAN = 2**20


def is_ogg(file: FileIO) -> bool:
    """Whether a file begins with an Ogg page."""
    file.seek(0)
    return file.read(4) == b"OggS"


def is_closed(file: FileIO | Part) -> bool:
    """Whether the last page has the end-of-stream flag and all its bytes."""
    page = _last_page(file)
    if len(page) < HEAD:
        return False
    flags, segments = page[5], page[26]
    return bool(flags & 0x04) and len(page) >= HEAD + segments + sum(page[HEAD : HEAD + segments])


def links(file: FileIO) -> list[Part]:
    """The links of a chain: radio recorders write one after the other.

    A file that ends with the logical stream that it begins with is one link.
    """
    descriptor, size = file.fileno(), file.seek(0, os.SEEK_END)
    if read_at(descriptor, 18, 0)[14:18] == _last_page(file)[14:18]:
        return [Part(descriptor)]
    starts = []
    beginning = False  # whether the page before was the first of a logical stream
    place: int | None = 0
    while place is not None:
        head = read_at(descriptor, HEAD + 255, place)
        if head[:4] != b"OggS" or len(head) < HEAD:
            place = _next_page(descriptor, place + 1, size)
            continue
        # Streams that are multiplexed begin one directly behind the other (section 4).
        first, beginning = bool(head[5] & 0x02) and not beginning, bool(head[5] & 0x02)
        if first:
            starts.append(place)
        segments = head[26]
        place += HEAD + segments + sum(head[HEAD : HEAD + segments])
        if place >= size:
            break
    starts = starts or [0]
    starts[0] = 0
    ends = [*starts[1:], size]
    return [Part(descriptor, start, end) for start, end in zip(starts, ends, strict=True)]


def _next_page(descriptor: int, start: int, size: int) -> int | None:
    while start < size:
        found = read_at(descriptor, SCAN, start).find(b"OggS")
        if found >= 0:
            return start + found
        start += SCAN - 3
    return None


def _last_page(file: FileIO | Part) -> bytes:
    size = file.seek(0, os.SEEK_END)
    for reach in (PAGE, SCAN):  # tags and zeros may follow it
        file.seek(max(0, size - reach))
        tail = file.read()
        place = tail.rfind(b"OggS")
        if place >= 0:
            return tail[place:]
    return b""
