"""Compares the number of bytes of sound that a file's header states with where the sound ends.

Recorders fail before they fill in a length, programs write to pipes where they cannot fill it in,
and 32 bits wrap at 4 GiB. The decoders believe each of these headers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from embedkit.audio.part import Part
from embedkit.audio.tags import is_padding

# Chunks that stand behind the sound: where their own length is cut, the name must tell.
KNOWN = frozenset(
    word.ljust(4)
    for word in b"""LIST INFO id3 ID3 bext iXML fact cue smpl inst plst PEAK JUNK junk PAD FLLR acid
    _PMX axml chna umid levl afsp MARK COMT NAME AUTH ANNO APPL MIDI INST SAUR CHAN (c)
    pakt kuki chan strg info uuid free edct mark regn midi ovvw peak""".split()
)
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # how those of W64's chunks end

MOST_CHUNKS = 1000
LEFT = 8  # bytes that may be left behind the sound: fewer than a chunk has
PADDING = 2**20  # bytes of zeros at most that fill up a file; more are silence
NEAR = 2**16


Order = Literal["big", "little"]


@dataclass(frozen=True)
class Chunks:
    """How a format lays out its chunks.

    Attributes:
        first: where the first one begins, in bytes.
        sound: name of the chunk with the sound.
        name, size: bytes of their names, and of their lengths.
        order: byte order of lengths.
        align: chunks begin at multiples of this.
        whole: whether lengths count the chunk's header too.
        heeded: whether libsndfile stops where the sound's chunk ends.
    """

    first: int
    sound: bytes
    name: int = 4
    size: int = 4
    order: Order = "little"
    align: int = 2
    whole: bool = False
    heeded: bool = True

    @property
    def head(self) -> int:
        """Bytes of a chunk's header."""
        return self.name + self.size

    def walk(self, file: Part, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Walk over chunks until one reaches beyond the end.

        Args:
            file: the file.
            start: where the first chunk begins, in bytes.
            end: where the last one may end.

        Yields:
            name, beginning of the content and its length.
        """
        for _ in range(MOST_CHUNKS):
            head = file.pread(self.head, start)
            if start + self.head > end or len(head) < self.head:
                return
            length = int.from_bytes(head[self.name :], self.order)
            length = max(0, length - self.head) if self.whole else length
            yield head[: self.name], start + self.head, length
            start += self.head + length
            start += -start % self.align


W64 = Chunks(40, b"data" + GUID, name=16, size=8, align=8, whole=True, heeded=False)
SVX = Chunks(12, b"BODY", order="big", heeded=False)

SUN = frozenset({b".snd", b"dns."})  # how an AU begins

# How files begin, what stands where in them, and how they are laid out.
LAYOUTS = (
    (b"RIFF", 8, b"WAVE", Chunks(12, b"data")),
    (b"RF64", 8, b"WAVE", Chunks(12, b"data")),
    (b"BW64", 8, b"WAVE", Chunks(12, b"data")),
    (b"RIFX", 8, b"WAVE", Chunks(12, b"data", order="big")),
    (b"riff", 24, b"wave", W64),
    (b"FORM", 8, b"AIF", Chunks(12, b"SSND", order="big")),
    (b"FORM", 8, b"8SVX", SVX),
    (b"FORM", 8, b"16SV", SVX),
    (b"caff", 0, b"", Chunks(8, b"data", size=8, order="big", align=1)),
    (b"RIFF", 8, b"AVI ", Chunks(12, b"LIST")),
    (ASF[:4], 0, b"", Chunks(0, ASF_DATA, name=16, size=8, align=1, whole=True)),
)


@dataclass(frozen=True)
class Sound:
    """Where a header says that the sound is.

    Attributes:
        start: its first byte.
        stated: number of its bytes, by the header.
        at, size, order: place, bytes and byte order of the length; none where it cannot be mended.
        extra: bytes that the length counts beside the sound.
        chunks: the chunks that may follow the sound; None where nothing may follow.
    """

    start: int
    stated: int
    at: int
    size: int
    order: Order
    extra: int = 0
    chunks: Chunks | None = None

    @property
    def most(self) -> int:
        """The largest number that the field holds."""
        return (1 << 8 * self.size) - 1

    @property
    def is_open(self) -> bool:
        """Whether the length is that of a file that was written to a pipe."""
        return self.stated + self.extra == self.most

    def field(self, length: int) -> bytes:
        """The field with another length; all bits are set if the length is too long for it."""
        value = min(length + self.extra, self.most)
        return value.to_bytes(self.size, self.order)


@dataclass(frozen=True)
class Extent:
    """Where the sound really ends.

    Attributes:
        end: the byte behind it.
        missing: bytes that the header states and the file does not have.
        note: what is odd about the header, for people; empty if nothing is.
    """

    end: int
    missing: int = 0
    note: str = ""


def find_sound(file: Part) -> Sound | None:
    """The sound of a WAV, RF64, W64, AIFF, 8SVX, CAF, AU, SPHERE, ASF or AVI; else None."""
    size = file.size
    head = file.pread(40, 0)
    if head[:4] in SUN and len(head) >= 24:
        order: Order = "big" if head[:4] == b".snd" else "little"
        start, stated = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
        return Sound(start, stated, 8, 4, order)
    if head[:7] == b"NIST_1A":
        return _sphere(file)
    chunks = _chunks(head)
    if chunks is None:
        return None
    long: tuple[int, int] | None = None  # of RF64: where the length stands, and what it is
    for name, start, length in chunks.walk(file, chunks.first, size):
        if name == b"ds64":
            long = start + 8, int.from_bytes(file.pread(8, start + 8), "little")
        if name == chunks.sound:
            if name == b"LIST" and file.pread(4, start) != b"movi":
                continue
            if long is not None and length == 2**32 - 1:
                return Sound(start, long[1], long[0], 8, "little", chunks=chunks)
            return _sound(file, chunks, start, length)
    return None


def files(file: Part) -> list[Part]:
    """The files that a file consists of: others may have been appended to it.

    Each begins behind the sound of the one before, as the header of that one states, and behind its
    chunks.
    """
    found = []
    while (place := _next_file(file)) is not None:
        found.append(file.part(0, place))
        file = file.part(place)
    return [*found, file]


def extent(file: Part, sound: Sound) -> Extent:
    """Compare what a header states with the file.

    Args:
        file: the file.
        sound: what its header states.

    Returns:
        where the sound ends, and what is odd.
    """
    size = file.size
    there, stated = size - sound.start, sound.stated
    if stated > there:
        if sound.is_open:
            return Extent(size)
        if _is_placeholder(stated):
            return Extent(size, note=f"its header states {stated} bytes for a length not known")
        return Extent(size, missing=stated - there)
    end = _end(file, sound, size)
    if end == sound.start + stated:
        return Extent(end)
    found = end - sound.start
    return Extent(
        end, note=f"its header states {stated} bytes of sound, and there are {found}: all were read"
    )


def _end(file: Part, sound: Sound, size: int) -> int:
    """Where the sound ends in a file that has at least what its header states."""
    after = sound.start + sound.stated
    if not sound.size or _are_chunks(file, sound.chunks, after, size):
        return after
    if sound.size == 4:  # it may have wrapped
        for wrapped in range(after + 2**32, size + 1, 2**32):
            if _are_chunks(file, sound.chunks, wrapped, size):
                return wrapped
    left_open = sound.stated == 0 or _is_placeholder(sound.stated)
    if not left_open and _is_padding(file, after, size):
        return after
    return size


def _next_file(file: Part) -> int | None:
    sound = find_sound(file)
    if sound is None or not sound.size:
        return None
    place = sound.start + sound.stated
    starts = [place]
    if (chunks := sound.chunks) is not None:
        whole = place + -place % chunks.align
        starts += [begin - chunks.head for _, begin, _ in chunks.walk(file, whole, file.size)]
    return next((start for start in starts if _is_beginning(file.pread(40, start))), None)


def _is_beginning(head: bytes) -> bool:
    return head[:4] in SUN or _chunks(head) is not None


def _chunks(head: bytes) -> Chunks | None:
    for first, at, form, chunks in LAYOUTS:
        if head.startswith(first) and head[at:].startswith(form):
            return chunks
    return None


def _sound(file: Part, chunks: Chunks, start: int, length: int) -> Sound:
    at = start - chunks.size
    extra = chunks.head if chunks.whole else 0
    if chunks.sound == b"SSND":  # the sound may begin later, by an offset
        offset = int.from_bytes(file.pread(4, start), "big")
        start, length, extra = start + 8 + offset, length - 8 - offset, 8 + offset
    elif chunks.first == 8:  # CAF counts its edits first
        start, length, extra = start + 4, length - 4, 4
    length, width = max(0, length), chunks.size
    if chunks.sound in {b"LIST", ASF_DATA}:  # not all of it is sound: FFmpeg finds its end
        width = 0
    return Sound(start, length, at, width, chunks.order, extra, chunks)


def _sphere(file: Part) -> Sound | None:
    """The sound of NIST's SPHERE format, whose header is text; its length cannot be mended."""
    head = file.pread(4096, 0)
    words = [line.split() for line in head.split(b"\n")]
    facts = {line[0]: line[2] for line in words if len(line) == 3}
    try:
        length = int(facts[b"sample_count"]) * int(facts[b"sample_n_bytes"])
        length *= int(facts[b"channel_count"])
        return Sound(int(words[1][0]), length, 0, 0, "big")
    except (KeyError, ValueError, IndexError):
        return None


def _is_placeholder(stated: int) -> bool:
    """Whether a length stands for none: all bits are set, or it is the largest signed number.

    Programs subtract the length of their headers from it.
    """
    return any(limit - NEAR <= stated <= limit for limit in (2**31, 2**32)) or stated > 2**62


def _are_chunks(file: Part, chunks: Chunks | None, start: int, end: int) -> bool:
    """Whether only chunks, or nothing at all, follow from `start` on."""
    if end - start < LEFT:
        return True
    if chunks is None:
        return False
    starts = {start + -start % chunks.align, start}  # some writers forget to pad
    return any(_is_chain(file, chunks, place, end) for place in starts)


def _is_chain(file: Part, chunks: Chunks, start: int, end: int) -> bool:
    known = seen = False
    for name, place, length in chunks.walk(file, start, end):
        if not _is_name(name):
            return known or (seen and _is_padding(file, start, end))
        known, seen = known or name in KNOWN, True
        start = place + length
        if start > end:
            return known
    return seen and end - start < 2 * LEFT


def _is_name(name: bytes) -> bool:
    if len(name) == 16:
        return name.endswith(GUID)
    letters = sum(chr(byte).isalnum() for byte in name)
    return all(0x20 <= byte < 0x7F for byte in name) and letters >= 3


def _is_padding(file: Part, start: int, end: int) -> bool:
    """Whether there are only zeros and tags, and not too many."""
    return end - start <= PADDING and is_padding(file.pread(end - start, start))
