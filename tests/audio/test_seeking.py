"""A stretch far within a file is gone to, and is what decoding from the beginning comes to."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from embedkit.audio import excerpts as excerpts_module
from embedkit.audio import stamps
from embedkit.audio.blocks import floats
from embedkit.audio.decode import decode
from embedkit.audio.excerpts import excerpts
from embedkit.audio.read import read
from embedkit.errors import AudioError
from embedkit.web.sound import RATE, read_span

SECONDS = 40.0
# Format, codec and rate; and how far from each other two decodings may be.
FORMS = {
    "a.wav": ("pcm_s16le", 44100, 0.0),
    "a.flac": ("flac", 44100, 0.0),
    "a.ogg": ("vorbis", 44100, 0.0),
    "b.ogg": ("libopus", 48000, 1e-3),
    "a.mp3": ("mp3", 44100, 1e-6),
    "a.m4a": ("aac", 44100, 1e-6),
    "b.m4a": ("alac", 44100, 0.0),
}


def write(path: Path, codec: str, rate: int, samples: NDArray[np.float32]) -> None:
    if codec == "vorbis":
        with soundfile.SoundFile(path, "w", rate, 2, "VORBIS", format="OGG") as file:
            for start in range(0, len(samples), 65536):  # of more at once libsndfile's stack ends
                file.write(samples[start : start + 65536])
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "stereo"
        convert = av.AudioResampler(stream.format, "stereo", rate, stream.frame_size or 4096)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
        )
        frame.rate, frame.pts = rate, 0
        for piece in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_sound: Any) -> Path:
    root = tmp_path_factory.mktemp("seeking")
    for name, (codec, rate, _) in FORMS.items():
        samples = 0.5 * make_sound(SECONDS, rate, seed=1, channels=2)
        write(root / name, codec, rate, samples.astype(np.float32))
    return root


@pytest.mark.parametrize("name", FORMS)
def test_a_stretch_is_that_of_a_full_decode(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, atol = folder / name, FORMS[name][2]
    with path.open("rb", buffering=0) as file:
        blocks = list(read(file, path, lambda note: None))
    rate, whole = blocks[0][0], np.concatenate([floats(block) for _, block in blocks])
    mono = np.concatenate(list(decode(path, RATE)))

    def refuse(*_: object) -> None:
        pytest.fail("it was decoded from the beginning")

    monkeypatch.setattr(excerpts_module, "_passed", refuse)
    for start_s, end_s in ((12.0, 13.0), (20.123, 25.5), (31.999, 32.0), (39.2, 40.0)):
        [found] = excerpts(path, [(start_s, end_s)])
        assert found.rate == rate
        expected = whole[round(start_s * rate) : round(end_s * rate)]
        np.testing.assert_allclose(found.samples, expected, rtol=0, atol=atol)
        heard = read_span(path, start_s, end_s)
        expected = mono[round(start_s * RATE) : round(end_s * RATE)]
        np.testing.assert_allclose(heard, expected, rtol=0, atol=atol + 1e-5)
    [tail] = excerpts(path, [(35.0, 41.0)], short_s=2.0)  # beyond the end
    np.testing.assert_allclose(tail.samples, whole[35 * rate :], rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_what_was_joined_to_a_file_is_not_lost(folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(2 * (folder / name).read_bytes())
    with path.open("rb", buffering=0) as file:
        whole = np.concatenate([floats(block) for _, block in read(file, path, lambda note: None)])
    assert len(whole) > 1.9 * SECONDS * 44100
    for start_s, end_s in ((38.0, 42.0), (60.0, 61.0)):
        [found] = excerpts(path, [(start_s, end_s)])
        expected = whole[round(start_s * 44100) : round(end_s * 44100)]
        np.testing.assert_allclose(found.samples, expected, rtol=0, atol=1e-6)


def test_damage_before_a_stretch_moves_it_nowhere(folder: Path, tmp_path: Path) -> None:
    """Of an MP3 that lacks a piece, silence stands for it."""
    content = (folder / "a.mp3").read_bytes()
    path = tmp_path / "a.mp3"
    path.write_bytes(content[:100_000] + bytes(20_000) + content[120_000:])
    blocks = []
    with path.open("rb", buffering=0) as file, suppress(AudioError):
        blocks.extend(block for _, block in read(file, path, lambda note: None))
    whole = np.concatenate(blocks)
    [found] = excerpts(path, [(20.0, 21.0)])
    np.testing.assert_allclose(found.samples, whole[20 * 44100 : 21 * 44100], rtol=0, atol=1e-6)


def test_near_the_beginning_there_is_nothing_to_gain(folder: Path) -> None:
    with (folder / "a.mp3").open("rb", buffering=0) as file:
        assert stamps.read_stretch(file, 5.0, 6.0, None) is None
        assert stamps.read_stretch(file, 20.0, 21.0, 2) is None  # of a second track
