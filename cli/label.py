"""embedkit label: which clips to label next."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._output import Json, message, print_json, print_table
from ._outputs import OutFile


@app.command()
def label(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    answers: Annotated[
        Path,
        OutFile(
            help="A CSV file with the columns path and label, with --segments also start_s"
            " and end_s; it is made if it is not there."
        ),
    ],
    count: Annotated[int, typer.Option(help="The number of clips to propose.", min=1)] = 10,
    segments: Annotated[
        bool,
        typer.Option(
            "--segments",
            help="Propose segments of recordings; their labels get a beginning and an end.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Propose the clips whose labels teach a classifier most.

    Run it, and fill in the empty labels in the sheet beside the answers, labels-next.csv of
    labels.csv (`skip` leaves a clip out). Run it again: it moves the labels to the answers, fits
    again, and proposes the clips that it is least sure of. With --segments it asks for parts of
    recordings; the sign - in the sheet then says that the label is not there.

    Example: embedkit label embeddings --answers labels.csv
    """
    from embedkit.classifiers.active import propose, sheet
    from embedkit.classifiers.active_segments import propose_segments
    from embedkit.store import EmbeddingTable

    ask = propose_segments if segments else propose
    found = ask(EmbeddingTable.open(emb_dir), answers, count)
    if json:
        print_json(asdict(found))
        return
    counts = ", ".join(f"{name} {number}" for name, number in found.labels.items())
    what = "stretches" if segments else "clips"
    message(f"{found.labelled} {what} are labelled" + (f": {counts}" if counts else ""))
    if found.accuracy is not None and found.accuracy_interval is not None:
        low, high = found.accuracy_interval
        message(
            f"accuracy on labelled clips that were held out: {found.accuracy:.3f}"
            f" ({low:.3f} to {high:.3f})"
        )
    print_table(
        ["segment" if segments else "clip", "guess", "margin"],
        [
            [clip, guess, "" if margin is None else f"{margin:.3f}"]
            for clip, guess, margin in found.proposed
        ],
    )
    message(f"fill in the empty labels in {sheet(answers)} and run this again")
