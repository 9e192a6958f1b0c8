"""Goes to a stretch of a compressed file by the time stamps of its packets."""

from io import FileIO

import av
import numpy as np
from numpy.typing import NDArray

from embedkit.audio import ogg
from embedkit.audio.ffmpeg import FAULTS, stated_frames
from embedkit.audio.formats import CONTAINERS
from embedkit.audio.part import Part

# Formats whose stamps tell the sample. FFmpeg's others round them, or guess them from the bytes.
EXACT = {"mov,mp4,m4a,3gp,3g2,mj2", "mp3", "ogg"}
LEAST_S = 10.0  # from here on it is worth it
BEFORE_S = 1.0  # that is decoded and dropped: decoders build on what was before
APART = 2  # samples that the stamps of two frames may be wrong by

Found = tuple[int, NDArray[np.float32]]


def read_stretch(file: FileIO, start_s: float, end_s: float, track: int | None) -> Found | None:
    """Decode a stretch without what is before it.

    Args:
        file: the open file; its content decides its format.
        start_s: where the stretch begins, in seconds.
        end_s: where it ends.
        track: which of the sound tracks, from 1 on; by default the first.

    Returns:
        rate and float32 [samples, channels], fewer where the file ends early; None where it is not
        certain that decoding from the beginning would give the same samples.
    """
    if start_s < LEAST_S or (ogg.is_ogg(file) and len(ogg.links(file)) > 1):
        return None
    part = Part.of(file)
    try:
        with _open(part) as container:
            if container.format.name == "mp3" and not _is_whole_mp3(part, container):
                return None
        with _open(part) as container:
            streams = container.streams.audio
            if container.format.name not in EXACT or len(streams) < (track or 1):
                return None
            return _decode(container, streams[(track or 1) - 1], start_s, end_s)
    except FAULTS:  # of damage decoding from the beginning tells
        return None


def _open(part: Part) -> av.container.InputContainer:
    part.seek(0)
    return av.open(part, "r", options={"format_whitelist": CONTAINERS})


def _decode(
    container: av.container.InputContainer, stream: av.AudioStream, start_s: float, end_s: float
) -> Found | None:
    frame = next(container.decode(stream), None)
    if frame is None or frame.pts is None or not stream.time_base:
        return None
    origin, base, form = frame.pts, stream.time_base, _form(frame)
    rate: int = frame.sample_rate
    first, last = round(start_s * rate), round(end_s * rate)
    container.seek(origin + round((start_s - BEFORE_S) / base), stream=stream)
    convert = av.AudioResampler(format="flt")
    parts: list[NDArray[np.float32]] = []
    place: int | None = None
    for frame in container.decode(stream):
        if frame.pts is None and place is not None:
            return None
        if frame.pts is None:
            continue
        stamped = round((frame.pts - origin) * base * rate)
        if place is None:
            place = stamped
        if _form(frame) != form or abs(stamped - place) > APART or (not parts and place > first):
            return None
        for same in convert.resample(frame):
            samples = same.to_ndarray().reshape(same.samples, -1).astype(np.float32, copy=False)
            if len(kept := samples[max(0, first - place) : max(0, last - place)]):
                parts.append(kept)
            place += len(samples)
        if place >= last:
            break
    return (rate, np.concatenate(parts)) if parts else None


def _is_whole_mp3(part: Part, container: av.container.InputContainer) -> bool:
    """Whether an MP3 has exactly the frames that its first one states.

    Its stamps count frames: where some are missing, or others follow, they tell another time.
    """
    packets = sum(1 for packet in container.demux(audio=0) if packet.size)
    return abs(packets - stated_frames(part)) <= 1


def _form(frame: av.AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name
