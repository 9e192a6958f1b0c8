"""embedkit verify: are two sounds of one class?"""

import csv
import io
from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._extraction import model_at
from ._output import Device, Json, message, print_figures, print_json
from ._outputs import OutFile


@app.command()
def verify(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    sounds: Annotated[
        list[str] | None,
        typer.Argument(
            help="Two sounds: clips of the collection, files, or spans of them.", metavar="A B"
        ),
    ] = None,
    classifier: Annotated[
        Path, typer.Option(help="The folder that `embedkit classify fit --method plda` wrote.")
    ] = Path("plda"),
    trials: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file of pairs of clips, with the columns first, second, same (1 or 0)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        OutFile(help="Write the log likelihood ratios of the trials to this .csv file."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The model that embeds files.",
            callback=model_at,
            show_default="the one that made the folder",
        ),
    ] = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Say by how much two sounds are likelier to be of one class than of two.

    The answer is the log likelihood ratio by PLDA: above 0 it speaks for one class, also for a
    class that PLDA was not fitted on. For a list of trials the equal error rate is printed: the
    share of mistakes at the threshold where as many pairs are wrongly accepted as rejected.

    Example: embedkit verify embeddings a.wav b.wav --classifier plda
    """
    from embedkit import metrics
    from embedkit.atomic import atomic_write
    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.verify import plda_of, read_trials, score_trials
    from embedkit.search.queries import Queries
    from embedkit.store import EmbeddingTable

    if (trials is None) == (not sounds) or (sounds and len(sounds) != 2):
        raise UsageError("name two sounds, or --trials")
    table = EmbeddingTable.open(emb_dir)
    fitted = Classifier.load(classifier)
    fitted.check(table)
    plda = plda_of(fitted)
    if sounds:
        queries = Queries(table, model, device)
        first, second = (queries.vector(sound)[None] for sound in sounds)
        [ratio] = plda.log_likelihood_ratio(first, second)
        if json:
            print_json({"log_likelihood_ratio": float(ratio)})
        else:
            print(f"log likelihood ratio {ratio:.3f}: {'one class' if ratio > 0 else 'two'}")
        return
    assert trials is not None
    pairs = read_trials(trials)
    ratios = score_trials(table, plda, pairs)
    error, threshold = metrics.equal_error_rate(pairs.same, ratios)
    if out is not None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["first", "second", "same", "log_likelihood_ratio"])
        writer.writerows(
            zip(pairs.first, pairs.second, pairs.same.astype(int), ratios.tolist(), strict=True)
        )
        with atomic_write(out) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))
        message(f"{out}: {len(ratios)} trials")
    figures = {
        "trials": len(ratios),
        "same": int(pairs.same.sum()),
        "equal_error_rate": error,
        "threshold": threshold,
    }
    if json:
        print_json(figures)
    else:
        print_figures(figures)
