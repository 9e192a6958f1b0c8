"""Headers that state too little, too much or nothing: the oracle is the samples that were written.

Sizes above 4 GiB are told by sparse files, of which nothing is decoded.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_decode import half_of

from embedkit.audio import ffmpeg
from embedkit.audio.decode import decode
from embedkit.audio.headers import GUID, Sound, extent, find_sound
from embedkit.audio.part import Part
from embedkit.errors import AudioError, Kind

RATE = 16000
SAMPLES = np.random.default_rng(0).integers(-20000, 20000, RATE).astype("<i2")
FORMS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "SVX")

LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
ID3V1 = b"TAG" + b"x" * 125
APE = b"".join(
    (
        *(b"APETAGEX", struct.pack("<IIII", 2000, 232, 1, 0xA0000000), bytes(8), b"y" * 200),
        *(b"APETAGEX", struct.pack("<IIII", 2000, 232, 1, 0x80000000), bytes(8)),
    )
)


def collect(path: Path) -> tuple[np.ndarray, str, list[str]]:
    """The samples, the kind, and the notes."""
    notes: list[str] = []
    blocks, kind = [np.zeros(0, np.float32)], ""
    try:
        blocks.extend(decode(path, RATE, note=notes.append))
    except AudioError as error:
        kind = error.kind
    return np.concatenate(blocks), kind, notes


def written(path: Path, form: str) -> tuple[bytearray, Sound]:
    """A file of one second, and what its header states."""
    stream = io.BytesIO()
    soundfile.write(stream, SAMPLES, RATE, format=form, subtype="PCM_16")
    path.write_bytes(stream.getvalue())
    return bytearray(stream.getvalue()), sound_of(path)


def sound_of(path: Path) -> Sound:
    with path.open("rb") as file:
        sound = find_sound(Part(file.fileno()))
    assert sound is not None
    return sound


def restate(path: Path, data: bytearray, sound: Sound, length: int) -> None:
    """Let the header state so many bytes of sound."""
    field = (length % 256**sound.size).to_bytes(sound.size, sound.order)
    data[sound.at : sound.at + sound.size] = field
    path.write_bytes(data)


@pytest.mark.parametrize("form", FORMS)
def test_the_header_s_length_is_the_one_that_was_written(tmp_path: Path, form: str):
    data, sound = written(tmp_path / "a", form)
    order = "<i2" if sound.order == "little" else ">i2"
    assert sound.stated == 2 * RATE
    found = np.frombuffer(data[sound.start : sound.start + sound.stated], order)
    np.testing.assert_array_equal(found, SAMPLES)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("stated", "noted"),
    [
        *((0, True), (8, True), (RATE, True), (2 * RATE - 8, True)),
        *((2**31 - 1, True), (2**31 - 37, True), (0x7FFFF000, True), (2**32 - 45, True)),
        (-1, False),  # of the field, whatever its width
        (2 * RATE + 7, False),  # by less than what rounding may make
    ],
)
def test_a_length_that_is_too_small_or_left_open_loses_nothing(
    tmp_path: Path, form: str, stated: int, noted: bool
):
    path = tmp_path / "a"
    data, sound = written(path, form)
    restate(path, data, sound, stated if stated < 0 else stated + sound.extra)
    found, kind, notes = collect(path)
    assert (kind, len(notes)) == ("", noted)
    assert len(SAMPLES) - len(found) in range(5)  # 7 bytes may be a header's
    np.testing.assert_array_equal(found, SAMPLES[: len(found)] / np.float32(2**15))


@pytest.mark.parametrize("form", FORMS)
def test_a_length_that_is_known_to_be_stated_and_missed_is_truncated(tmp_path: Path, form: str):
    path = tmp_path / "a"
    data, sound = written(path, form)
    found, kind, notes = collect(half_of(path))
    assert (kind, notes) == (Kind.TRUNCATED, [])
    np.testing.assert_array_equal(found, SAMPLES[: len(found)] / np.float32(2**15))
    restate(path, data, sound, 4 * RATE + sound.extra)
    found, kind, _ = collect(path)
    assert (kind, len(found)) == (Kind.TRUNCATED, RATE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "tail", [bytes(2), bytes(5000), ID3V1, APE], ids=["2", "zeros", "id3", "ape"]
)
def test_what_stands_behind_the_sound_is_not_heard(tmp_path: Path, form: str, tail: bytes):
    path = tmp_path / "a"
    data, _ = written(path, form)
    path.write_bytes(data + tail)
    found, kind, notes = collect(path)
    assert (len(found), kind, notes) == (RATE, "", [])


@pytest.mark.parametrize(
    "chunks",
    [
        LIST,
        LIST[:20],  # cut: its name is known
        b"id3 " + struct.pack("<I", 10) + bytes(10) + LIST,
        b"Made" + struct.pack("<I", 3) + b"abc\0" + LIST,  # of odd length, and of an unknown name
        LIST + bytes(100),
        LIST + ID3V1,
    ],
)
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("padded", [True, False])
def test_chunks_behind_the_sound_are_not_heard(
    tmp_path: Path, chunks: bytes, odd: bool, padded: bool
):
    if chunks.startswith(b"Made") and odd and not padded:
        chunks = chunks[12:]  # where the next one would be, nobody knows
    path = tmp_path / "a.wav"
    samples = SAMPLES[: RATE - 1].astype("u1") if odd else SAMPLES
    subtype = "PCM_U8" if odd else "PCM_16"
    soundfile.write(path, samples.astype("<i2"), RATE, subtype=subtype)
    whole = soundfile.read(path, dtype="float32")[0]
    start = sound_of(path).start
    data = path.read_bytes()[: start + len(samples) * (1 if odd else 2)]
    path.write_bytes(data + b"\0" * (odd and padded) + chunks)
    found, kind, notes = collect(path)
    assert (kind, notes) == ("", [])
    np.testing.assert_array_equal(found, whole)


def sparse(path: Path, stated: int, there: int, tail: bytes = b"") -> Path:
    """A WAV of stereo PCM of so many bytes, none of which are on the disk."""
    with path.open("wb") as file:
        head = struct.pack(
            "<4sIHHIIHH4sI", b"fmt ", 16, 1, 2, 48000, 192000, 4, 16, b"data", stated
        )
        file.write(b"RIFF" + struct.pack("<I", (36 + there) % 2**32) + b"WAVE" + head)
        file.truncate(44 + there)
        file.seek(44 + there)
        file.write(tail)
    return path


@pytest.mark.parametrize(
    ("stated", "there", "tail", "found"),
    [
        (19_929_600, 2**32 + 19_929_600, b"", 2**32 + 19_929_600),  # wrapped
        (19_929_600, 2**33 + 19_929_600, b"", 2**33 + 19_929_600),  # twice
        (19_929_600, 2**32 + 19_929_600, LIST, 2**32 + 19_929_600),  # chunks behind the sound
        (2**32 - 1, 2**32 + 19_929_600, b"", 2**32 + 19_929_600),  # left open
        (0, 2**32 + 19_929_600, b"", 2**32 + 19_929_600),  # the recorder died
        (2**31, 2**32, b"", 2**32),  # a signed number
        (100_000, 100_000 + 2**21, b"", 100_000 + 2**21),  # too many zeros to fill up a file
        (100_000, 100_000 + 4096, b"", 100_000),  # few enough
        (100_000, 100_000, LIST, 100_000),
    ],
)
def test_where_the_sound_ends_beyond_what_32_bits_hold(
    tmp_path: Path, stated: int, there: int, tail: bytes, found: int
):
    path = sparse(tmp_path / "a.wav", stated, there, tail)
    sound = sound_of(path)
    with path.open("rb") as file:
        ends = extent(Part(file.fileno()), sound)
    assert (sound.start, sound.stated) == (44, stated)
    assert (ends.end - sound.start, ends.missing) == (found, 0)
    assert bool(ends.note) == (found != stated)


@pytest.mark.parametrize("between", [b"", LIST, LIST + b"JUNK" + struct.pack("<I", 3) + b"abc\0"])
@pytest.mark.parametrize("form", FORMS)
def test_files_that_were_joined_are_read_one_after_the_other(
    tmp_path: Path, form: str, between: bytes
):
    if between and form not in {"WAV", "WAVEX", "RF64"}:
        return  # other formats have other chunks, or none
    path, bytes_, expected = tmp_path / "a", b"", []
    for right in (False, form != "SVX", False):  # which has one channel
        samples = SAMPLES[:, None] * np.array([0, 1] if right else [1])
        stream = io.BytesIO()
        soundfile.write(stream, samples.astype("<i2"), RATE, format=form, subtype="PCM_16")
        bytes_ += stream.getvalue() + between
        expected.append(samples.mean(axis=1) / 32768)
    path.write_bytes(bytes_)
    found, kind, notes = collect(path)
    assert (kind, len(notes)) == ("", int(form != "SVX"))  # the channels change
    np.testing.assert_array_equal(found, np.concatenate(expected).astype("f4"))


def test_a_joined_file_that_is_cut_is_truncated_and_the_first_is_read(tmp_path: Path):
    path = tmp_path / "a.wav"
    data, sound = written(path, "WAV")
    path.write_bytes(data + data[: sound.start + len(SAMPLES)])
    found, kind, _ = collect(path)
    assert kind == Kind.TRUNCATED
    expected = np.concatenate([SAMPLES, SAMPLES[: len(SAMPLES) // 2]])
    np.testing.assert_array_equal(found, expected.astype("f4") / 32768)


def test_the_heads_of_a_voc_s_blocks_are_not_heard(tmp_path: Path):
    path = tmp_path / "a.voc"
    first, *others = np.array_split(SAMPLES, 5)
    head = struct.pack("<IBBHI", RATE, 16, 1, 4, 0)  # 16 bits, mono, PCM
    blocks = [b"\x09" + (12 + first.nbytes).to_bytes(3, "little") + head + first.tobytes()]
    blocks += [b"\x02" + one.nbytes.to_bytes(3, "little") + one.tobytes() for one in others]
    start = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x0114, 0x111F)
    path.write_bytes(start + b"".join(blocks) + b"\0")
    found, kind, notes = collect(path)
    assert (kind, notes) == ("", [])
    np.testing.assert_array_equal(found, SAMPLES.astype("f4") / 32768)


@pytest.mark.parametrize(("form", "first"), [("CAF", 8), ("W64", 40)])
def test_a_chunk_that_is_longer_than_any_file_is_the_decoders_matter(
    tmp_path: Path, form: str, first: int
):
    path = tmp_path / "a"
    data, _ = written(path, form)
    name = b"free" if form == "CAF" else b"junk" + GUID
    path.write_bytes(data[:first] + name + b"\xff" * 8 + data[first:])
    with path.open("rb") as file:
        assert find_sound(Part(file.fileno())) is None


@pytest.mark.parametrize("stated", [19_929_600, 2**32 - 1, 0])
def test_above_4_gib_ffmpeg_gets_a_length_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int
):
    """What would take long to decode is only handed over."""
    there = 2**32 + 19_929_600
    path = sparse(tmp_path / "a.wav", stated, there)
    taken: list[tuple[int, bytes]] = []

    def take(file: Part, *_: object) -> list[object]:
        end = file.seek(0, 2)
        file.seek(40)
        taken.append((end, file.read(4)))
        return []

    monkeypatch.setattr(ffmpeg, "read", take)
    collect(path)
    assert taken == [(44 + there, b"\xff" * 4)]


def test_ffmpeg_reads_a_length_that_its_field_cannot_hold_to_the_end(tmp_path: Path):
    """The way of a WAV above 4 GiB, on a small one, in front of chunks."""
    path = tmp_path / "a.wav"
    data, sound = written(path, "WAV")
    path.write_bytes(data + LIST)
    assert sound.field(2**32 + 5) == b"\xff" * 4
    end = sound.start + sound.stated
    with path.open("rb") as file:
        part = Part(file.fileno(), 0, end, at=sound.at, new=sound.field(2**32 + 5))
        found = np.concatenate([block for _, block in ffmpeg.read(part, print)])
    np.testing.assert_array_equal(found[:, 0], SAMPLES / np.float32(2**15))


@pytest.mark.parametrize("stated", [1, 100, RATE // 2, RATE - 1, RATE, 3 * RATE])
def test_a_flac_that_states_too_few_samples_loses_none(tmp_path: Path, stated: int):
    """libsndfile stops where the header says; the last frame's number tells that there are more."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.tile(SAMPLES, 2), RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", stated)  # the low bits of the number of samples
    path.write_bytes(data)
    found, kind, notes = collect(path)
    assert (kind, len(notes)) == (Kind.TRUNCATED if stated > 2 * RATE else "", stated < 2 * RATE)
    np.testing.assert_array_equal(found, np.tile(SAMPLES, 2) / np.float32(2**15))


@pytest.mark.parametrize("form", FORMS)
def test_a_length_of_gigabytes_that_are_not_there_loses_nothing(tmp_path: Path, form: str):
    """libsndfile takes some of these for negative, and reads nothing."""
    path = tmp_path / "a"
    data, sound = written(path, form)
    restate(path, data, sound, 3 * 10**9 + sound.extra)
    found, kind, _ = collect(path)
    assert kind == Kind.TRUNCATED
    np.testing.assert_array_equal(found, SAMPLES / np.float32(2**15))
