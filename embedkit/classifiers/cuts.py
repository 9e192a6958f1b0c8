"""Cuts the sounds of detections out of their files."""

import io
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import soundfile

from embedkit.atomic import atomic_write
from embedkit.audio.excerpts import Excerpt, excerpts
from embedkit.classifiers.tracks import Span
from embedkit.errors import AudioError, Kind
from embedkit.store import EmbeddingTable, clip_path

UNSAFE = re.compile(r"[^\w \-+,.()&'=@#]|^[. ]|[. ]$")
LONGEST = 100  # characters of a folder's name
MOST_CHANNELS, HIGHEST_RATE = 8, 655_350  # that a FLAC can have

Failure = tuple[str, str, str]  # a clip, what kind of failure, and a message


def cut_out(
    spans: Iterable[Span],
    table: EmbeddingTable,
    folder: Path,
    padding_s: float,
    failures: list[Failure],
) -> Iterator[Span]:
    """Write each span's sound to `<label>/<clip>_<start>-<end>.flac`, and pass the spans on.

    The sounds keep their rate and channels; what a FLAC cannot hold becomes a WAV. The names have
    the span's times without the padding.

    Args:
        spans: the spans; those of a clip follow one another.
        table: the collection of the clips.
        folder: the folder to write to.
        padding_s: seconds to add on both sides, as far as the file goes.
        failures: gets an entry for each file that cannot be read.

    Yields:
        the same spans.

    Raises:
        EmbeddingFolderError: the name of a clip leads out of the folder.
    """
    for clip, some in groupby(spans, key=lambda span: span.clip):
        mine = list(some)
        found: set[int] = set()
        times = [(span.start_s - padding_s, span.end_s + padding_s) for span in mine]
        try:
            for excerpt in excerpts(sound_path(table, clip), times, table.provenance.track):
                found.add(excerpt.number)
                _write(folder, mine[excerpt.number], excerpt)
            if len(found) < len(mine):
                raise AudioError(Kind.EMPTY, f"{len(mine) - len(found)} stretches have no sound")
        except AudioError as error:
            failures.append((clip, str(error.kind), str(error)))
        yield from mine


def sound_path(table: EmbeddingTable, clip: str) -> Path:
    """The file of a clip, below the collection's audio root, which may itself be the one file.

    Args:
        table: the collection.
        clip: name of the clip.

    Returns:
        its path.

    Raises:
        EmbeddingFolderError: the name leads out of the folder.
    """
    root = Path(table.provenance.audio_root)
    path = clip_path(root, clip)
    return root if root.is_file() else path


def _write(folder: Path, span: Span, excerpt: Excerpt) -> None:
    channels = excerpt.samples.shape[1]
    flac = channels <= MOST_CHANNELS and excerpt.rate <= HIGHEST_RATE
    suffix, form, subtype = ("flac", "FLAC", "PCM_24") if flac else ("wav", "WAV", "FLOAT")
    stream = io.BytesIO()
    soundfile.write(stream, excerpt.samples, excerpt.rate, format=form, subtype=subtype)
    times = f"{span.start_s:.3f}-{span.end_s:.3f}"
    path = clip_path(folder / safe_name(span.label), f"{span.clip}_{times}.{suffix}")
    with atomic_write(path) as file:
        file.write(stream.getvalue())


def safe_name(text: str) -> str:
    """The name of a folder for a text, different for each text: forbidden characters become %XX."""

    def escaped(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))

    name = UNSAFE.sub(escaped, text) or "%"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}%{zlib.crc32(name.encode()):08x}"
