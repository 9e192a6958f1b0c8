"""embedkit classify: a classifier on the clips of an embedding folder."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embedkit.errors import UsageError

from ._app import app
from ._output import Json, message, print_figures, print_json, print_table

classify = typer.Typer(
    help="Fit, evaluate and apply a classifier on embeddings.", no_args_is_help=True
)
app.add_typer(classify, name="classify")

EmbDir = Annotated[Path, typer.Argument(help="The embedding folder.")]
Labels = Annotated[
    str,
    typer.Option(
        help="A CSV or Parquet manifest with path and label (or labels, separated by `;`), or the"
        " word `folders`: a clip's first folder is its label."
    ),
]
C = Annotated[
    float, typer.Option("--c", "-C", help="Inverse strength of the L2 penalty.", min=1e-9)
]
HoldOut = Annotated[str | None, typer.Option(help="A fold to leave out.")]


@classify.command()
def fit(
    emb_dir: EmbDir,
    labels: Labels,
    out: Annotated[Path, typer.Option(help="The classifier folder to write.")],
    hold_out_fold: HoldOut = None,
    c: C = 0.1,
    json: Json = False,
) -> None:
    """Fit logistic regression on standardised clip vectors.

    Where the labels have a split column, only on the clips whose split is train.

    Example: embedkit classify fit embeddings --labels folders --out classifier
    """
    from embedkit.backends import classify as backend
    from embedkit.backends import splits
    from embedkit.backends.labels import join_labels
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(emb_dir)
    data = join_labels(table, labels)
    if hold_out_fold is not None:
        rows = splits.hold_out_fold(data, hold_out_fold)[0]
    elif data.splits is not None:
        rows = splits.training_split(data)[0]
    else:
        rows = np.arange(len(data.clips))
    classifier = backend.fit(data, rows, fingerprint=table.provenance.fingerprint, c=c)
    classifier.save(out)
    if json:
        print_json({"classifier": str(out), "clips": len(rows), "labels": list(data.labels)})
    else:
        print(f"{out}: fitted on {len(rows)} clips of {len(data.labels)} labels")


@classify.command()
def evaluate(
    emb_dir: EmbDir,
    labels: Labels,
    hold_out_fold: Annotated[
        str | None, typer.Option(help="Fit on all other folds, score this one.")
    ] = None,
    k_folds: Annotated[
        int | None, typer.Option(help="Draw so many folds by group, hold out each in turn.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Hold out this share of the groups, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    c: C = 0.1,
    json: Json = False,
) -> None:
    """Score clips by a classifier that was fitted without them.

    Without an option: where the labels have a split column, `train` is fitted on and everything
    but `train` and `validation` scored; else each fold of a fold column is held out in turn; else
    a quarter of the groups. No group (or clip) stands on both sides.

    Example: embedkit classify evaluate embeddings --labels sounds.csv --hold-out-fold 1
    """
    from embedkit.backends import classify as backend
    from embedkit.backends import splits
    from embedkit.backends.labels import join_labels
    from embedkit.store import EmbeddingTable

    if sum(option is not None for option in (hold_out_fold, k_folds, test_share)) > 1:
        raise UsageError("choose one of --hold-out-fold, --k-folds and --test-share")
    data = join_labels(EmbeddingTable.open(emb_dir), labels)
    if hold_out_fold is not None:
        how, held = f"fold {hold_out_fold} held out", [splits.hold_out_fold(data, hold_out_fold)]
    elif k_folds is not None:
        how, held = f"{k_folds} random folds", list(splits.random_folds(data, k_folds, seed))
    elif test_share is None and data.splits is not None:
        how, held = "fitted on split train", [splits.training_split(data)]
    elif test_share is None and data.folds is not None:
        held = list(splits.published_folds(data))
        how = f"each of {len(held)} folds held out in turn"
    else:
        share = 0.25 if test_share is None else test_share
        how, held = f"{share:.0%} held out at random", [splits.random_split(data, share, seed)]
    done = backend.evaluate(data, held, c=c)
    per_class = done.per_class()
    if json:
        print_json(
            {
                "split": how,
                **done.figures(),
                "labels": list(done.labels),
                "per_class": per_class,
                "confusion": None if done.several_labels else done.confusion().tolist(),
            }
        )
        return
    message(how)
    print_figures(done.figures())
    print()
    print_table(
        ["label", *next(iter(per_class.values()))],
        [
            [
                label,
                *(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()),
            ]
            for label, row in per_class.items()
        ],
    )


@classify.command()
def predict(
    emb_dir: EmbDir,
    classifier: Annotated[Path, typer.Option(help="What `embedkit classify fit` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .parquet file to write all scores to.")
    ] = None,
    json: Json = False,
) -> None:
    """Score the clips of an embedding folder.

    Example: embedkit classify predict embeddings --classifier classifier --out labels.csv
    """
    from embedkit.backends import classify as backend
    from embedkit.backends.logistic import LogisticClassifier
    from embedkit.backends.predictions import write_predictions
    from embedkit.store import EmbeddingTable

    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{out}: name a .csv or .parquet file")
    fitted = LogisticClassifier.load(classifier)
    clips, scores = backend.predict(EmbeddingTable.open(emb_dir), fitted)
    best = scores.argmax(axis=1)
    if out is not None:
        write_predictions(out, clips, fitted.labels, scores)
        message(f"{out}: {len(clips)} clips")
    if json:
        answers: list[dict[str, Any]] = [
            {
                "clip": clip,
                "label": fitted.labels[label],
                "scores": dict(zip(fitted.labels, map(float, values), strict=True)),
            }
            for clip, label, values in zip(clips, best, scores, strict=True)
        ]
        print_json(answers)
    elif out is None:
        print_table(
            ["clip", "label", "score"],
            [
                [clip, fitted.labels[label], f"{values[label]:.3f}"]
                for clip, label, values in zip(clips, best, scores, strict=True)
            ],
        )
