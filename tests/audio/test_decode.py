"""Decoding against the samples that were written, numpy, and soxr on the whole signal at once."""

import io
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from embedkit.audio.blocks import BLOCK
from embedkit.audio.decode import LOUDEST, MIX, Channel, decode, probe
from embedkit.errors import AudioError, Kind, UsageError

Samples = NDArray[np.float32]
Make = Callable[..., Samples]
Write = Callable[..., Path]

RATE = 16000


def collect(path: Path, rate: int = RATE, channel: Channel = MIX) -> tuple[Samples, str]:
    """All samples that come, and the kind of the error that follows; empty if none does."""
    blocks = [np.zeros(0, np.float32)]
    kind = ""
    try:
        for block in decode(path, rate, channel):
            assert block.dtype == np.float32
            blocks.append(block)
    except AudioError as error:
        kind = error.kind
    return np.concatenate(blocks), kind


def encode(path: Path, codec: str, sound: Samples, rate: int, **options: Any) -> Path:
    """Write mono sound with PyAV, for what soundfile does not write."""
    with av.open(path, "w", **options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        convert = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for piece in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def silent_film(path: Path) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def similarity(found: Samples, original: Samples) -> float:
    length = min(len(found), len(original))
    return float(np.corrcoef(found[:length], original[:length])[0, 1])


@pytest.mark.parametrize("seconds", [0.01, BLOCK / RATE, 2.5])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "AIFF", "W64", "RF64", "AU", "CAF"])
def test_16_bit_samples_come_back_exactly(tmp_path, write_audio: Write, form, seconds):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, round(seconds * RATE), np.int16)
    path = write_audio(tmp_path / "a", samples, format=form, subtype="PCM_16")
    found, kind = collect(path)
    assert kind == ""
    np.testing.assert_array_equal(found, samples / np.float32(2**15))


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("channel", ["mix", "left"])
def test_16_bit_samples_are_mixed_as_their_float32_is(
    tmp_path, write_audio: Write, channels: int, channel: str
):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (3 * RATE, channels), np.int16)
    path = write_audio(tmp_path / "a.wav", samples, subtype="PCM_16")
    found, _ = collect(path, channel=Channel.parse(channel))
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    expected = whole[:, 0] if channel == "left" else sum(whole.T) / np.float32(channels)
    np.testing.assert_array_equal(found, expected)


def test_float_samples_come_back_exactly_beyond_full_scale(
    tmp_path, write_audio: Write, make_sound: Make
):
    sound = 40 * make_sound(2.5)
    found, kind = collect(write_audio(tmp_path / "a.wav", sound, subtype="FLOAT"))
    assert kind == ""
    np.testing.assert_array_equal(found, sound)


@pytest.mark.parametrize(
    ("channel", "mono"),
    [
        ("mix", lambda sound: sound.astype(np.float64).mean(axis=1)),
        ("left", lambda sound: sound[:, 0]),
        ("right", lambda sound: sound[:, 1]),
        ("1", lambda sound: sound[:, 0]),
        ("8", lambda sound: sound[:, 7]),
    ],
)
def test_the_channel_asked_for_becomes_the_signal(
    tmp_path, write_audio: Write, make_sound: Make, channel, mono
):
    sound = make_sound(1.5, channels=8)
    path = write_audio(tmp_path / "a.wav", sound, subtype="FLOAT")
    found, kind = collect(path, channel=Channel.parse(channel))
    assert kind == ""
    np.testing.assert_allclose(found, mono(sound), rtol=0, atol=2e-7)


@pytest.mark.parametrize(
    ("channels", "channel", "kind"),
    [(1, "left", ""), (1, "right", Kind.NO_CHANNEL), (8, "9", Kind.NO_CHANNEL)],
)
def test_a_channel_that_the_file_does_not_have_is_an_error(
    tmp_path, write_audio: Write, make_sound: Make, channels, channel, kind
):
    path = write_audio(tmp_path / "a.wav", make_sound(0.1, channels=channels))
    found, found_kind = collect(path, channel=Channel.parse(channel))
    assert (len(found), found_kind) == (0 if kind else 1600, kind)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "Left", "middle", "²", "1 2"])
def test_a_channel_that_means_nothing_is_refused(text):
    with pytest.raises(UsageError, match="channel"):
        Channel.parse(text)


@pytest.mark.parametrize("text", ["mix", "1", "2", "17"])
def test_a_channel_reads_back_from_its_text(text):
    assert str(Channel.parse(text)) == text


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 192000])
def test_resampling_in_blocks_equals_resampling_at_once(
    tmp_path, write_audio: Write, make_sound: Make, rate
):
    sound = make_sound(2.3 * BLOCK / rate, rate)
    found, kind = collect(write_audio(tmp_path / "a.wav", sound, rate, subtype="FLOAT"))
    whole = soxr.resample(sound, rate, RATE)
    assert kind == ""
    assert len(found) == len(whole)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", ["mp3", "wav", "m4a", "txt"])
def test_a_suffix_that_lies_changes_nothing(tmp_path, write_audio: Write, make_sound: Make, suffix):
    sound = make_sound(0.5)
    honest = collect(write_audio(tmp_path / "a.flac", sound))
    found, kind = collect(write_audio(tmp_path / f"a.{suffix}", sound, format="FLAC"))
    assert kind == ""
    np.testing.assert_array_equal(found, honest[0])
    assert similarity(found, sound) > 0.9999


@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [
        ("OGG", "VORBIS", 16000),
        ("OGG", "VORBIS", 44100),
        ("OGG", "OPUS", 16000),
        ("OGG", "OPUS", 48000),
        ("MP3", "MPEG_LAYER_III", 16000),
        ("MP3", "MPEG_LAYER_III", 44100),
    ],
)
def test_lossy_files_sound_like_their_original(
    tmp_path, write_audio: Write, make_sound: Make, form, subtype, rate
):
    sound = make_sound(2, rate)
    found, kind = collect(write_audio(tmp_path / "a", sound, rate, format=form, subtype=subtype))
    original = soxr.resample(sound, rate, RATE)
    assert kind == ""
    # Codecs may add silence up to the end of a frame, but no delay at the start.
    assert 0 <= len(found) - len(original) <= 1200
    assert similarity(found, original) > 0.97


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("m4a", "aac", {}),
        ("mp4", "aac", {"options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("m4a", "alac", {}),
        ("mka", "aac", {}),
        ("webm", "libopus", {}),
        ("oga", "flac", {"format": "ogg"}),
        ("tta", "tta", {}),
        ("avi", "pcm_s16le", {}),
    ],
)
def test_what_only_pyav_reads_sounds_like_its_original(
    tmp_path, make_sound: Make, suffix, codec, options
):
    sound = make_sound(1.5)
    found, kind = collect(encode(tmp_path / f"a.{suffix}", codec, sound, RATE, **options))
    assert kind == ""
    assert 0 <= len(found) - len(sound) <= 2048
    # Encoders of AAC start with 1024 samples of silence, which only an edit list takes back.
    assert max(similarity(found, sound), similarity(found[1024:], sound)) > 0.97


def test_bare_aac_is_whole_though_ffmpeg_guesses_its_length_from_a_quiet_start(
    tmp_path, make_sound: Make
):
    sound = make_sound(8)
    sound[: 4 * RATE] = 0
    path = encode(tmp_path / "a.aac", "aac", sound, RATE, format="adts")
    with av.open(path) as container:
        assert container.duration / av.time_base > 16  # the guess that must not be believed
    found, kind = collect(path)
    assert kind == ""
    assert similarity(found[1024:], sound) > 0.97


def test_mp3_without_xing_header_is_decoded_to_its_end(
    tmp_path, write_audio: Write, make_sound: Make
):
    rate = 44100
    sound = make_sound(8, rate)
    sound[: 4 * rate] *= 0.001  # the bit rate of the quiet frames promises a shorter file
    whole = write_audio(tmp_path / "a.mp3", sound, rate, bitrate_mode="VARIABLE")
    data = whole.read_bytes()
    first = data.index(data[:2], 100)  # the second frame's start: the first holds only the header
    assert b"Xing" in data[:first]
    path = tmp_path / "b.mp3"
    path.write_bytes(data[first:])
    assert soundfile.info(path).duration != pytest.approx(8, abs=0.5)
    found, kind = collect(path, rate)
    assert kind == ""
    # Nothing tells the decoder any more to drop the encoder's delay: up to 1105 + 529 samples.
    start, end = 5 * rate, 5 * rate + 8000
    delay = int(np.argmax(np.correlate(found[start : end + 2400], sound[start:end])))
    assert similarity(found[delay:], sound) > 0.97
    assert len(found) - delay >= len(sound)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chained_ogg_is_decoded_to_the_end_of_its_last_stream(
    tmp_path, write_audio: Write, make_sound: Make, subtype: str
):
    """Radio recorders write one stream after the other; libsndfile reads the first alone."""
    sound = make_sound(2.0, 48000)
    parts = [
        write_audio(tmp_path / f"{n}.ogg", part, 48000, subtype=subtype).read_bytes()
        for n, part in enumerate([sound, 0.5 * sound])
    ]
    path = tmp_path / "chained.ogg"
    path.write_bytes(b"".join(parts))
    found, kind = collect(path, 48000)
    assert kind == ""
    assert len(found) == pytest.approx(2 * len(sound), abs=1000)
    assert similarity(found[: len(sound)], sound) > 0.97
    assert similarity(found[-len(sound) :], sound) > 0.97
    assert np.std(found[-48000:]) == pytest.approx(0.5 * np.std(sound[-48000:]), rel=0.1)


def test_a_wav_and_a_flac_written_to_a_pipe_are_whole(
    tmp_path, write_audio: Write, make_sound: Make
):
    """Their writers could not go back to fill in a length."""
    sound = make_sound(2.3)
    wav, flac = (write_audio(tmp_path / f"a.{suffix}", sound) for suffix in ("wav", "flac"))
    expected = [collect(path)[0] for path in (wav, flac)]
    data = bytearray(wav.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    wav.write_bytes(data)
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: the number of samples is the 36 bits that end at byte 26
    data[22:26] = bytes(4)
    flac.write_bytes(data)
    for path, samples in zip((wav, flac), expected, strict=True):
        found, kind = collect(path)
        assert (len(found), kind) == (len(sound), "")
        np.testing.assert_array_equal(found, samples)


TRUNCATED = [
    *(("WAV", "PCM_16", True), ("WAV", "FLOAT", True), ("AIFF", "PCM_16", True)),
    *(("AU", "PCM_16", True), ("FLAC", "PCM_16", True), ("OGG", "VORBIS", False)),
    *(("OGG", "OPUS", False), ("MP3", "MPEG_LAYER_III", False)),
]


def half_of(path: Path) -> Path:
    half = path.with_name("half")
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return half


@pytest.mark.parametrize(("form", "subtype", "lossless"), TRUNCATED)
def test_half_a_file_gives_its_samples_and_is_truncated(
    tmp_path, write_audio: Write, make_sound: Make, form, subtype, lossless
):
    sound = make_sound(6)
    path = write_audio(tmp_path / "whole", sound, format=form, subtype=subtype)
    whole, _ = collect(path)
    found, kind = collect(half_of(path))
    assert kind == Kind.TRUNCATED
    assert 0.25 < len(found) / len(whole) < 0.6  # one block may be lost
    if lossless:
        np.testing.assert_array_equal(found, whole[: len(found)])
    else:
        assert similarity(found, whole) > 0.999


def test_what_is_good_of_a_block_that_fails_is_kept(tmp_path, write_audio: Write):
    """The encoder packs 4096 samples at a time; a block is longer than the whole file."""
    noise = np.random.default_rng(0).uniform(-1, 1, BLOCK - 1).astype("f4")
    path = write_audio(tmp_path / "a.flac", noise)
    whole, _ = collect(path)
    path.write_bytes(path.read_bytes()[:-100])
    found, kind = collect(path)
    assert kind == Kind.TRUNCATED
    assert 0 <= BLOCK - 4096 - len(found) <= 512
    np.testing.assert_array_equal(found, whole[: len(found)])


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("m4a", "aac", {"options": {"movflags": "faststart"}}),
        ("mka", "aac", {}),
        ("webm", "libopus", {}),
        ("oga", "flac", {"format": "ogg"}),
        ("tta", "tta", {}),
    ],
)
def test_half_a_file_that_only_pyav_reads_is_truncated(
    tmp_path, make_sound: Make, suffix, codec, options
):
    path = encode(tmp_path / f"a.{suffix}", codec, make_sound(6), RATE, **options)
    whole, _ = collect(path)
    found, kind = collect(half_of(path))
    assert kind == Kind.TRUNCATED
    assert 0.25 < len(found) / len(whole) < 0.6
    assert similarity(found, whole) > 0.999


@pytest.mark.parametrize("rate", [RATE, 44100])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * LOUDEST])
def test_samples_before_a_non_finite_one_are_kept(
    tmp_path, write_audio: Write, make_sound: Make, bad, rate
):
    kept = int(1.2 * BLOCK)
    sound = make_sound(3)
    sound[kept] = bad
    found, kind = collect(write_audio(tmp_path / "a.wav", sound, subtype="FLOAT"), rate)
    assert kind == Kind.NON_FINITE
    expected = sound[:kept] if rate == RATE else soxr.resample(sound[:kept], RATE, rate)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_one_sample_is_a_clip(tmp_path, write_audio: Write, suffix, rate):
    found, kind = collect(write_audio(tmp_path / f"a.{suffix}", np.full(1, 0.5, "f4"), rate))
    assert kind == ""
    assert len(found) >= 1
    assert 0.25 <= found[0] <= 0.5 + 1e-6


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def cut_to(size: int, form: str) -> Callable[[Path, Write], None]:
    def make(path: Path, write: Write) -> None:
        write(path, np.full(RATE, 0.1, np.float32), format=form)
        path.write_bytes(path.read_bytes()[:size])

    return make


BAD: dict[str, tuple[Callable[[Path, Write], object], Kind]] = {
    "empty": (lambda path, write: path.touch(), Kind.EMPTY),
    "wav-of-no-sample": (lambda path, write: write(path, np.zeros(0), format="WAV"), Kind.EMPTY),
    "ogg-of-no-sample": (lambda path, write: write(path, np.zeros(0), format="OGG"), Kind.EMPTY),
    "wav-header": (cut_to(44, "WAV"), Kind.UNREADABLE),
    "flac-header": (cut_to(60, "FLAC"), Kind.UNREADABLE),
    "ogg-header": (cut_to(60, "OGG"), Kind.UNREADABLE),
    "mp3-header": (cut_to(200, "MP3"), Kind.UNREADABLE),
    "text": (lambda path, write: path.write_text("just words\n" * 99), Kind.UNREADABLE),
    "noise-bytes": (
        lambda path, write: path.write_bytes(np.random.default_rng(0).bytes(20000)),
        Kind.UNREADABLE,
    ),
    "nan-only": (
        lambda path, write: write(path, np.full(99, np.nan), format="WAV", subtype="FLOAT"),
        Kind.NON_FINITE,
    ),
    "missing": (lambda path, write: None, Kind.UNREADABLE),
    "broken-link": (lambda path, write: path.symlink_to("nowhere"), Kind.UNREADABLE),
    "link-to-itself": (lambda path, write: path.symlink_to(path), Kind.UNREADABLE),
    "pipe": (lambda path, write: os.mkfifo(path), Kind.NOT_A_FILE),
    "folder": (lambda path, write: path.mkdir(), Kind.NOT_A_FILE),
    "device": (lambda path, write: path.symlink_to("/dev/zero"), Kind.NOT_A_FILE),
    "socket": (lambda path, write: make_socket(path), Kind.NOT_A_FILE),
    "mkv-film": (lambda path, write: silent_film(path), Kind.NO_AUDIO),
    "mp4-film": (lambda path, write: silent_film(path), Kind.NO_AUDIO),
}


@pytest.mark.parametrize("name", BAD)
def test_what_gives_no_sample_says_why(tmp_path, write_audio: Write, name):
    make, expected = BAD[name]
    path = tmp_path / (f"a.{name[:3]}" if name.endswith("film") else "a.wav")
    make(path, write_audio)
    found, kind = collect(path)
    assert (len(found), kind) == (0, expected)
    assert probe(path).problem.startswith(f"{expected}: ")


@pytest.mark.parametrize(
    ("text", "bait"),
    [
        ("ffconcat version 1.0\nfile other.aac\n", True),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.aac\n#EXT-X-ENDLIST\n", False),
    ],
)
def test_a_playlist_is_unreadable_though_the_file_that_it_names_is_good(
    tmp_path, make_sound: Make, monkeypatch, text, bait
):
    monkeypatch.chdir(tmp_path)  # where FFmpeg looks, since it gets the file and not its name
    encode(tmp_path / "other.aac", "aac", make_sound(1), RATE, format="adts")
    path = tmp_path / "list.m4a"
    path.write_text(text)
    if bait:  # left to itself, FFmpeg follows it
        with av.open(io.BytesIO(path.read_bytes())) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) >= RATE
    found, kind = collect(path)
    assert (len(found), kind) == (0, Kind.UNREADABLE)


def test_probe_tells_what_decoding_finds(tmp_path, write_audio: Write, make_sound: Make):
    path = write_audio(tmp_path / "a.wav", make_sound(3, 44100, channels=2), 44100)
    good = probe(path)
    assert (good.sample_rate, good.channels, good.problem) == (44100, 2, "")
    assert good.duration_s == pytest.approx(3, abs=1e-9)
    half = probe(half_of(path))
    assert half.problem.startswith("truncated: ")
    assert half.duration_s == pytest.approx(1.5, abs=0.001)


def test_a_dsf_of_one_bit_sounds_like_its_tone(tmp_path):
    """Sony's DSF: 1-bit samples at 64 times 44.1 kHz, in blocks of 4096 bytes, low bits first."""
    rate, hertz = 64 * 44100, 440
    wave = 0.5 + 0.25 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    bits = np.diff(np.floor(np.cumsum(wave)), prepend=0).astype(np.uint8)  # first-order modulation
    data = np.packbits(bits, bitorder="little").tobytes()
    data += bytes(-len(data) % 4096)
    fmt = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, rate, 1, len(bits), 4096, 0)
    rest = fmt + struct.pack("<4sQ", b"data", 12 + len(data)) + data
    path = tmp_path / "a.dsf"
    path.write_bytes(struct.pack("<4sQQQ", b"DSD ", 28, 28 + len(rest), 0) + rest)
    found, kind = collect(path)
    assert kind == ""
    assert len(found) == pytest.approx(RATE, abs=200)
    middle = found[RATE // 4 : 3 * RATE // 4]
    time = np.arange(len(middle)) / RATE
    level = 2 * np.abs(np.mean(middle * np.exp(-2j * np.pi * hertz * time)))
    assert level == pytest.approx(0.5, rel=0.05)  # of bits that stand for -1 and 1


def test_an_amr_is_never_short_of_what_ffmpeg_guesses(tmp_path, make_sound: Make):
    """It states no length; FFmpeg takes the bit rate of its beginning for that of the whole."""
    bodies = []
    for number, (bits, seconds) in enumerate(((4750, 2), (12200, 6))):
        path = tmp_path / f"{number}.amr"
        with av.open(path, "w") as container:
            stream = container.add_stream("libopencore_amrnb", rate=8000, layout="mono")
            stream.bit_rate = bits
            whole = (2**14 * make_sound(seconds, 8000)).astype(np.int16)
            for pts in range(0, len(whole), 160):  # 20 ms
                block = whole[None, pts : pts + 160]
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 8000, pts
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        bodies.append(path.read_bytes()[6:])
    path = tmp_path / "joined.amr"
    path.write_bytes(b"#!AMR\n" + b"".join(bodies))
    with av.open(path) as container:
        guessed = container.duration / av.time_base
    found, kind = collect(path)
    assert kind == ""
    assert len(found) == pytest.approx(8 * RATE, abs=0.1 * RATE)
    assert guessed > 10
