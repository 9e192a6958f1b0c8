"""The labels as files to download: as they are, and as label tracks."""

import io
import zipfile
from collections.abc import Iterable

from fastapi import HTTPException

from embedkit.classifiers.tracks import Span, TrackFormat, merge, track_text
from embedkit.web.explorer import Explorer


def export(explorer: Explorer, form: str) -> tuple[str, bytes]:
    """The labels file itself, or a ZIP of one track for each clip.

    Args:
        explorer: holds the labels.
        form: csv, audacity or raven.

    Returns:
        the file's name and content.

    Raises:
        HTTPException: 404, there is no such form.
        EmbeddingFolderError: the name of a clip leads out of where the ZIP is unpacked.
    """
    if form == "csv":
        path = explorer.answers.path
        return "labels.csv", path.read_bytes() if path.exists() else b"path,label\n"
    if form not in set(TrackFormat):
        raise HTTPException(404, "csv, audacity or raven")
    rate = explorer.collection.table.provenance.sample_rate
    return f"{form}.zip", _zip(_spans(explorer), TrackFormat(form), rate)


def _spans(explorer: Explorer) -> list[Span]:
    """A span over each clip that has a label."""
    spans = []
    for clip, label in explorer.answers.labels.items():
        if clip in explorer.number:
            number = explorer.number[clip]
            explorer.collection.path(number)  # refuses a name that leads elsewhere
            spans.append(Span(clip, 0.0, float(explorer.collection.seconds[number]), label, 1.0))
    return spans


def _zip(spans: Iterable[Span], form: TrackFormat, rate: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for span in merge(spans):
            archive.writestr(f"{span.clip}.txt", track_text([span], form, rate))
    return stream.getvalue()
