"""embedkit tag: the most likely names of what is heard in an embedding folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedkit.errors import UsageError

from ._app import app
from ._extraction import model_at
from ._field import After, Before, InHours, Sites, field_filter
from ._output import Json, message, print_json, print_table
from ._outputs import OutFile
from ._tracks import Audacity, Raven, tracks_of

if TYPE_CHECKING:
    from embedkit.classifiers.classifier import Classifier
    from embedkit.field.filters import FieldFilter
    from embedkit.names.tagging import Tagged
    from embedkit.store import EmbeddingTable


@app.command()
def tag(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    stretches: Annotated[
        bool, typer.Option("--stretches", help="Name the stretches of clips, not whole clips.")
    ] = False,
    top: Annotated[int, typer.Option(help="The most names of a clip, or of a segment.", min=1)] = 3,
    least: Annotated[
        float, typer.Option(help="Leave out names of a lower probability than this.", min=0, max=1)
    ] = 0.2,
    around: Annotated[
        float,
        typer.Option(
            help="With --stretches: the seconds around each segment that it is heard with.", min=0
        ),
    ] = 3.0,
    out: Annotated[
        Path | None, OutFile(help="Write a row for each name to this .csv or .parquet file.")
    ] = None,
    audacity: Audacity = None,
    raven: Raven = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="The folder that `embedkit classify fit` wrote.",
            show_default="the names that the folder's model brings",
        ),
    ] = None,
    after: After = None,
    before: Before = None,
    hours: InHours = None,
    site: Sites = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The model that made the folder, if it has moved or its path is gone.",
            callback=model_at,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Name what is heard in each clip, without any training.

    embedkit's own models bring the 527 names of AudioSet. A clip is named by its mean vector. A
    stretch joins neighbouring segments with one name, each heard with the seconds around it; label
    tracks are made of stretches. Clips without a likely name are listed with none. With --hours and
    the like, only clips are named of which a segment was recorded then and there.

    Example: embedkit tag embeddings --out tags.csv
    """
    from embedkit.names.tagging import tag_clips, tag_stretches, write_tags, write_track
    from embedkit.store import EmbeddingTable

    tracks = tracks_of(audacity, raven)
    stretches = stretches or bool(tracks)
    table = EmbeddingTable.open(emb_dir)
    names = _names(table, classifier, model)
    tagged: Iterable[Tagged]
    if stretches:
        tagged = tag_stretches(table, names, top=top, least=least, around_s=around)
    else:
        tagged = tag_clips(table, names, top=top, least=least)
    tagged = _recorded(tagged, table, field_filter(table, after, before, hours, site))
    if out is not None:
        tagged = write_tags(out, tagged)
    shown: list[Tagged] = []
    clips = without = 0
    for clip in tagged:
        clips += 1
        without += not clip.spans
        for folder, form in tracks:
            write_track(folder, form, clip, table.provenance.sample_rate)
        if json or (out is None and not tracks):
            shown.append(clip)
    shown.sort(key=lambda clip: clip.clip)
    if json:
        print_json([_answer(clip, stretches) for clip in shown])
    elif out is None and not tracks:
        if stretches:
            _print_stretches(shown)
        else:
            print_table(["clip", "names"], [[clip.clip, str(clip) or "none"] for clip in shown])
    for place in [*([out] if out else []), *(folder for folder, _ in tracks)]:
        message(f"{place}: names of {clips} clips")
    if without:
        message(f"{without} of {clips} clips have no name of probability {least:g} or more")


def _recorded(
    tagged: Iterable["Tagged"], table: "EmbeddingTable", asked: "FieldFilter | None"
) -> Iterable["Tagged"]:
    if asked is None:
        return tagged
    clips = asked.clips(table)
    return (clip for clip in tagged if clip.clip in clips)


def _names(table: "EmbeddingTable", classifier: Path | None, model: Path | None) -> "Classifier":
    from embedkit.classifiers.classifier import Classifier
    from embedkit.names.bundled import load_names

    if classifier is None:
        return load_names(table, model)
    if model is not None:
        raise UsageError("--classifier brings its own names: leave out --model")
    return Classifier.load(classifier)


def _answer(clip: "Tagged", stretches: bool) -> dict[str, Any]:
    return {
        "clip": clip.clip,
        "duration_s": clip.duration_s,
        "names": [
            {
                **({"start_s": span.start_s, "end_s": span.end_s} if stretches else {}),
                "name": span.label,
                "score": span.score,
            }
            for span in clip.spans
        ],
    }


def _print_stretches(tagged: list["Tagged"]) -> None:
    rows: list[list[str]] = []
    for clip in tagged:
        rows += [
            [clip.clip, f"{span.start_s:.2f}", f"{span.end_s:.2f}", span.label, f"{span.score:.2f}"]
            for span in clip.spans
        ] or [[clip.clip, "0.00", f"{clip.duration_s:.2f}", "none", ""]]
    print_table(["clip", "start_s", "end_s", "name", "score"], rows)
