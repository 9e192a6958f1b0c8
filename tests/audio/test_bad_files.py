"""A corpus of bad, odd and hostile files: each ends as rows, as one error with a kind, or as both.

The oracle is the table of what each file must become, and the decoding of the undamaged file.
"""

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from test_decode import collect, encode, make_socket

from embedkit.audio.decode import decode
from embedkit.audio.files import Skipped, clip_name
from embedkit.audio.segments import cut
from embedkit.config import SegmentSpec
from embedkit.errors import Kind
from embedkit.extraction import extract
from embedkit.store import EmbeddingTable

Samples = NDArray[np.float32]

RATE = 16000


def sound(seconds: float, rate: int = RATE, channels: int | None = None) -> Samples:
    """A chirp in noise; the same one at every call."""
    time = np.arange(round(seconds * rate)) / rate
    chirp = 0.5 * np.sin(2 * np.pi * (300 + 200 * time) * time)
    chirp += 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return (chirp if channels is None else np.tile(chirp[:, None], channels)).astype("f4")


def write(path: Path, samples: NDArray[Any], rate: int = RATE, **options: str) -> None:
    options.setdefault("format", path.suffix.lstrip(".").upper())
    with path.open("wb") as file:
        soundfile.write(file, samples, rate, **options)


def wav(
    path: Path, data: bytes, *, rate: int = RATE, channels: int = 1, size: int | None = None
) -> None:
    """Write 16-bit PCM whose header claims whatever one likes."""
    size = len(data) if size is None else size
    row = 2 * channels % 2**16
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * row % 2**32, row, 16)
    riff = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size)
    path.write_bytes(b"RIFF" + struct.pack("<I", (size + len(riff)) % 2**32) + riff + data)


def change(path: Path, at: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(data)


def shorten(path: Path, share: float) -> None:
    os.truncate(path, round(share * path.stat().st_size))


def film(path: Path, codec: str, sound_codec: str | None) -> None:
    """Write a second of black film, with a second of sound or without."""
    with av.open(path, "w") as container:
        picture = container.add_stream(codec, rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        track = sound_codec and container.add_stream(sound_codec, rate=48000, layout="mono")
        for _ in range(10):
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(image))
        container.mux(picture.encode(None))
        if track:
            convert = av.AudioResampler(track.format.name, "mono", 48000, track.frame_size)
            frame = av.AudioFrame.from_ndarray(sound(1, 48000)[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            for piece in (*convert.resample(frame), *convert.resample(None)):
                container.mux(track.encode(piece))
            container.mux(track.encode(None))


def tagged(path: Path, sound_bytes: bytes) -> None:
    """Write what follows an ID3 tag with a cover picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    size = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)  # 8 x 8 pixels, 8 bits, RGB
    pixels = zlib.compress(8 * (b"\0" + bytes(3 * 8)))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    body = b"\0image/png\0\x03\0" + png
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + length + frame + sound_bytes)


def tagged_mp3(path: Path) -> None:
    write(path, sound(2))
    tagged(path, path.read_bytes())


def damaged(path: Path, samples: Samples, change_it: Callable[[Path], object]) -> None:
    write(path, samples, subtype="PCM_16")
    change_it(path)


def spoilt(path: Path, bad: float, start: int = 0) -> None:
    samples = sound(2)
    samples[start:] = bad
    write(path, samples, subtype="FLOAT")


def noise_over(path: Path, start: float, end: float) -> None:
    first, last = (round(share * path.stat().st_size) for share in (start, end))
    change(path, first, np.random.default_rng(0).bytes(last - first))


def two_rates(path: Path) -> None:
    """Write two MP3s into one file, as recorders do that are set anew."""
    parts = []
    for rate in (44100, 32000):
        write(path, sound(2, rate), rate)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))


def in_folder(path: Path) -> None:
    path.parent.mkdir()
    write(path, sound(1))


class Case(NamedTuple):
    """A file: how it is made, its kind, and how many segments of a second it gives."""

    make: Callable[[Path], object]
    kind: str = ""
    rows: int = 0
    odd: bool = False  # read all the same, and the journal says what is odd


PCM = (2**14 * sound(1)).astype("<i2").tobytes()

CASES: dict[str, Case] = {
    # good, however odd
    "one-sample.wav": Case(lambda path: write(path, sound(1 / RATE)), rows=1),
    "one-sample-of-many.wav": Case(lambda path: write(path, sound(2.0001, 96000), 96000), rows=3),
    "eight-channels.wav": Case(lambda path: write(path, sound(1.5, channels=8)), rows=2),
    "1024-channels.wav": Case(
        lambda path: write(path, sound(0.2, 8000, channels=1024), 8000), rows=1
    ),
    "192-khz.flac": Case(lambda path: write(path, sound(1.5, 192000), 192000), rows=2),
    "100-hz.wav": Case(lambda path: write(path, sound(1.5, 100), 100), rows=2),
    "silence.wav": Case(lambda path: write(path, np.zeros(RATE)), rows=1),
    "dc.wav": Case(lambda path: write(path, np.full(RATE, 0.7)), rows=1),
    "denormal.wav": Case(lambda path: write(path, np.full(RATE, 1e-40), subtype="FLOAT"), rows=1),
    "denormal-44-khz.wav": Case(
        lambda path: write(path, np.full(44100, 1e-40), 44100, subtype="FLOAT"), rows=1
    ),
    "clipping.flac": Case(lambda path: write(path, np.sign(sound(1, 44100)), 44100), rows=1),
    "cover-picture.mp3": Case(tagged_mp3, rows=2),
    "film-with-sound.mp4": Case(lambda path: film(path, "mpeg4", "aac"), rows=2),
    "film-with-sound.mkv": Case(lambda path: film(path, "libx264", "libopus"), rows=1),
    "film-with-sound.webm": Case(lambda path: film(path, "libvpx", "libopus"), rows=1),
    "length-left-open.wav": Case(lambda path: wav(path, PCM, size=2**32 - 1), rows=1),
    "length-of-2-gigabytes.wav": Case(lambda path: wav(path, PCM, size=2**31), rows=1, odd=True),
    "length-of-4-gigabytes.wav": Case(
        lambda path: wav(path, PCM, size=2**32 - 44), rows=1, odd=True
    ),
    "length-never-filled-in.wav": Case(lambda path: wav(path, PCM, size=0), rows=1, odd=True),
    "length-too-small.wav": Case(lambda path: wav(path, PCM, size=8000), rows=1, odd=True),
    "rate-changes.mp3": Case(two_rates, rows=5, odd=True),
    # names
    "same-stem.wav": Case(lambda path: write(path, sound(1)), rows=1),
    "same-stem.flac": Case(lambda path: write(path, sound(1)), rows=1),
    "same-stem.ogg": Case(lambda path: write(path, sound(1)), rows=1),
    "with spaces .wav": Case(lambda path: write(path, sound(1)), rows=1),
    "emoji 🎺🦆.wav": Case(lambda path: write(path, sound(1)), rows=1),
    "two\nlines.wav": Case(lambda path: write(path, sound(1)), rows=1),
    "\\'quotes\".wav": Case(lambda path: write(path, sound(1)), rows=1),
    os.fsdecode(b"latin-1 \xe9\xff.wav"): Case(lambda path: write(path, sound(1)), rows=1),
    "folder.wav/in-it.wav": Case(in_folder, rows=1),
    # damaged midway: rows and a kind
    "half.wav": Case(
        lambda path: damaged(path, sound(4), lambda p: shorten(p, 0.5)), Kind.TRUNCATED, 2
    ),
    "half.flac": Case(
        lambda path: damaged(path, sound(8), lambda p: shorten(p, 0.5)), Kind.TRUNCATED, 4
    ),
    "noise-amid.flac": Case(
        lambda path: damaged(path, sound(8), lambda p: noise_over(p, 0.5, 0.6)), Kind.GAPS, 8
    ),
    "nan-later.wav": Case(lambda path: spoilt(path, np.nan, 30000), Kind.NON_FINITE, 2),
    "infinite-later.wav": Case(lambda path: spoilt(path, -np.inf, 30000), Kind.NON_FINITE, 2),
    "claims-1-gigabyte.wav": Case(lambda path: wav(path, PCM, size=10**9), Kind.TRUNCATED, 1),
    "claims-3-gigabytes.wav": Case(lambda path: wav(path, PCM, size=3 * 10**9), Kind.TRUNCATED, 1),
    "claims-2^31-samples.flac": Case(
        lambda path: damaged(path, sound(4), lambda p: change(p, 22, struct.pack(">I", 2**31))),
        Kind.TRUNCATED,
        4,
    ),
    # nothing in them
    "empty.wav": Case(lambda path: path.touch(), Kind.EMPTY),
    "header-alone.wav": Case(lambda path: wav(path, b""), Kind.EMPTY),
    "text.mp3": Case(lambda path: path.write_text("just words\n" * 99), Kind.UNREADABLE),
    "zeros.mp3": Case(lambda path: path.write_bytes(bytes(9999)), Kind.UNREADABLE),
    "cover-picture-alone.mp3": Case(lambda path: tagged(path, b""), Kind.UNREADABLE),
    "nan.wav": Case(lambda path: spoilt(path, np.nan), Kind.NON_FINITE),
    "infinite.wav": Case(lambda path: spoilt(path, np.inf), Kind.NON_FINITE),
    "1e300.wav": Case(
        lambda path: write(path, np.full(RATE, 1e300), subtype="DOUBLE"), Kind.NON_FINITE
    ),
    "0-hz.wav": Case(lambda path: wav(path, PCM, rate=0), Kind.UNREADABLE),
    "1-hz.wav": Case(lambda path: wav(path, PCM, rate=1), Kind.UNREADABLE),
    "2^31-hz.wav": Case(lambda path: wav(path, PCM, rate=2**31 - 1), Kind.UNREADABLE),
    "2^32-hz.wav": Case(lambda path: wav(path, PCM, rate=2**32 - 1), Kind.UNREADABLE),
    "0-channels.wav": Case(lambda path: wav(path, PCM, channels=0), Kind.UNREADABLE),
    "65535-channels.wav": Case(lambda path: wav(path, PCM, channels=65535), Kind.UNREADABLE),
    "film.mp4": Case(lambda path: film(path, "mpeg4", None), Kind.NO_AUDIO),
    "film.mkv": Case(lambda path: film(path, "libx264", None), Kind.NO_AUDIO),
    "film.webm": Case(lambda path: film(path, "libvpx", None), Kind.NO_AUDIO),
    # not files
    "broken-link.wav": Case(lambda path: path.symlink_to("nowhere.wav"), Kind.UNREADABLE),
    "link-to-itself.wav": Case(lambda path: path.symlink_to(path.name), Kind.UNREADABLE),
    "pipe.wav": Case(os.mkfifo, Kind.NOT_A_FILE),
    "socket.wav": Case(make_socket, Kind.NOT_A_FILE),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    for name, case in CASES.items():
        case.make(root / name)
    (root / "loop").symlink_to(".")
    return root


@pytest.fixture(scope="module")
def table(
    corpus: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingTable:
    """What one run over the whole corpus gives."""
    folder = tmp_path_factory.mktemp("embedded") / "emb"
    run = extract(corpus, model_dir, folder)
    assert (run.files, run.skipped) == (len(CASES), Skipped())
    return EmbeddingTable.open(folder)


def test_every_file_ends_once_with_its_kind_and_its_rows(table: EmbeddingTable, corpus: Path):
    found = {record.clip: (record.kind, record.rows) for record in table.journal}
    assert found == {clip_name(corpus / name, corpus): case[1:3] for name, case in CASES.items()}
    assert len(table.journal) == len(CASES)
    spoken = {record.clip for record in table.journal if record.message and not record.kind}
    assert spoken == {clip_name(corpus / name, corpus) for name in CASES if CASES[name].odd}
    assert all(record.message for record in table.journal if record.kind)


def test_the_rows_are_those_that_the_journal_counts_and_finite(table: EmbeddingTable):
    rows = table.rows()
    counted = [record.clip for record in table.journal for _ in range(record.rows)]
    assert sorted(rows.clips) == sorted(counted)
    assert np.isfinite(rows.embeddings).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rate", [RATE, 22050])
def test_samples_are_finite_and_as_loud_as_what_was_written(corpus: Path, name: str, rate: int):
    found, kind = collect(corpus / name, rate)
    assert kind == CASES[name].kind
    assert np.isfinite(found).all()
    assert np.abs(found, dtype=np.float64).max(initial=0) < 1.5  # a resampled square overshoots


# How each format is written, and whether a cut can be known: whether it states a length, or marks
# its end. Those that cannot give the samples that are left.
FORMATS: dict[str, tuple[Callable[[Path, Samples], object], bool]] = {
    "wav": (write, True),
    "aiff": (write, True),
    "au": (write, True),
    "w64": (write, True),
    "rf64": (write, True),
    "caf": (write, True),
    "flac": (write, True),
    "ogg": (write, True),
    "opus": (lambda path, samples: write(path, samples, format="OGG", subtype="OPUS"), True),
    "mp3": (write, True),
    "m4a": (
        lambda path, samples: encode(path, "aac", samples, RATE, options={"movflags": "faststart"}),
        True,
    ),
    "mp4": (lambda path, samples: encode(path, "aac", samples, RATE), True),  # its index comes last
    "mov": (lambda path, samples: encode(path, "alac", samples, RATE), True),
    "mka": (lambda path, samples: encode(path, "aac", samples, RATE), True),
    "webm": (lambda path, samples: encode(path, "libopus", samples, RATE), True),
    "oga": (lambda path, samples: encode(path, "flac", samples, RATE, format="ogg"), True),
    "tta": (lambda path, samples: encode(path, "tta", samples, RATE), True),
    "aac": (lambda path, samples: encode(path, "aac", samples, RATE, format="adts"), False),
}


@pytest.fixture(scope="module", params=FORMATS)
def encoded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Samples, bool]:
    """A file of six seconds, what it decodes to, and whether a cut in it can be known."""
    make, knowable = FORMATS[request.param]
    path = tmp_path_factory.mktemp("encoded") / f"whole.{request.param}"
    make(path, sound(6))
    whole, kind = collect(path)
    assert (kind, len(whole) // RATE) == ("", 6)
    return path, whole, knowable


def test_a_file_cut_anywhere_gives_the_samples_before_the_cut(
    encoded: tuple[Path, Samples, bool], tmp_path: Path
):
    path, whole, knowable = encoded
    data = path.read_bytes()
    for percent in range(5, 100, 5):
        part = tmp_path / "part"
        part.write_bytes(data[: len(data) * percent // 100])
        found, kind = collect(part)
        if len(found):
            # Less than a quarter of a second is how encoders round.
            known = knowable and len(whole) - len(found) > RATE / 4
            assert kind in ({Kind.TRUNCATED} if known else {Kind.TRUNCATED, ""}), percent
        else:
            assert kind == Kind.UNREADABLE, percent
        assert len(found) <= len(whole)
        sure = max(0, len(found) - 2048)  # a transform codec's last frame lacks its overlap
        np.testing.assert_allclose(found[:sure], whole[:sure], rtol=0, atol=1e-5)


def test_flipped_bits_give_samples_or_an_audio_error(
    encoded: tuple[Path, Samples, bool], tmp_path: Path
):
    path, whole, _ = encoded
    for seed in range(20):
        rng = np.random.default_rng(seed)
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        # Half of the flips go where headers are.
        places = [*rng.integers(len(data), size=3), *rng.integers(200, size=3)]
        data[places] ^= (1 << rng.integers(8, size=len(places))).astype(np.uint8)
        part = tmp_path / "flipped"
        part.write_bytes(data.tobytes())
        found, kind = collect(part)
        assert kind or len(found), seed
        assert np.isfinite(found).all(), seed
        assert len(found) < 200 * len(whole), seed


def peak(path: Path) -> tuple[int, int]:
    """How many segments a file gives, and the most bytes that were held on the way."""
    tracemalloc.start()
    try:
        segments = sum(1 for _ in cut(decode(path, RATE), SegmentSpec(), RATE))
        return segments, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bad_tag(mp3: bytes) -> bytes:
    """An ID3v2 tag whose frame is longer than the tag, and an MP3 behind it."""
    frame = b"TSSE" + bytes([0, 0, 127, 127]) + b"\0\0" + b"x" * 118
    return b"ID3\x04\0\0" + bytes([0, 0, 1, 0]) + frame + mp3


def no_sound(w64: bytes) -> bytes:
    """A Wave64 of chunks that end far behind what any disk holds: FFmpeg looks there."""
    name = w64.index(b"data")
    chunk = b"junk" + w64[name + 4 : name + 16] + (2**56 - 2**52).to_bytes(8, "little")
    return w64[:name] + chunk * 50


@pytest.mark.parametrize(("form", "damage"), [("MP3", bad_tag), ("W64", no_sound)])
def test_decoders_print_nothing_of_their_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: str, damage: Callable[[bytes], bytes]
):
    path = tmp_path / "a"
    soundfile.write(path, np.zeros(RATE), RATE, format=form)
    path.write_bytes(damage(path.read_bytes()))
    found, kind = collect(path, RATE)
    assert (len(found) > 0, kind) == ((True, "") if form == "MP3" else (False, Kind.UNREADABLE))
    assert capfd.readouterr() == ("", "")


def test_hours_of_silence_in_a_small_file_stream_through_little_memory(tmp_path: Path):
    path = tmp_path / "silence.flac"
    hours = 2
    with soundfile.SoundFile(path, "w", 4000, 1, "PCM_16") as file:
        for _ in range(hours):
            file.write(np.zeros(3600 * 4000, np.int16))
    assert path.stat().st_size < 200_000
    segments, held = peak(path)
    assert segments == 3600 * hours
    assert held < 3_000_000


@pytest.mark.parametrize("channels", [8, 1024])
def test_many_channels_are_held_a_few_samples_at_a_time(tmp_path: Path, channels: int):
    path = tmp_path / "many.wav"
    wav(path, bytes(2 * 16_000_000), channels=channels)
    _, held = peak(path)
    assert held < 3_000_000


def test_a_low_rate_and_a_high_one_are_resampled_in_little_memory(tmp_path: Path):
    for rate, seconds in ((100, 1600), (10_000_000, 0.016)):
        wav(tmp_path / "a.wav", bytes(2 * 160_000), rate=rate)
        segments, held = peak(tmp_path / "a.wav")
        assert segments == -(-seconds // 1)
        assert held < 40_000_000
