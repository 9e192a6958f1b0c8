"""A collection on a plane: a picture, or a page to point at and listen to."""

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.audio.decode import decode
from embedkit.classifiers.classifier import Classifier
from embedkit.errors import AudioError, UsageError
from embedkit.field.filters import FieldFilter
from embedkit.labels.join import Labelled
from embedkit.names.groups import names_of_groups
from embedkit.pages.plots import embedding_map, save_png
from embedkit.pages.projection import Projection, project, regions
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable, clip_path

log = logging.getLogger(__name__)

HEARD_S, RATE = 2.0, 16000  # of each sound on a page
MOST = 2000  # sounds that a page holds: 20 MB
REGIONS = 12  # of the plane that have a name


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What was drawn.

    Attributes:
        sounds: number of sounds.
        failures: clip, kind and message of each sound that could not be read.
    """

    sounds: int
    failures: list[tuple[str, str, str]]


def write_map(
    table: EmbeddingTable,
    path: Path,
    *,
    how: Projection = Projection.PCA,
    labels: Sequence[tuple[str, str]] = (),
    names: Classifier | None = None,
    segments: Labelled | None = None,
    among: FieldFilter | None = None,
    audio: Path | None = None,
    seed: int = 0,
    track: Track = untracked,
) -> Mapped:
    """Draw the clips of a collection, or some of its segments, on a plane.

    Args:
        table: the collection.
        path: a .png file, or an .html file: a page that needs nothing else, with the first seconds
            of each sound in it. Of more than 2,000 clips, 2,000 drawn at random are shown, and the
            page says so.
        how: how they are placed on the plane.
        labels: pairs of a clip and its label, which colours it; else its first folder colours it,
            and where all clips lie in one folder, the name of its region.
        names: a classifier of the vectors, which names the plane's regions.
        segments: draw these instead of the clips, each coloured by its labels.
        among: draw what was recorded at some time or place: clips that have a segment that fits.
        audio: where the sounds are now, if they have moved.
        seed: seed of the projection and of the draw.
        track: shows the progress.

    Returns:
        what was drawn.

    Raises:
        UsageError: the file has another suffix, or there are no clips.
    """
    if path.suffix not in {".png", ".html"}:
        raise UsageError(f"{path}: name a .png or an .html file")
    if segments is None:
        clips, vectors = table.clip_vectors(None if among is None else among.clips(table))
        starts, named = np.zeros(len(clips)), _names(clips, dict(labels))
    else:
        clips, vectors, named = segments.clips, segments.vectors, segments.names
        starts = np.zeros(len(clips)) if segments.start_s is None else segments.start_s
        if among is not None:
            kept = np.flatnonzero(among.rows(clips, starts))
            clips, named = [clips[row] for row in kept], [named[row] for row in kept]
            vectors, starts = vectors[kept], starts[kept]
    if not clips:
        raise UsageError(f"{table.folder}: it has no clips to draw")
    total = len(clips)
    if path.suffix == ".html" and total > MOST:
        what = "clips" if segments is None else "segments"
        log.warning("%d of %d %s, drawn at random", MOST, len(clips), what)
        drawn = np.sort(np.random.default_rng(seed).choice(len(clips), MOST, replace=False))
        clips, named = [clips[row] for row in drawn], [named[row] for row in drawn]
        vectors, starts = vectors[drawn], starts[drawn]
    points = project(vectors, how, seed)
    region, called = _name_regions(points, vectors, names, seed)
    if names is not None and segments is None and not labels and len(set(named)) == 1:
        named = [called[number] for number in region]
    if path.suffix == ".png":
        save_png(embedding_map(points, [name or "none" for name in named]), path)
        return Mapped(sounds=len(clips), failures=[])
    root = audio or Path(table.provenance.audio_root)
    failures: list[tuple[str, str, str]] = []
    sounds = []
    for clip, start_s in track(list(zip(clips, starts, strict=True)), "Reading sounds", len(clips)):
        try:
            sounds.append(_sound(clip_path(root, clip), table.provenance.track, start_s))
        except AudioError as error:
            sounds.append("")
            failures.append((clip, str(error.kind), str(error)))
    if segments is not None:
        clips = [f"{clip}@{start_s:g}" for clip, start_s in zip(clips, starts, strict=True)]
    count = f"{total:,}" if total == len(clips) else f"{len(clips):,} of {total:,}"
    _write_page(
        path, f"{count} sounds of {root.name}", clips, named, points, sounds, region, called
    )
    return Mapped(sounds=len(clips), failures=failures)


def _name_regions(
    points: NDArray[np.float32],
    vectors: NDArray[np.float32],
    names: Classifier | None,
    seed: int,
) -> tuple[NDArray[np.int64], list[str]]:
    """The region of each point, and what tells the sounds of each region from the others."""
    if names is None:
        return np.zeros(len(points), np.int64), [""]
    region = regions(points, REGIONS, seed)
    return region, names_of_groups(vectors, region, names)


def _write_page(
    path: Path,
    title: str,
    clips: Sequence[str],
    named: Sequence[str],
    points: NDArray[np.float32],
    sounds: Sequence[str],
    region: NDArray[np.int64],
    called: Sequence[str],
) -> None:
    low, size = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-9)
    places = (points - low) / size
    places += (1 - places.max(axis=0)) / 2  # in the middle
    names = sorted(set(named))
    # The golden angle keeps the hues of however many names apart.
    hue = {name: round(137.5 * number % 360) for number, name in enumerate(names)}
    environment = Environment(
        loader=PackageLoader("embedkit.pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True,
    )  # fmt: skip
    page = environment.get_template("map.html.j2").render(
        title=title,
        legend=[(name or "none", hue[name]) for name in names],
        regions=[
            [*_place(places[region == number].mean(axis=0)), name]
            for number, name in enumerate(called)
            if name
        ],
        points=[
            [*_place(place), hue[name], clip, name, sound]
            for place, name, clip, sound in zip(places, named, clips, sounds, strict=True)
        ],
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))


def _place(point: NDArray[np.floating]) -> list[float]:
    """A point on the page, whose y goes down."""
    return [round(float(point[0]), 4), round(float(1 - point[1]), 4)]


def _names(clips: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """The labels of clips; where nothing is known of any, their first folders."""
    if known:
        return [known.get(clip, "") for clip in clips]
    return [clip.partition("/")[0] if "/" in clip else "" for clip in clips]


def _sound(path: Path, track: int, start_s: float) -> str:
    """Some seconds of a sound track as the source of an audio element."""
    parts: list[NDArray[np.float32]] = []
    skip = int(start_s * RATE)
    for block in decode(path, RATE, track=track):
        parts.append(block[skip:])
        skip = max(0, skip - len(block))
        if sum(map(len, parts)) >= HEARD_S * RATE:
            break
    samples = np.concatenate(parts)[: int(HEARD_S * RATE)]
    peak = float(np.abs(samples).max())
    stream = io.BytesIO()
    soundfile.write(stream, samples / max(peak, 1e-4) * 0.7, RATE, format="OGG", subtype="VORBIS")
    return "data:audio/ogg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
