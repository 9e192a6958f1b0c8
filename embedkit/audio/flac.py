"""The frames of a FLAC: whether there are more of them than its header states."""

import re

from embedkit.audio.part import Part

TAIL = 2**16  # bytes at the end of a file that hold its last frame's header
SYNC = re.compile(rb"\xff[\xf8\xf9]")  # how a frame begins whose blocks are alike, or are not
CODED = (1, 0, 2, 3, 4, 5, 6, 7)  # bytes of a number, by the ones that its first byte begins with


def has_more(file: Part, stated: int) -> bool:
    """Whether a frame near the end of a FLAC begins behind the stated number of samples.

    Bytes of a frame may look like the beginning of one by chance.

    Args:
        file: the file.
        stated: number of samples that its header states.

    Returns:
        whether one does.
    """
    head = file.pread(42, 0)
    block = int.from_bytes(head[8:10], "big")  # STREAMINFO's, if that is where it stands
    tail = file.pread(TAIL, max(0, file.size - TAIL))
    for found in SYNC.finditer(tail):
        header = tail[found.start() : found.start() + 16]
        number, end = _number(header)
        samples = number * (1 if found[0][1] & 1 else block)
        if end and samples >= stated and _crc8(header[:end]) == header[end]:
            return True
    return False


def _number(header: bytes) -> tuple[int, int]:
    """What a frame's header counts, its first sample or the frame itself, and where it ends.

    Both are 0 where it is no header.
    """
    if len(header) < 16:
        return 0, 0
    first = header[4]
    length = CODED[min(7, 8 - (first ^ 0xFF).bit_length())]
    behind = header[5 : 4 + length]
    block, rate = divmod(header[2], 16)
    odd = header[3] & 1 or not block or rate == 15
    if odd or not length or any(byte >> 6 != 0b10 for byte in behind):
        return 0, 0
    number = first & (0xFF >> (length + 1) if length > 1 else 0x7F)
    for byte in behind:
        number = number << 6 | byte & 0x3F
    end = 4 + length + {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return number, end


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
