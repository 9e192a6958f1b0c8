"""embedkit detect: where in long recordings a classifier hears its labels."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._cuts import Padding, SaveClips
from ._field import After, Before, InHours, Sites, field_filter
from ._output import Json, message, print_json, print_table, report_failures
from ._outputs import OutFile, OutPlace

if TYPE_CHECKING:
    from embedkit.classifiers.cuts import Failure
    from embedkit.classifiers.tracks import Span
    from embedkit.field.calendar import Calendar, Tally
    from embedkit.field.recordings import Recordings


@app.command()
def detect(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    classifier: Annotated[
        Path, typer.Option(help="The folder that `embedkit classify fit` wrote.")
    ],
    out: Annotated[
        Path | None,
        OutPlace(
            help="The file to write: .csv, .parquet or .selections.txt (Raven); see --format.",
            show_default="a table to stdout",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="The format of --out: csv, parquet, raven (one selection table over all"
            " files), audacity (a folder of label tracks) or birdnet.",
            show_default="as the name ends",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Look for these labels alone, as in dog,cat. A label with a comma in its"
            " name needs an option of its own. Repeatable.",
            show_default="all",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="The score from which on a segment is taken.", min=0, max=1, show_default="0.5"
        ),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="A CSV file of label and threshold, instead of --threshold.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Take the thresholds that `embedkit review` found for a precision of 0.9, 0.95 or"
            " 0.99."
        ),
    ] = None,
    gap: Annotated[
        float,
        typer.Option(
            help="Join detections of a label that are at most this many seconds apart.", min=0
        ),
    ] = 0.0,
    least: Annotated[
        float,
        typer.Option(help="Leave out detections that are shorter than this many seconds.", min=0),
    ] = 0.0,
    top: Annotated[
        int | None, typer.Option(help="Keep this many detections of each label, the best.", min=1)
    ] = None,
    top_per_file: Annotated[
        int | None,
        typer.Option(help="Keep this many detections of each label in each file, the best.", min=1),
    ] = None,
    calendar: Annotated[
        Path | None,
        OutFile(
            help="Draw the detections of each label, by day and hour of the site's"
            " clocks, to this .png file."
        ),
    ] = None,
    after: After = None,
    before: Before = None,
    hours: InHours = None,
    site: Sites = None,
    save_clips: SaveClips = None,
    padding: Padding = 0.0,
    json: Json = False,
) -> None:
    """Find the stretches in which a classifier hears its labels.

    Neighbouring segments that reach the threshold are one detection, with their highest score.
    Where segments overlap (`extract --hop`), their common part is halved between them, so that a
    smaller hop gives finer places.

    Where `embedkit describe` has noted when and where the files were recorded, each detection has
    recorded_at, the time at which it begins, and its site.

    Example: embedkit detect embeddings --classifier classifier --out detections.csv
    """
    from embedkit.classifiers import detect as backend
    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.cuts import cut_out
    from embedkit.classifiers.detections import (
        DetectionFormat,
        as_records,
        durations,
        write_detections,
    )
    from embedkit.classifiers.evaluate import predict
    from embedkit.field.calendar import Tally
    from embedkit.field.recordings import Recordings
    from embedkit.labels.join import Unit
    from embedkit.store import EmbeddingTable

    if form is not None and form not in set(DetectionFormat):
        raise UsageError(f"no format {form!r}{choices(form, DetectionFormat)}")
    if out is None and form is not None:
        raise UsageError("--format needs --out: name a file, or a folder for audacity")
    if out is not None:
        written = DetectionFormat.of(out) if form is None else DetectionFormat(form)
    fitted = Classifier.load(classifier)
    criteria = backend.Criteria(
        thresholds=_thresholds(
            fitted.labels, labels, one=threshold, path=thresholds, reviewed=(classifier, precision)
        ),
        gap_s=gap,
        least_s=least,
        top_per_file=top_per_file,
    )
    table = EmbeddingTable.open(emb_dir)
    recordings = Recordings(table)
    recorded = field_filter(table, after, before, hours, site)
    batches = predict(table, fitted, Unit.SEGMENT)
    if recorded is not None:
        batches = backend.silence(batches, recorded.rows)
    found: Iterable[Span] = backend.detect(batches, fitted.labels, criteria)
    if top is not None:
        found = backend.strongest(found, top)
    if calendar is not None:
        tally = Tally(recordings, durations(table), recorded)
        found = _counted(found, tally)
    failures: list[Failure] = []
    if save_clips is not None:
        found = cut_out(found, table, save_clips, padding, failures)
    if out is not None:
        message(f"{out}: {write_detections(out, written, found, table)} detections")
    elif json:
        print_json(list(as_records(sorted(found), recordings)))
    else:
        _print(sorted(found), recordings)
    if calendar is not None:
        _draw(tally.result(criteria.thresholds), calendar)
    report_failures(failures, of=len(table.clip_names()) if failures else 0)


def _counted(spans: Iterable["Span"], tally: "Tally") -> Iterable["Span"]:
    for span in spans:
        tally.add(span.clip, span.start_s, span.label)
        yield span


def _draw(calendar: "Calendar", path: Path) -> None:
    from embedkit.pages.calendar import MOST, draw_calendar
    from embedkit.pages.plots import save_png

    save_png(draw_calendar(calendar), path)
    days = len(calendar.recorded)
    message(f"{path}: {days} days, {calendar.recorded.sum():,} hours of them recorded")
    if len(calendar.counts) > MOST:
        message(f"of {len(calendar.counts)} labels, the {MOST} with most detections are drawn")
    if calendar.without_time:
        message(f"{calendar.without_time:,} detections are of files whose time is not known")


def _thresholds(
    labels: Sequence[str],
    asked: Sequence[str] | None,
    *,
    one: float | None,
    path: Path | None,
    reviewed: tuple[Path, float | None],
) -> dict[str, float]:
    """Of each label that is looked for."""
    from embedkit.classifiers.thresholds import chosen, read_thresholds, stored

    folder, precision = reviewed
    if sum(wish is not None for wish in (one, path, precision)) > 1:
        raise UsageError("choose one of --threshold, --thresholds and --precision")
    wanted = chosen(labels, asked)
    if path is not None:
        source, found = path, read_thresholds(path, labels)
    elif precision is not None:
        source, found = folder, stored(folder, precision)
    else:
        return dict.fromkeys(wanted, 0.5 if one is None else one)
    missing = [label for label in wanted if label not in found]
    if missing and asked:
        raise UsageError(f"{source} has no threshold of {', '.join(missing)}")
    if missing:
        message(f"{source} has no threshold of {', '.join(missing)}, which is not looked for")
    never = [label for label in wanted if found.get(label) == math.inf]
    if never:
        message(f"no score is enough for that precision: {', '.join(never)}")
    return {label: found[label] for label in wanted if label in found}


def _print(spans: Sequence["Span"], recordings: "Recordings") -> None:
    known = recordings.are_known
    print_table(
        ["start_s", "end_s", "score", "label", *["recorded_at", "site"] * known, "path"],
        [
            [f"{span.start_s:.2f}", f"{span.end_s:.2f}", f"{span.score:.3f}", span.label]
            + [recordings.stamp(span.clip, span.start_s) or "", recordings.site(span.clip) or ""]
            * known
            + [span.clip]
            for span in spans
        ],
    )
