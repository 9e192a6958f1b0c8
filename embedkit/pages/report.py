"""The page that ends `embedkit demo`: figures of a run, and a search that can be listened to.

Names of clips and classes come from other people's folders. They are text, never markup: the
template escapes them, links are quoted here, and the page runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from embedkit.atomic import atomic_write
from embedkit.pages.plots import page_settings


@dataclass(frozen=True, kw_only=True)
class ReportCard:
    """One segment on the page.

    Attributes:
        clip, label: name of its clip, and label.
        start_s, end_s: seconds within the clip.
        similarity: to the query; None for the query itself.
        audio_href: path of the sound file relative to the page, with `/` between its parts and not
            quoted.
        picture: its spectrogram.
        heard: what its clip sounds like; empty where that is not known.
    """

    clip: str
    label: str
    start_s: float
    end_s: float
    similarity: float | None
    audio_href: str
    picture: Figure
    heard: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise ValueError(f"no segment of a clip: {self.start_s} s to {self.end_s} s")
        if not self.audio_href or self.audio_href.startswith("/"):
            raise ValueError(f"not a path relative to the page: {self.audio_href!r}")


def write_report(
    path: Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    figures: Sequence[tuple[str, str, Figure]],
    query: ReportCard,
    neighbours: Sequence[ReportCard],
    commands: str,
) -> None:
    """Write the page, completely or not at all; it needs nothing but the sounds that it plays.

    Args:
        path: the file.
        title: the title of the page.
        facts: pairs of a name and a value.
        figures: a heading, a caption and the figure of each.
        query: the segment that was searched for.
        neighbours: the segments that were found.
        commands: are shown as they are, line by line.
    """
    environment = Environment(
        loader=PackageLoader("embedkit.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(data_uri=_data_uri, source=_source, clock=_clock, digest=_digest)
    page = environment.get_template("report.html.j2").render(
        title=title,
        facts=facts,
        figures=figures,
        query=query,
        neighbours=neighbours,
        commands=commands,
        script=files("embedkit.pages").joinpath("templates/report.js").read_text("utf-8"),
    )
    with atomic_write(path) as stream:
        # Names of files that are not UTF-8 hold surrogates, which are no text: "?" stands in.
        stream.write(page.encode("utf-8", "replace"))


def _data_uri(figure: Figure) -> str:
    """Figure as SVG: sharp at any zoom and, as the source of an `<img>`, unable to run anything."""
    stream = io.BytesIO()
    with page_settings():
        # Without a date, and with a fixed salt for its names, an equal figure gives equal bytes.
        figure.savefig(stream, format="svg", dpi=144, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _digest(text: str) -> str:
    """SHA-256 of a script, by which the page's policy lets it run and none other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _source(card: ReportCard) -> str:
    """The link to the segment: the quoted relative path and, as a media fragment, its seconds."""
    # The bytes of a file name that is not UTF-8 are kept. A quoted ":" can start no URL scheme.
    path = quote(card.audio_href, safe="/", errors="surrogateescape")
    return f"{path}#t={card.start_s:.3f},{card.end_s:.3f}"


def _clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours where there are any: 3.5 is 0:03.50."""
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{hundredths / 100:05.2f}"
