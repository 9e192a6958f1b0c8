"""embedkit review: from scores to trust, by listening to some."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._cuts import Padding, SaveClips
from ._output import Json, message, print_json, print_table, report_failures
from ._outputs import OutFile

if TYPE_CHECKING:
    from embedkit.classifiers.cuts import Failure
    from embedkit.classifiers.review import Review
    from embedkit.metrics import Measured


@app.command()
def review(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    classifier: Annotated[
        Path, typer.Option(help="The folder that `embedkit classify fit` wrote.")
    ],
    answers: Annotated[
        Path, OutFile(help="The sheet, a CSV file; it is drawn if it is not there, and else read.")
    ],
    label: Annotated[
        str | None,
        typer.Option(help="The label to review.", show_default="the only one"),
    ] = None,
    count: Annotated[int, typer.Option(help="The number of segments to draw.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
    save_clips: SaveClips = None,
    padding: Padding = 0.0,
    json: Json = False,
) -> None:
    """Find the scores from which on detections can be trusted, by listening to some.

    Run it: it draws segments, equally many of each bin of scores, into a sheet. Listen to them
    (--save-clips cuts them out). Put + (right) or - (wrong) into the column sign, or leave the ?
    where you are unsure. Run it again: a logistic curve of right over the score gives thresholds
    for a precision of 90, 95 and 99 %. They are kept in the classifier's folder for `embedkit
    detect --precision`. The bins give the share of all segments that have the sound. The sheet is a
    table of labels too: `classify fit --labels` learns from it.

    Example: embedkit review embeddings --classifier classifier --label wren --answers wren.csv
    """
    from embedkit.classifiers import review as backend
    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.cuts import cut_out
    from embedkit.classifiers.thresholds import chosen, store
    from embedkit.store import EmbeddingTable

    fitted = Classifier.load(classifier)
    name, *others = chosen(fitted.labels, None if label is None else [label])
    if others:
        raise UsageError(f"name one --label of {', '.join(fitted.labels)}")
    table = EmbeddingTable.open(emb_dir)
    if answers.exists():
        if save_clips is not None:
            raise UsageError(
                f"{answers} is there already, and sounds are only cut out when it is drawn: leave"
                " out --save-clips, or name another file"
            )
        done = backend.review(table, fitted, name, answers, seed)
        store(classifier, name, done.thresholds)
        _print(name, done, json)
        return
    spans = backend.draw(table, fitted, name, count, seed)
    backend.write_sheet(answers, spans)
    failures: list[Failure] = []
    if save_clips is not None:
        for _ in cut_out(spans, table, save_clips, padding, failures):
            pass
    if json:
        print_json({"answers": str(answers), "drawn": len(spans)})
    else:
        print(f"{answers}: {len(spans)} segments to listen to")
    message("put + (right) or - (wrong) into the column sign, and run this again")
    report_failures(failures, of=len({span.clip for span in spans}))


def _print(label: str, done: "Review", json: bool) -> None:
    rows = {f"{precision:g}": measured for precision, measured in done.thresholds.items()}
    if json:
        answers = {"right": done.right, "wrong": done.wrong, "unsure": done.unsure}
        print_json(
            {
                "label": label,
                **answers,
                "thresholds": {name: _plain(measured) for name, measured in rows.items()},
                "density": _plain(done.density),
            }
        )
        return
    print(f"{label}: {done.right} right, {done.wrong} wrong, {done.unsure} unsure")
    print_table(
        ["precision", "threshold", "95 %"],
        [[name, *_cells(measured)] for name, measured in rows.items()],
    )
    value, interval = _cells(done.density)
    print(f"share of all segments that have it: {value} ({interval})")


def _plain(measured: "Measured") -> dict[str, float | list[float]]:
    return {"value": measured.value, "interval": [measured.low, measured.high]}


def _cells(measured: "Measured") -> tuple[str, str]:
    if math.isnan(measured.value):
        return "unknown", "a bin of scores has no answer"
    value, low, high = ("none" if math.isinf(each) else f"{each:.4f}" for each in measured)
    return value, f"{low} to {high}"
