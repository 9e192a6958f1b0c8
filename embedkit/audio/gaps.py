"""Finds what is missing in a stream of packets, and how much silence keeps the time axis right."""

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

import av

from embedkit.audio.part import read_at
from embedkit.audio.tags import untagged

Packet: TypeAlias = "av.Packet[av.AudioStream]"  # it has no parameter when it runs

# Seconds of silence at most in a file, beside as many as it has of sound: a damaged time stamp must
# not make hours of it.
SPARE_S = 10.0

# A jump of time stamps between two good packets, in seconds, that no rounding makes.
JUMP_S = 0.1
ROUNDING_S = 0.002  # the steps of Matroska's and FLV's time stamps are a millisecond
RESTART_S = 1.0  # a jump back by more is a recording that begins anew

# Streams of frames whose time stamps only count the frames that were found, and the highest bit
# rate of a frame: what a packet has beyond it is no part of the frame.
BARE = {"aac": math.inf, "ac3": 640e3, "avi": math.inf, "dts": 6.2e6, "eac3": 6.2e6, "mp3": 448e3}

START = 16  # bytes by which a frame is known again
SEARCH = 2**20  # bytes within which it is looked for
HOLE = 2**24  # bytes of a hole that are looked at
HELD = 2**16
FAILURES = 16
FACTS = re.compile(rb"Xing|Info|VBRI")
FACTS_AT = 36  # bytes at most from the beginning of the frame


@dataclass
class Gaps:
    """The gaps of a file.

    Attributes:
        sound_s: seconds of sound so far.
        filled_s: seconds of silence in the place of what is missing.
        count: number of gaps.
        first_s: where the first one begins, in seconds.
    """

    sound_s: float = 0.0
    filled_s: float = 0.0
    count: int = 0
    first_s: float = 0.0

    @property
    def place_s(self) -> float:
        """The place on the time axis that decoding has reached, in seconds."""
        return self.sound_s + self.filled_s

    def fill(self, estimates: tuple[float, ...]) -> float:
        """The seconds of silence for a gap: the first estimate that is plausible, or 0."""
        room = SPARE_S + self.sound_s - self.filled_s
        seconds = next((one for one in estimates if 0 <= one <= room), None)
        if seconds is None:
            return 0.0
        if not self.count:
            self.first_s = self.place_s
        self.count += 1
        self.filled_s += seconds
        return seconds

    def __str__(self) -> str:
        where = f"a gap at {self.first_s:.2f} s"
        if self.count > 1:
            where = f"{self.count} gaps, the first at {self.first_s:.2f} s"
        return f"{where}; {self.filled_s:.2f} s of silence stand for what is lost"


class ByStamps:
    """Finds what is missing by the time stamps of a container.

    Attributes:
        damaged: whether something was lost since the last good packet.
    """

    def __init__(self, base: float) -> None:
        """Take stamps in units of `base` seconds."""
        self.damaged = False
        self._base = base
        self._lost_s = 0.0
        self._next_s: float | None = None
        self._late_s = 0.0  # by how much the stamps have run ahead of the sound

    def lose(self, packet: "Packet | None") -> None:
        """Note a packet that gives no sound, or None where one is missing."""
        self.damaged = True
        if packet is not None:
            if self._next_s is None and packet.pts is not None:
                self._next_s = packet.pts * self._base
            self._lost_s += (packet.duration or 0) * self._base

    def missing(self, packet: Packet, stamp: int | None, seconds: float) -> tuple[float, ...]:
        """Estimates of the seconds that are missing before a packet.

        Args:
            packet: a good packet.
            stamp: time stamp of its first frame.
            seconds: seconds of sound in it.

        Returns:
            the estimates, the best first; empty if nothing is missing.
        """
        expected_s = self._next_s
        if stamp is None:
            if expected_s is not None:
                self._next_s = expected_s + seconds
                self.damaged = True  # FLAC has no stamps for some frames beside a lost one
            return ()
        start_s = stamp * self._base
        self._next_s = start_s + seconds
        damaged, lost_s = self.damaged or packet.is_corrupt, self._lost_s
        self.damaged, self._lost_s = False, 0.0
        if expected_s is None:
            return ()
        jump_s = start_s - expected_s
        if abs(jump_s) > ROUNDING_S:
            self._late_s = self._late_s + jump_s if jump_s > -RESTART_S else 0.0
        late_s = self._late_s
        if damaged and max(late_s, lost_s) > ROUNDING_S:
            self._late_s = 0.0
            return late_s, lost_s, 0.0
        if late_s > JUMP_S:
            self._late_s = 0.0
            return (late_s,)
        return ()


class ByBytes:
    """Finds what is missing among bare frames by the bytes between the good ones.

    It takes the bytes for overwritten frames of the same bit rate; tags among them are no sound.

    Attributes:
        damaged: whether something was lost since the last good packet.
    """

    def __init__(self, descriptor: int, form: str) -> None:
        """Prepare to read the bytes between packets.

        Args:
            descriptor: of the open file.
            form: its format, one of `BARE`.
        """
        self.damaged = False
        self._descriptor, self._most_bits = descriptor, BARE[form]
        # FFmpeg steps over what is between two frames of AAC, and counts its bytes nowhere.
        self._shift = 0
        self._tries = FAILURES if form == "aac" else 0
        self._held, self._held_at = b"", 0
        self._end: int | None = None  # of the last good frame
        self._bytes, self._seconds = 0, 0.0  # of the good frames

    def lose(self, packet: "Packet | None") -> None:
        """Note a packet that gives no sound, or None where one is missing."""
        self.damaged = True

    def missing(self, packet: Packet, stamp: int | None, seconds: float) -> tuple[float, ...]:
        """Estimates of the seconds that are missing before a packet; see `ByStamps.missing`.

        Args:
            packet: a good packet.
            stamp: time stamp of its first frame; not used.
            seconds: seconds of sound in it.

        Returns:
            the estimates, the best first; empty if nothing is missing.
        """
        self.damaged = False
        start, size = self._start(packet), packet.size
        between = 0 if self._end is None else max(0, start - self._end)
        frames = 0
        if between and self._bytes:
            frames = round(self._lost_bytes(between) * self._seconds / self._bytes / seconds)
        if size > self._most_bits / 8 * seconds + START and self._bytes:
            size = round(self._bytes / self._seconds * seconds)  # something was skipped behind it
        else:
            self._bytes += size if frames else size + between  # an AVI's chunks have headers
            self._seconds += seconds
        self._end = start + size
        return (frames * seconds,) if frames else ()

    def _start(self, packet: Packet) -> int:
        start = (packet.pos or 0) + self._shift
        if self._tries:
            head = bytes(memoryview(packet)[:START])
            if self._at(start, len(head)) != head:
                found = read_at(self._descriptor, SEARCH, start).find(head)
                if found < 0:
                    self._tries -= 1
                else:
                    self._shift += found
                    start += found
        return start

    def _at(self, start: int, length: int) -> bytes:
        """Bytes of the file, of which some are held: there is a call for every packet."""
        place = start - self._held_at
        if place < 0 or place + length > len(self._held):
            place, self._held_at = 0, start
            self._held = read_at(self._descriptor, HELD, start)
        return self._held[place : place + length]

    def _lost_bytes(self, hole: int) -> int:
        assert self._end is not None
        data = untagged(read_at(self._descriptor, min(hole, HOLE), self._end))
        # The first frame of an MP3 that was joined to another may hold facts, and no sound.
        facts = FACTS.search(data)
        return len(data) if facts is None else max(0, facts.start() - FACTS_AT)
