"""Sound with holes, sound that changes midway, and what stands behind it.

The oracle is the undamaged file, or the parts decoded by themselves.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from test_decode import collect, half_of, similarity
from test_headers import APE, ID3V1

from embedkit.audio.decode import Channel, decode, probe
from embedkit.audio.gaps import SPARE_S, ByStamps, Gaps
from embedkit.audio.tags import untagged
from embedkit.errors import AudioError, Kind

Samples = NDArray[np.float32]
RATE = 16000


def sound(seconds: float, rate: int = RATE, low: float = 300) -> Samples:
    """A chirp in noise, which is like itself at no other time."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.4 * np.sin(2 * np.pi * (low + 40 * time) * time) + 0.1 * noise).astype("f4")


def packets(
    codec: str, samples: Samples, rate: int, layout: str, stream: av.AudioStream
) -> list[Any]:
    """What an encoder makes of samples, [n] or [n, channels]."""
    packed = np.ascontiguousarray(samples).reshape(1, -1)
    convert = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or 4096)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    pieces = [*convert.resample(frame), *convert.resample(None)]
    return [packet for piece in [*pieces, None] for packet in stream.encode(piece)]


def encode(
    path: Path,
    form: str,
    codec: str,
    samples: Samples,
    rate: int = RATE,
    layout: str = "mono",
    change: Callable[[list[Any]], None] = lambda packets: None,
) -> Path:
    """Write a file with PyAV."""
    with av.open(path, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        encoded = packets(codec, samples, rate, layout, stream)
        change(encoded)
        container.mux(encoded)
    return path


def by_soundfile(path: Path, samples: Samples, rate: int = RATE, **options: Any) -> Path:
    with path.open("wb") as file:
        soundfile.write(file, samples, rate, **options)
    return path


MAKE: dict[str, Callable[[Path, Samples], Path]] = {
    "mp3": lambda path, samples: by_soundfile(path, samples, format="MP3"),
    "flac": lambda path, samples: by_soundfile(path, samples, format="FLAC"),
    "ogg": lambda path, samples: by_soundfile(path, samples, format="OGG"),
    "opus": lambda path, samples: by_soundfile(path, samples, format="OGG", subtype="OPUS"),
    "aac": lambda path, samples: encode(path, "adts", "aac", samples),
    "ac3": lambda path, samples: encode(path, "ac3", "ac3", samples.repeat(2), 32000),
    "eac3": lambda path, samples: encode(path, "eac3", "eac3", samples.repeat(2), 32000),
    "m4a": lambda path, samples: encode(path, "ipod", "aac", samples),
    "alac": lambda path, samples: encode(path, "ipod", "alac", samples),
    "mka": lambda path, samples: encode(path, "matroska", "aac", samples),
    "webm": lambda path, samples: encode(path, "webm", "libopus", samples.repeat(3), 48000),
    "ts": lambda path, samples: encode(path, "mpegts", "aac", samples),
    "mpg": lambda path, samples: encode(path, "mpeg", "mp2", samples),
    "flv": lambda path, samples: encode(path, "flv", "aac", samples),
    "avi": lambda path, samples: encode(path, "avi", "ac3", samples.repeat(2), 32000),
    "wv": lambda path, samples: encode(path, "wv", "wavpack", samples),
    "tta": lambda path, samples: encode(path, "tta", "tta", samples),
    "oga": lambda path, samples: encode(path, "ogg", "flac", samples),
}

# What states no length, and marks no end: FFmpeg guesses it.
OPEN = {"aac", "ac3", "eac3", "ts", "mpg"}


@pytest.fixture(scope="module", params=MAKE)
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("intact") / f"a.{request.param}"
    return MAKE[request.param](path, sound(14))


def lag(found: Samples, whole: Samples, start: int, length: int, reach: int = 4000) -> int:
    """By how many samples what was found is late, at a place of the whole."""
    part = whole[start : start + length]
    there = found[start - reach : start + length + reach]
    return int(np.argmax(np.correlate(there, part, "valid"))) - reach


@pytest.mark.parametrize("kind_of_damage", ["noise", "zeros"])
def test_what_stands_behind_damage_stays_where_it_was(
    intact: Path, tmp_path: Path, kind_of_damage: str
):
    whole, kind = collect(intact)
    assert kind == ""
    data = bytearray(intact.read_bytes())
    middle = len(data) // 2
    noise = np.random.default_rng(0).bytes(3000)
    data[middle : middle + 3000] = noise if kind_of_damage == "noise" else bytes(3000)
    path = tmp_path / "damaged"
    path.write_bytes(data)
    found, kind = collect(path)
    assert kind == Kind.GAPS
    # What was put behind the sound for whole frames is cut off where time stamps tell.
    assert abs(len(found) - len(whole)) <= 1300
    before, behind = 4 * RATE, 12 * RATE
    np.testing.assert_allclose(found[:before], whole[:before], rtol=0, atol=1e-6)
    late = lag(found, whole, behind, RATE)
    assert abs(late) <= 20  # time stamps of a millisecond
    late = len(found) - len(whole) if late else 0
    if kind_of_damage == "noise":
        assert similarity(found[behind:], whole[behind:]) > 0.9 or late


def test_the_silence_of_a_gap_is_where_the_sound_is_missing(tmp_path: Path):
    """FLAC is exact, and its frames have 4096 samples."""
    samples = sound(10)
    path = by_soundfile(tmp_path / "a.flac", samples, format="FLAC")
    whole, _ = collect(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    found, kind = collect(path)
    assert (kind, len(found)) == (Kind.GAPS, len(whole))
    differs = np.flatnonzero(found != whole)
    first, last = differs[0] // 4096 * 4096, differs[-1] // 4096 * 4096 + 4096
    assert (last - first) // 4096 in (1, 2)
    assert not found[first:last].any()
    with pytest.raises(AudioError) as caught:
        list(decode(path, RATE))
    seconds = (last - first) / RATE
    assert str(caught.value) == (
        f"a gap at {first / RATE:.2f} s; {seconds:.2f} s of silence stand for what is lost"
    )


def test_several_gaps_are_counted(tmp_path: Path):
    path = encode(tmp_path / "a.m4a", "ipod", "aac", sound(14))
    whole, _ = collect(path)
    data = bytearray(path.read_bytes())
    for share in (0.3, 0.5, 0.7):
        start = round(share * len(data))
        data[start : start + 1000] = np.random.default_rng(1).bytes(1000)
    path.write_bytes(data)
    found, _ = collect(path)
    problem = probe(path).problem
    assert problem.startswith("gaps: 3 gaps, the first at ")
    assert len(found) == len(whole)


def shift(first: int, seconds: float) -> Callable[[list[Any]], None]:
    """Let the time stamps jump behind so many packets."""

    def change(encoded: list[Any]) -> None:
        for packet in encoded[first:]:
            units = round(seconds / packet.time_base)
            packet.pts += units
            packet.dts += units

    return change


@pytest.mark.parametrize(
    ("seconds", "filled", "kind"),
    [(0.05, 0, ""), (3, 3, Kind.GAPS), (36_000, 0, ""), (2**20, 0, "")],
)
def test_time_stamps_that_jump_are_filled_but_never_with_hours(
    tmp_path: Path, seconds: float, filled: float, kind: str
):
    whole, _ = collect(encode(tmp_path / "a.mka", "matroska", "aac", sound(6)))
    path = encode(tmp_path / "b.mka", "matroska", "aac", sound(6), change=shift(50, seconds))
    notes: list[str] = []
    found = [np.zeros(0, np.float32)]
    raised = ""
    try:
        found.extend(decode(path, RATE, note=notes.append))
    except AudioError as error:
        raised = error.kind
    length = sum(map(len, found))
    assert length == pytest.approx(len(whole) + filled * RATE, abs=0.01 * RATE)
    # A header that states what the stamps say is missed by those that are not believed.
    assert raised == kind or (raised == Kind.TRUNCATED and seconds > 1000)


class Fake:
    """A packet of a container."""

    def __init__(self, pts: int | None, duration: int = 20, is_corrupt: bool = False) -> None:
        self.pts, self.duration, self.is_corrupt = pts, duration, is_corrupt


@pytest.mark.parametrize("step", [-(2**40), -7, 90, 30_000, 9_999_999, 2**60])
def test_silence_is_never_more_than_the_sound_and_ten_seconds(step: int):
    """However the stamps are damaged, a thousand times over."""
    rng = np.random.default_rng(0)
    finder, gaps = ByStamps(0.001), Gaps()
    stamp = 0
    for number in range(5000):
        packet: Any = Fake(stamp)
        if rng.random() < 0.3:
            finder.lose(packet)
        else:
            gaps.fill(finder.missing(packet, stamp, 0.02))
            gaps.sound_s += 0.02
        stamp += 20 + (step if number % 5 == 0 else 0)
    assert gaps.filled_s <= gaps.sound_s + SPARE_S


def test_a_stamp_that_cannot_be_believed_leaves_the_durations_of_what_was_lost():
    finder, gaps = ByStamps(0.001), Gaps(sound_s=5.0)
    good: Any = Fake(0)
    assert finder.missing(good, 0, 0.02) == ()
    for pts in (20, 40, 60):
        lost: Any = Fake(pts)
        finder.lose(lost)
    assert gaps.fill(finder.missing(good, 2**50, 0.02)) == pytest.approx(0.06)
    assert (gaps.count, gaps.first_s) == (1, 5.0)


TAILS = {
    "zeros": bytes(5000),
    "many-zeros": bytes(100_000),
    "id3v1": ID3V1,
    "ape": APE,
    "id3v2": b"ID3\4\0\0\0\0\7\x68" + b"z" * 1000,
    "lyrics3": b"LYRICSBEGIN" + b"la " * 300 + b"000911LYRICS200" + ID3V1,
}


@pytest.mark.parametrize("tail", TAILS)
def test_tags_and_zeros_behind_the_last_frame_are_not_missing_sound(
    intact: Path, tmp_path: Path, tail: str
):
    whole, _ = collect(intact)
    path = tmp_path / "tailed"
    path.write_bytes(intact.read_bytes() + TAILS[tail])
    found, kind = collect(path)
    assert kind == ""
    # FFmpeg takes an AC-3 frame and what stands behind it for one, and leaves the end of an MP3's
    # last frame.
    assert abs(len(whole) - len(found)) <= 1536
    np.testing.assert_allclose(found[: 13 * RATE], whole[: 13 * RATE], rtol=0, atol=1e-6)


def test_half_of_it_is_truncated_where_a_length_is_stated(intact: Path):
    form = intact.suffix[1:]
    if form in {"m4a", "alac"}:
        return  # their index comes last: nothing can be decoded
    whole, _ = collect(intact)
    found, kind = collect(half_of(intact))
    assert kind == ("" if form in OPEN else Kind.TRUNCATED)
    assert 0.25 < len(found) / len(whole) < 0.6


def test_noise_up_to_the_end_is_truncated(intact: Path, tmp_path: Path):
    if intact.suffix in {".m4a", ".alac"}:
        return  # their index comes last
    data = bytearray(intact.read_bytes())
    half = len(data) // 2
    data[half:] = np.random.default_rng(0).bytes(len(data) - half)
    path = tmp_path / "noise"
    path.write_bytes(data)
    found, kind = collect(path)
    assert kind == Kind.TRUNCATED
    assert len(found) > 3 * RATE


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"abc", b"abc"),
        (b"ab" + ID3V1 + b"c", b"abc"),
        (b"a" + APE, b"a"),
        (b"a" + APE[:-32], b"a"),
        (APE[32:], b""),  # a footer alone
        (TAILS["id3v2"] + b"frame", b"frame"),
        (TAILS["lyrics3"], b""),
        (b"TAG+" + bytes(223) + ID3V1 + b"x", b"x"),
        (b"a" + b"ID3", b"a"),
    ],
)
def test_tags_are_told_from_frames(data: bytes, kept: bytes):
    assert untagged(data) == kept


# What changes: the rate and the layout of two parts, and the channels that have sound.
LEFT_RIGHT = ("stereo", (1, 1))
CHANGES = {
    "2-to-1": ((48000, *LEFT_RIGHT), (48000, "mono", (1,))),
    "1-to-2": ((48000, "mono", (1,)), (48000, "stereo", (0, 1))),
    "rate-falls": ((48000, *LEFT_RIGHT), (32000, *LEFT_RIGHT)),
    "rate-rises": ((32000, "mono", (1,)), (48000, "mono", (1,))),
    "2-to-5.1": ((48000, *LEFT_RIGHT), (48000, "5.1", (0, 0, 1, 0, 0, 0))),
    "5.1-to-1": ((48000, "5.1", (0, 0, 1, 0, 0, 0)), (44100, "mono", (1,))),
}
JOINED = {
    "aac": ("adts", "aac"),
    "ac3": ("ac3", "ac3"),
    "ts": ("mpegts", "ac3"),
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "vorbis"),
    "opus": ("ogg", "libopus"),
    "oga": ("ogg", "flac"),
}


@pytest.mark.parametrize(("form", "change"), list(itertools.product(JOINED, CHANGES)))
def test_a_file_whose_parameters_change_goes_on_with_the_new_ones(
    tmp_path: Path, form: str, change: str
):
    container, codec = JOINED[form]
    parts = []
    for number, (rate, layout, levels) in enumerate(CHANGES[change]):
        if form == "mp3" and layout == "5.1":
            return  # there is no such MP3
        rate = 48000 if form == "opus" else rate  # noqa: PLW2901 - Opus has one rate
        samples = sound(3, rate, 300 + 400 * number)[:, None] * np.array(levels, "f4")
        name = tmp_path / f"{number}.{form}"
        if form == "ogg":
            parts.append(by_soundfile(name, samples, rate, format="OGG"))
        else:
            parts.append(encode(name, container, codec, samples, rate, layout))
    path = tmp_path / f"joined.{form}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    alone = [collect(part, 22050) for part in parts]
    found, kind = collect(path, 22050)
    assert kind == ""
    expected = np.concatenate([samples for samples, _ in alone])
    assert len(found) == pytest.approx(len(expected), abs=0.1 * 22050)
    assert [kind for _, kind in alone] == ["", ""]
    for first, samples in ((0, alone[0][0]), (len(alone[0][0]), alone[1][0])):
        late = lag(found, np.concatenate([np.zeros(first, "f4"), samples]), first + 22050, 22050)
        there = found[first + 22050 + late : first + 44100 + late]
        assert abs(late) <= 0.1 * 22050
        assert similarity(there, samples[22050:44100]) > 0.95  # at other places between samples
        # The mean of the channels, so that sound at the centre alone is not lost.
        assert np.std(there) == pytest.approx(np.std(samples[22050:44100]), rel=0.05)
    info = probe(path)
    assert (info.sample_rate, info.problem, len(info.notes)) == (
        *(48000 if form == "opus" else CHANGES[change][0][0], ""),
        0 if form == "opus" and "rate" in change else 1,
    )


def test_a_channel_that_goes_midway_ends_the_file_there(tmp_path: Path):
    stereo = sound(2, 48000)[:, None] * np.array([0, 1], "f4")
    parts = [
        encode(tmp_path / "2.ac3", "ac3", "ac3", stereo, 48000, "stereo"),
        encode(tmp_path / "1.ac3", "ac3", "ac3", sound(2, 48000), 48000),
    ]
    path = tmp_path / "joined.ac3"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    right, kind = collect(path, 48000, Channel(2))
    alone, _ = collect(parts[0], 48000, Channel(2))
    assert kind == Kind.NO_CHANNEL
    np.testing.assert_array_equal(right, alone)
    left, kind = collect(path, 48000, Channel(1))
    assert kind == ""
    assert len(left) == pytest.approx(2 * len(right), abs=1536)


@pytest.mark.parametrize(("layout", "channels"), [("7.1", 8), ("hexadecagonal", 16)])
@pytest.mark.parametrize("codec", ["flac", "wavpack"])
def test_eight_channels_and_more_are_decoded(
    tmp_path: Path, layout: str, channels: int, codec: str
):
    """Of a plane for each of eight channels, PyAV finds no end."""
    if (codec, channels) == ("flac", 16):
        return  # which has eight at most
    levels = np.linspace(0, 1, channels)
    samples = (sound(2)[:, None] * levels).astype("f4")
    path = encode(tmp_path / "a.mka", "matroska", codec, samples, RATE, layout)
    for channel, level in ((1, 0), (channels, 1)):
        found, kind = collect(path, channel=Channel(channel))
        assert kind == ""
        np.testing.assert_allclose(found, level * sound(2), rtol=0, atol=0.01)  # 8 bits
