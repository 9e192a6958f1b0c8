"""The table of formats against the decoders: what they read is found, and nothing else is."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from embedkit.audio.decode import decode, probe
from embedkit.audio.files import find_audio, walk
from embedkit.audio.formats import AUDIO_SUFFIXES, CONTAINERS, HEAD, is_sound

SUFFIXES = {  # of libsndfile's formats that are not named like their suffix
    "HTK": "htk", "SVX": "8svx", "MAT4": "mat", "MAT5": "mat", "MPC2K": "snd", "IRCAM": "sf",
    "NIST": "sph", "WAVEX": "wav",
}  # fmt: skip
# Without a header, or with the sound in a second file (SD2).
SOUNDFILE = sorted(soundfile.available_formats().keys() - {"RAW", "SD2"})

# Not of files: devices, networks, checksums, playlists and cuts of one file into many.
NO_FILES = frozenset([
    "alsa", "caca", "dash", "fbdev", "fifo", "hds", "hls", "image2", "image2pipe", "null", "oss",
    "pulse", "rtp", "rtp_mpegts", "rtsp", "sap", "segment", "smoothstreaming",
    "stream_segment,ssegment", "tee", "webm_dash_manifest", "whip", "xv", "video4linux2,v4l2",
    "webm_chunk",
])  # fmt: skip

# What must be among the muxers' files that are found, so that the test cannot be empty.
WELL_KNOWN = frozenset([
    "3gp", "ac3", "adts", "adx", "aiff", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "flv",
    "g722", "ipod", "ircam", "latm", "matroska", "mov", "mp2", "mp3", "mp4", "mpeg", "mpegts",
    "mxf_opatom", "nut", "ogg", "opus", "rm", "sox", "truehd", "tta", "voc", "w64", "wav", "webm",
    "wtv", "wv",
])  # fmt: skip
CODECS = {"mov": "aac", "gxf": "pcm_s16le", "mxf_opatom": "pcm_s16le", "rm": "ac3"}


def tone(rate: int) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)


def mux(path: Path, form: str, codec: str | None, rate: int, layout: str) -> None:
    """Write a second of a tone with whatever codec the muxer takes by default."""
    with av.open(path, "w", format=form) as container:
        stream = container.add_stream(codec or container.default_audio_codec, rate=rate)
        stream.layout = layout
        context = stream.codec_context
        context.options = {"strict": "-2"}
        context.open(strict=False)
        channels = {"mono": 1, "stereo": 2}[layout]
        whole = np.repeat(tone(rate)[None].astype(np.float32), channels, 0)
        frame = av.AudioFrame.from_ndarray(whole, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        convert = av.AudioResampler(context.format, layout, rate, context.frame_size or 1024)
        for piece in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def muxed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """By suffix, what PyAV's muxers make."""
    made = {}
    path = tmp_path_factory.mktemp("muxed") / "file"
    for form in sorted(av.formats_available - NO_FILES):
        with suppress(ValueError):  # what is only read
            if not av.ContainerFormat(form, "w").is_output:
                continue
            for rate, layout in ((48000, "stereo"), (44100, "mono"), (8000, "mono")):
                with suppress(av.FFmpegError, ValueError, TypeError, AttributeError):
                    mux(path, form, CODECS.get(form), rate, layout)
                    made[form] = path.read_bytes()
                    break
    return made


def usual_suffixes(form: str) -> list[str]:
    return [f".{suffix}" for suffix in sorted(av.ContainerFormat(form, "w").extensions)]


def found_as(root: Path, content: bytes, suffixes: list[str]) -> dict[str, tuple[bool, bool]]:
    """By suffix, whether such a file decodes by name, and whether it is found in a folder."""
    root.mkdir(exist_ok=True)
    answers = {}
    for suffix in suffixes:
        path = root / f"sound{suffix}"
        path.write_bytes(content)
        decodes = probe(path).duration_s > 0
        answers[suffix] = decodes, [found.is_audio for found in walk(root)] == [True]
        path.unlink()
    return answers


@pytest.mark.parametrize("form", SOUNDFILE)
def test_what_soundfile_writes_is_found_by_its_name_by_another_and_without_one(tmp_path, form):
    suffix = f".{SUFFIXES.get(form, form.lower())}"
    tried = 0
    for subtype in soundfile.available_subtypes(form):
        written = tmp_path / "written"
        # It does not write MP3's layers I and II, nor read what it writes as DWVW into AIFF.
        with suppress(soundfile.LibsndfileError):
            soundfile.write(written, tone(8000), 8000, format=form, subtype=subtype)
            soundfile.read(written)
            answers = found_as(
                tmp_path / "root", written.read_bytes(), [suffix, ".txt", ".wav", ".gsm", ""]
            )
            assert set(answers.values()) == {(True, True)}, (subtype, answers)
            tried += 1
    assert tried


def test_what_the_muxers_write_is_found_wherever_it_decodes(tmp_path, muxed):
    """A suffix of audio makes a file audio even if it does not decode: nothing is lost."""
    wrong, decoded = {}, set()
    for form, content in muxed.items():
        answers = found_as(tmp_path / "root", content, [*usual_suffixes(form), ".dat", ""])
        for suffix, (decodes, found) in answers.items():
            if decodes and not found:
                wrong[form, suffix] = "decodes and is not found"
            if found and not decodes and suffix not in AUDIO_SUFFIXES:
                wrong[form, suffix] = "is found and does not decode"
        if any(decodes for decodes, _ in answers.values()):
            decoded.add(form)
    assert wrong == {}
    assert decoded >= WELL_KNOWN & muxed.keys()
    assert len(WELL_KNOWN & muxed.keys()) > 25


def test_every_demuxer_of_the_table_is_one_of_ffmpegs():
    """Else a slip of the pen would keep a format from being read."""
    there = {name for form in av.formats_available for name in form.split(",")}
    assert set(CONTAINERS.split(",")) - there <= {"osq", "qoa"}  # newer than the oldest PyAV


def png() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(99)


def box(kind: bytes, brand: bytes) -> bytes:
    return struct.pack(">I4s4sI", 24, kind, brand, 0) + brand + b"mif1" + bytes(99)


def text() -> Iterator[bytes]:
    words = "Good music: RIFF, ID3 and 440 Hz.\n" * 300
    yield from (words.encode(code) for code in ("ascii", "utf-8-sig", "utf-16", "utf-16-be"))
    for first in ("MAC addresses", "MP+ is Musepack", "TTA1 of Tanzania", ".snd is Sun's", "1bit",
                  ".RMF is Real's", "OSQ is old", "The moov atom", "Oggs"):  # fmt: skip
        yield f"{first}\n{words}".encode()
    yield b"G" * 9999  # the byte with which packets of transport streams begin


OTHERS = [
    *text(), png(), b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(99), b"GIF89a" + bytes(99),
    b"BM" + bytes(99), b"II*\x00" + bytes(99), b"RIFF\x64\x00\x00\x00WEBPVP8 " + bytes(99),
    b"RIFF\x64\x00\x00\x00RMIDdata" + bytes(99), b"FORM\x00\x00\x00\x64ILBM" + bytes(99),
    box(b"ftyp", b"heic"), box(b"ftyp", b"avif"), box(b"ftyp", b"mif1"), box(b"ftyp", b"crx "),
    b"%PDF-1.7\n" + bytes(99), b"PK\x03\x04" + bytes(99), b"\x1f\x8b\x08" + bytes(99),
    b"7z\xbc\xaf\x27\x1c" + bytes(99), b"ustar" + bytes(999), b"MThd\x00\x00\x00\x06" + bytes(99),
    b"#EXTM3U\nsound.wav\n", b"[playlist]\nFile1=sound.wav\n", b"ffconcat version 1.0\nfile a.wav",
    b"SQLite format 3\x00" + bytes(99), b"\x93NUMPY\x01\x00" + bytes(99), b"PAR1" + bytes(99),
    b"\x7fELF\x02\x01\x01" + bytes(99), b"\x80\x04\x95" + bytes(99),
    b"\x89HDF\r\n\x1a\n" + bytes(99),
    b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(99),
    bytes(9999), b"\xff" * 9999, b"",
    b"\xff\xfb\x90\x64" + bytes(9999), b"\x0b\x77" + bytes(9999),
]  # fmt: skip


@pytest.mark.parametrize("content", OTHERS, ids=lambda content: repr(content[:12]))
def test_what_is_no_sound_is_not_taken_for_it(content):
    assert not is_sound(content[:HEAD], len(content))


def test_random_bytes_are_no_sound_even_after_a_frames_first_bits():
    rng = np.random.default_rng(0)
    taken = 0
    for number in range(5000):
        head = rng.bytes(HEAD)
        if number % 2:
            head = b"\xff" + bytes([0xE0 | head[0]]) + head[2:]
        taken += is_sound(head, len(head))
    assert taken <= 1  # E-AC-3 has 18 bits that one can know it by


# What libgsm makes of silence.
GSM = bytes.fromhex("d820a2e15a50004924924924500049249249245000492492492450004924924924")


@pytest.mark.parametrize("frames", [3, 100])
def test_gsm_is_as_long_as_its_frames_and_known_by_them_if_there_are_many(tmp_path, frames):
    path = tmp_path / "call.gsm"
    path.write_bytes(GSM * frames)
    info = probe(path)
    assert (info.problem, info.sample_rate) == ("", 8000)
    assert info.duration_s == pytest.approx(frames * 160 / 8000)
    assert find_audio(tmp_path).paths == [path]
    path.rename(tmp_path / "call")
    assert [found.is_audio for found in walk(tmp_path)] == [frames > 20]


def test_dsd_comes_back_as_the_tone_that_was_modulated(tmp_path):
    """One bit at 2.8 MHz: a sigma-delta modulator of the first order, in a .dsf by hand."""
    rate, hertz = 2_822_400, 440
    signal = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 5) / rate)
    bits = np.diff(np.floor(np.cumsum((signal + 1) / 2)), prepend=0)
    data = np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
    data += b"\x69" * (-len(data) % 4096)
    form = struct.pack(
        "<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, rate, 1, len(bits), 4096, 0
    )  # fmt: skip
    size = 28 + 52 + 12 + len(data)
    head = struct.pack("<4sQQQ", b"DSD ", 28, size, 0)
    path = tmp_path / "tone"
    path.write_bytes(head + form + struct.pack("<4sQ", b"data", 12 + len(data)) + data)
    assert find_audio(tmp_path).paths == [path]
    sound = np.concatenate(list(decode(path, 16000)))
    assert len(sound) == pytest.approx(16000 / 5, abs=32)
    middle = sound[800:2400]
    time = np.arange(800, 2400) / 16000
    wave = 2 * np.abs(np.mean(middle * np.exp(-2j * np.pi * hertz * time)))
    assert wave == pytest.approx(0.5, rel=0.1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_tags_that_are_not_utf_8_are_no_reason_to_refuse_a_file(tmp_path):
    plain, tagged = tmp_path / "plain.mka", tmp_path / "tagged.mka"
    mux(plain, "matroska", "pcm_s16le", 16000, "mono")
    # FFmpeg writes its own name into the file.
    content = plain.read_bytes()
    assert b"Lavf" in content
    tagged.write_bytes(content.replace(b"Lavf", b"La\xe9f"))
    expected, found = (np.concatenate(list(decode(path, 16000))) for path in (plain, tagged))
    assert len(found) == 16000
    np.testing.assert_array_equal(found, expected)
