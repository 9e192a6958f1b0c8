"""Sound of our own in twelve formats, and what decoding a file gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.errors import AudioError

Samples = NDArray[np.float32]

RATE = 16000


def sound(seconds: float, seed: int = 0) -> Samples:
    """A chirp in noise, which is like itself at no other time."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    low, slope = rng.uniform(200, 1000), rng.uniform(20, 200)
    chirp = 0.4 * np.sin(2 * np.pi * (low + slope * time) * time)
    return (chirp + 0.05 * rng.standard_normal(len(time))).astype(np.float32)


def write(path: Path, samples: Samples, **options: Any) -> Path:
    """A file by libsndfile; of WAV by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        soundfile.write(file, samples, RATE, **{"format": "WAV", **options})
    return path


def encode(path: Path, codec: str, samples: Samples, **options: Any) -> None:
    """A file by FFmpeg."""
    with av.open(path, "w", **options) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        convert = av.AudioResampler(stream.format.name, "mono", RATE, stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for piece in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def _by_soundfile(**options: str) -> Callable[[Path, Samples], object]:
    return lambda path, samples: write(path, samples, **options)


def _by_ffmpeg(codec: str, **options: Any) -> Callable[[Path, Samples], object]:
    return lambda path, samples: encode(path, codec, samples, **options)


# What stores 16 bits a sample as they are, and so loses nothing but what is damaged.
PLAIN = ("wav", "aiff", "au", "caf", "w64")

# All of them state their length, or mark their end.
FORMATS: dict[str, Callable[[Path, Samples], object]] = {
    **{form: _by_soundfile(format=form.upper(), subtype="PCM_16") for form in PLAIN},
    "flac": _by_soundfile(format="FLAC"),
    "ogg": _by_soundfile(format="OGG"),
    "opus": _by_soundfile(format="OGG", subtype="OPUS"),
    "mp3": _by_soundfile(format="MP3"),
    "m4a": _by_ffmpeg("aac", format="ipod", options={"movflags": "faststart"}),
    "webm": _by_ffmpeg("libopus", format="webm"),
    "tta": _by_ffmpeg("tta", format="tta"),
}


def collect(path: Path, rate: int = RATE) -> tuple[Samples, str, str]:
    """The samples that come, the kind and the words of the error behind them; empty if none is."""
    blocks, kind, words = [np.zeros(0, np.float32)], "", ""
    try:
        blocks.extend(decode(path, rate))
    except AudioError as error:
        kind, words = str(error.kind), str(error)
    return np.concatenate(blocks), kind, words


def make_all(place: Path, seconds: float) -> None:
    """One file of each format, whole.<format>, and beside it what it decodes to, as .npy.

    Raises:
        RuntimeError: one of them is not read whole: then nothing can be said of damage.
    """
    for form, make in FORMATS.items():
        path = place / f"whole.{form}"
        make(path, sound(seconds))
        samples, kind, words = collect(path)
        if kind or abs(len(samples) / RATE - seconds) > 0.2:
            raise RuntimeError(f"{path}: {kind}: {words}")
        np.save(place / f"{form}.npy", samples)
