"""embedkit detect: where in long recordings a classifier hears its labels."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._cuts import Padding, SaveClips
from ._output import Json, message, print_json, print_table, report_failures
from ._outputs import OutPlace

if TYPE_CHECKING:
    from embedkit.classifiers.cuts import Failure
    from embedkit.classifiers.tracks import Span


@app.command()
def detect(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    classifier: Annotated[Path, typer.Option(help="What `embedkit classify fit` wrote.")],
    out: Annotated[
        Path | None,
        OutPlace(
            help="A .csv, .parquet or .selections.txt (Raven) file; see --format.",
            show_default="a table to stdout",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of --out: csv, parquet, raven (one selection table over all files), audacity (a"
            " folder of label tracks) or birdnet.",
            show_default="as the name ends",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Look for these alone, as in dog,cat; one with a comma in its name alone."
            " Repeatable.",
            show_default="all",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="The score that is enough.", min=0, max=1, show_default="0.5"),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="A CSV of label and threshold, instead.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Take the thresholds that `embedkit review` found for a precision of 0.9, 0.95 or"
            " 0.99."
        ),
    ] = None,
    gap: Annotated[
        float, typer.Option(help="Detections so many seconds apart become one.", min=0)
    ] = 0.0,
    least: Annotated[float, typer.Option(help="Leave out shorter ones, in seconds.", min=0)] = 0.0,
    top: Annotated[int | None, typer.Option(help="Of each label the best so many.", min=1)] = None,
    top_per_file: Annotated[
        int | None, typer.Option(help="Of each label in each file the best so many.", min=1)
    ] = None,
    save_clips: SaveClips = None,
    padding: Padding = 0.0,
    json: Json = False,
) -> None:
    """Find the stretches in which a classifier hears its labels.

    Neighbouring segments that reach the threshold are one detection, with their highest score.
    Where segments overlap (`extract --hop`), each speaks for its own part of the recording: of what
    two have in common each has the half on its side. A smaller hop so gives finer places.

    Example: embedkit detect embeddings --classifier classifier --out detections.csv
    """
    from embedkit.classifiers import detect as backend
    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.cuts import cut_out
    from embedkit.classifiers.detections import SCHEMA, DetectionFormat, write_detections
    from embedkit.classifiers.evaluate import predict
    from embedkit.labels.join import Unit
    from embedkit.store import EmbeddingTable

    if form is not None and form not in set(DetectionFormat):
        raise UsageError(f"no format {form!r}{choices(form, DetectionFormat)}")
    if out is None and form is not None:
        raise UsageError("--format is of --out: name a file, or a folder for audacity")
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
    batches = predict(table, fitted, Unit.SEGMENT)
    found: Iterable[Span] = backend.detect(batches, fitted.labels, criteria)
    if top is not None:
        found = backend.strongest(found, top)
    failures: list[Failure] = []
    if save_clips is not None:
        found = cut_out(found, table, save_clips, padding, failures)
    if out is not None:
        message(f"{out}: {write_detections(out, written, found, table)} detections")
    elif json:
        print_json([dict(zip(SCHEMA.names, span, strict=True)) for span in sorted(found)])
    else:
        _print(sorted(found))
    report_failures(failures, of=len(table.clip_names()) if failures else 0)


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
        raise UsageError(f"{source}: has no threshold of {', '.join(missing)}")
    if missing:
        message(f"{source}: has no threshold of {', '.join(missing)}: not looked for")
    never = [label for label in wanted if found.get(label) == math.inf]
    if never:
        message(f"no score is enough for that precision: {', '.join(never)}")
    return {label: found[label] for label in wanted if label in found}


def _print(spans: Sequence["Span"]) -> None:
    print_table(
        ["start_s", "end_s", "score", "label", "path"],
        [
            [f"{span.start_s:.2f}", f"{span.end_s:.2f}", f"{span.score:.3f}", span.label, span.clip]
            for span in spans
        ],
    )
