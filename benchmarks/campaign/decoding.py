"""Damaged sound: cut, with bits flipped, and with headers that lie; decoded in another process.

What comes of the undamaged file says what must come of the damaged one.
"""

import struct
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from campaign.outcome import Case, Outcome, survey
from campaign.sounds import FORMATS, PLAIN, RATE, Samples, collect, make_all, sound, write
from embedkit.audio.headers import Sound, find_sound
from embedkit.audio.part import Part
from embedkit.errors import Kind

ROUNDED = RATE // 4 + 1024  # samples that may be missing: lengths are rounded, and to frames
OVERLAP = 2048  # samples at a cut that a transform codec cannot give whole


def cuts(place: Path, share: float) -> Outcome:
    """Files cut at every 2 %."""
    make_all(place, 6)
    cases = list(product(FORMATS, range(2, 100, max(2, round(2 / share)))))
    tried = f"{len(FORMATS)} formats cut at every {100 * len(FORMATS) / len(cases):.0f} %"
    return survey(tried, partial(_cut, place), cases)


def _cut(place: Path, case: tuple[str, int]) -> Case:
    form, percent = case
    whole = np.load(place / f"{form}.npy")
    data = (place / f"whole.{form}").read_bytes()
    part = place / "part"
    part.write_bytes(data[: len(data) * percent // 100])
    found, kind, words = collect(part)
    sure = max(0, len(found) - OVERLAP)
    if len(found) > len(whole) or not np.allclose(found[:sure], whole[:sure], rtol=0, atol=1e-5):
        return Case("wrong", "other samples than those before the cut")
    if len(whole) - len(found) > ROUNDED and not kind:
        return Case("silent", f"{(len(whole) - len(found)) / RATE:.2f} s are missing and unsaid")
    if kind not in {"", Kind.TRUNCATED, Kind.UNREADABLE, Kind.EMPTY}:
        return Case(kind, f"said to be {kind}: {words}")
    return Case(kind or "whole but for less than 0.32 s")


def flips(place: Path, share: float) -> Outcome:
    """Files in which some bits are flipped."""
    make_all(place, 3)
    count = round(10_000 * share)
    forms = list(FORMATS)
    cases = [(forms[number % len(forms)], number) for number in range(count)]
    tried = f"1 to 8 bits flipped in {len(forms)} formats, half of them in the first 200 bytes"
    return survey(tried, partial(_flip, place), cases)


def _flip(place: Path, case: tuple[str, int]) -> Case:
    form, seed = case
    rng = np.random.default_rng(seed)
    path = place / f"whole.{form}"
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    reach = 200 if seed // len(FORMATS) % 2 else len(data)
    places = rng.integers(reach, size=rng.integers(1, 9))
    np.bitwise_xor.at(data, places, (1 << rng.integers(8, size=len(places))).astype(np.uint8))
    part = place / "part"
    part.write_bytes(data.tobytes())
    found, kind, _ = collect(part)
    if not (kind or len(found)):
        return Case("nothing", "neither samples nor an error")
    if not np.isfinite(found).all():
        return Case("not finite", "samples that are not finite")
    if kind and kind not in set(Kind):
        return Case(kind, "a kind that there is not")
    if form in PLAIN and (start := _sound_of(path).start) <= places.min():
        whole = np.load(place / f"{form}.npy")
        others = np.ones(len(whole), bool)
        others[(places - start) // 2 % len(whole)] = False
        if kind or not np.array_equal(found[others], whole[others]):
            return Case("lost", "a bit in one sample has changed another")
        return Case("all other samples as they were")
    return Case(kind or "read without a fault that shows")


def lies(place: Path, share: float) -> Outcome:
    """Headers that state another length than there is."""
    samples = np.round(sound(2) * 2**15).astype("<i2")
    stated = [0, 2, 8, len(samples), 2 * len(samples) - 8, 2 * len(samples) + 8, 3 * len(samples)]
    stated += [4 * len(samples), 10**6, 10**9, 2**31 - 37, 2**31 - 1, 2**31, 3 * 10**9]
    stated += [0x7FFFF000, 2**32 - 45, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]
    headed = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "SVX")
    cases: list[tuple[str, int]] = list(product(headed, stated))
    cases += product(("FLAC", "MP3"), [1, 100, len(samples), 10**6, 2**31, 2**32 - 1])
    for form in (*headed, "FLAC", "MP3"):
        plain = {} if form == "MP3" else {"subtype": "PCM_16"}
        write(place / form, samples, format=form, **plain)
    tried = "headers of 10 formats that state from nothing to 2^64 bytes or samples"
    return survey(tried, partial(_lie, place), cases[:: round(1 / share)])


def _lie(place: Path, case: tuple[str, int]) -> Case:
    form, stated = case
    path = place / form
    whole, kind, _ = collect(path)
    data = bytearray(path.read_bytes())
    if form == "FLAC":  # the low 32 of the 36 bits of the number of samples
        data[22:26] = struct.pack(">I", stated)
    elif form == "MP3":  # the number of frames
        at = data.index(b"Xing" if b"Xing" in data else b"Info") + 8
        data[at : at + 4] = struct.pack(">I", stated)
    else:
        there = _sound_of(path)
        field = ((stated + there.extra) % 256**there.size).to_bytes(there.size, there.order)
        data[there.at : there.at + there.size] = field
    part = place / "part"
    part.write_bytes(data)
    found, kind, words = collect(part)
    rounded = 4 if form != "MP3" else ROUNDED  # a few bytes may be a header's
    if abs(len(found) - len(whole)) > rounded or not _begins_so(found, whole):
        return Case("lost", f"{len(found)} of {len(whole)} samples: {kind} {words}")
    if kind not in {"", Kind.TRUNCATED}:
        return Case(kind, f"said to be {kind}: {words}")
    return Case(f"all samples, {kind}" if kind else "all samples")


def _begins_so(found: Samples, whole: Samples) -> bool:
    both = min(len(found), len(whole))
    return bool(np.allclose(found[:both], whole[:both], rtol=0, atol=1e-6))


def _sound_of(path: Path) -> Sound:
    with path.open("rb") as file:
        there = find_sound(Part(file.fileno()))
    assert there is not None
    return there
