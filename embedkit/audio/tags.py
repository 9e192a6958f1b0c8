"""Tags before, between and behind the frames of a file: bytes that are no sound."""

import re

MARKS = re.compile(rb"ID3|TAG|APETAGEX|LYRICSBEGIN")


def untagged(data: bytes) -> bytes:
    """Some bytes without their tags: ID3, APE and Lyrics3 tags are left out."""
    kept = bytearray()
    place = 0
    while (found := MARKS.search(data, place)) is not None:
        start, mark = found.start(), found[0]
        kept += data[place:start]
        if mark == b"ID3":
            place = start + max(3, id3_length(data[start : start + 10]))
        elif mark == b"TAG":  # "TAG+" is the longer form, which stands before the other
            place = start + (227 if data[start + 3 : start + 4] == b"+" else 128)
        elif mark == b"APETAGEX":
            size = int.from_bytes(data[start + 12 : start + 16], "little")
            is_header = int.from_bytes(data[start + 20 : start + 24], "little") & 2**29
            place = start + 32 + (size if is_header else 0)
            if not is_header:  # its items stand before it
                del kept[max(0, len(kept) - max(0, size - 32)) :]
        else:
            end = data.find(b"LYRICS200", start)
            place = end + 9 if end >= 0 else start + len(mark)
    return bytes(kept + data[place:])


def is_padding(data: bytes) -> bool:
    """Whether some bytes are only zeros and tags."""
    return not untagged(data).strip(b"\0")


def id3_length(head: bytes) -> int:
    """The length of an ID3v2 tag, by its first ten bytes (id3.org, section 3.1); 0 for none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum(
        (byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
    )
    return 10 + size + (10 if head[5] & 0x10 else 0)
