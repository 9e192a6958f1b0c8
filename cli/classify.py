"""embedkit classify: a classifier on the clips, or the segments, of an embedding folder."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedkit.errors import UsageError

from ._app import app
from ._events import event_figures, make_listener, print_events
from ._labels import Cover, LabelColumn, MarkedName, Within, parse_rule, timed
from ._output import Json, message, print_figures, print_json, print_table, track
from ._outputs import OutFile, OutFolder
from ._tracks import Audacity, Raven, tracks_of

if TYPE_CHECKING:
    from embedkit.classifiers.evaluate import Evaluation, Predictions
    from embedkit.classifiers.method import Method
    from embedkit.classifiers.tracks import Span
    from embedkit.labels.join import Unit

classify = typer.Typer(
    help="Fit, evaluate and apply a classifier on embeddings.", no_args_is_help=True
)
app.add_typer(classify, name="classify")

EmbDir = Annotated[Path, typer.Argument(help="The embedding folder.")]
Labels = Annotated[
    str,
    typer.Option(
        help="A CSV or Parquet manifest with path and label (or labels, separated by `;`), and with"
        " start_s and end_s where labels are of stretches; a selection table of Raven's, a label"
        " track of Audacity's, or a folder of these; or the word `folders`: a clip's first folder"
        " is its label."
    ),
]
MethodName = Annotated[
    str, typer.Option("--method", help="The method: logistic, knn, plda or mlp.")
]
C = Annotated[
    float | None,
    typer.Option(
        "--c",
        "-C",
        help="For logistic: the inverse strength of the L2 penalty.",
        min=1e-9,
        show_default="chosen by cross-validation of the clips it is fitted on",
    ),
]
Neighbours = Annotated[
    int | None,
    typer.Option(help="For knn: the number of neighbours that vote.", min=1, show_default="20"),
]
Lda = Annotated[
    bool | None,
    typer.Option(
        "--lda/--no-lda",
        help="For plda: project the vectors by linear discriminant analysis first, or do not.",
        show_default="--lda",
    ),
]
Segments = Annotated[bool, typer.Option("--segments", help="Work on segments, not on whole clips.")]
HoldOut = Annotated[str | None, typer.Option(help="The fold to leave out.")]


@classify.command()
def fit(
    emb_dir: EmbDir,
    labels: Labels,
    out: Annotated[Path, OutFolder(help="The classifier folder to write.")],
    method: MethodName = "logistic",
    c: C = None,
    neighbours: Neighbours = None,
    lda: Lda = None,
    segments: Segments = False,
    hold_out_fold: HoldOut = None,
    label_column: LabelColumn = "",
    marked: MarkedName = "some",
    cover: Cover = 0.5,
    within: Within = 0.5,
    json: Json = False,
) -> None:
    """Fit a classifier.

    Where the labels have a split column, it is fitted only on the clips whose split is train. Where
    they have times, it is fitted on segments; one label alone is learned against unmarked sound.

    Example: embedkit classify fit embeddings --labels folders --out classifier
    """
    import numpy as np

    from embedkit.classifiers import splits
    from embedkit.classifiers.classifier import Classifier
    from embedkit.labels.join import join_labels
    from embedkit.store import EmbeddingTable

    chosen = _method(method, c, neighbours, lda)
    table = EmbeddingTable.open(emb_dir)
    rule = parse_rule(marked, cover, within)
    data = join_labels(table, labels, _unit(segments), rule=rule, label_column=label_column)
    if hold_out_fold is not None:
        rows = splits.hold_out_fold(data, hold_out_fold)[0]
    elif data.splits is not None:
        rows = splits.training_split(data)[0]
    else:
        rows = np.arange(len(data.clips))
    classifier = Classifier.fit(
        data, rows, chosen, fingerprint=table.provenance.fingerprint, track=track
    )
    classifier.save(out)
    clips = len({data.clips[row] for row in rows})
    if json:
        counts = {"clips": clips} | ({} if data.seconds is None else {"segments": len(rows)})
        print_json({"classifier": str(out), **counts, "labels": list(data.labels)})
    else:
        of = f"{clips} clips" if data.seconds is None else f"{len(rows)} segments of {clips} clips"
        print(f"{out}: {method}, fitted on {of} of {len(data.labels)} labels")


@classify.command()
def evaluate(
    emb_dir: EmbDir,
    labels: Labels,
    method: MethodName = "logistic",
    c: C = None,
    neighbours: Neighbours = None,
    lda: Lda = None,
    segments: Segments = False,
    hold_out_fold: Annotated[
        str | None, typer.Option(help="Score this fold, and fit on all others.")
    ] = None,
    k_folds: Annotated[
        int | None,
        typer.Option(help="Draw this many folds at random, by group, and hold out each in turn."),
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Hold out this share of the groups, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
    label_column: LabelColumn = "",
    marked: MarkedName = "some",
    cover: Cover = 0.5,
    within: Within = 0.5,
    threshold: Annotated[
        float, timed(help="The score from which on a segment is a detection.", min=0, max=1)
    ] = 0.5,
    picture: Annotated[
        Path | None,
        OutFile(
            help="Draw the confusion matrix to this .png file; where labels have times,"
            " precision, recall and F1 over thresholds."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score clips by a classifier that was fitted without them.

    By default, where the labels have a split column, the classifier is fitted on `train`, and
    everything but `train` and `validation` is scored. Else each fold of a fold column is held out
    in turn, or a quarter of the groups. No group (or clip) stands on both sides.

    Where labels have times, segments are scored; a segment that only touches a stretch counts
    neither for nor against. Then `embedkit detect` runs over the held-out recordings. It counts how
    many marked events a detection overlaps, and how many detections an hour are false; their
    intervals are of a bootstrap over recordings.

    Example: embedkit classify evaluate embeddings --labels sounds.csv --hold-out-fold 1
    """
    from embedkit.classifiers import evaluate as backend
    from embedkit.classifiers import splits
    from embedkit.labels.join import clip_names, find_labels, join_known
    from embedkit.store import EmbeddingTable

    chosen = _method(method, c, neighbours, lda)
    rule = parse_rule(marked, cover, within)
    table = EmbeddingTable.open(emb_dir)
    known, manifest = find_labels(clip_names(table), table, labels, label_column)
    data = join_known(table, known, manifest, _unit(segments), rule)
    if picture is not None and data.several_labels and not manifest.has_times:
        raise UsageError("--picture: clips with several labels have no confusion matrix")
    how, held = splits.choose(data, fold=hold_out_fold, folds=k_folds, share=test_share, seed=seed)
    listener = make_listener(table, data, known, threshold)
    hear = {"show": listener} if manifest.has_times else {}
    done = backend.evaluate(data, held, chosen, track, **hear)
    per_class = done.per_class()
    if picture is not None:
        _draw(done, manifest.has_times, picture)
    if json:
        print_json(
            {
                "split": how,
                "method": method,
                **done.figures(),
                "labels": list(done.labels),
                "per_class": per_class,
                "confusion": None if done.several_labels else done.confusion().tolist(),
                **(event_figures(listener) if manifest.has_times else {}),
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
    if manifest.has_times:
        print_events(listener, rule)


@classify.command()
def predict(
    emb_dir: EmbDir,
    classifier: Annotated[
        Path, typer.Option(help="The folder that `embedkit classify fit` wrote.")
    ],
    segments: Segments = False,
    out: Annotated[
        Path | None, OutFile(help="Write all scores to this .csv or .parquet file.")
    ] = None,
    audacity: Audacity = None,
    raven: Raven = None,
    least: Annotated[
        float,
        typer.Option(
            help="Leave out labels of a lower score than this, in tracks and where a clip may"
            " have several labels."
        ),
    ] = 0.5,
    json: Json = False,
) -> None:
    """Score the clips, or the segments, of an embedding folder.

    Label tracks are made of segments; neighbours with one label become one span. `embedkit detect`
    has more ways to choose and to write them.

    Example: embedkit classify predict embeddings --classifier classifier --out labels.csv
    """
    from embedkit.classifiers import evaluate as backend
    from embedkit.classifiers.classifier import Classifier
    from embedkit.classifiers.detect import Criteria, detect
    from embedkit.classifiers.tracks import above, best, write_table, write_tracks
    from embedkit.store import EmbeddingTable

    tracks = tracks_of(audacity, raven)
    segments = segments or bool(tracks)
    fitted = Classifier.load(classifier)
    several = fitted.several_labels
    table = EmbeddingTable.open(emb_dir)
    answers: list[dict[str, Any]] = []
    spans: list[Span] = []
    rows = clips = 0

    def looked_at(batches: "Iterable[Predictions]") -> "Iterator[Predictions]":
        nonlocal rows
        for batch in batches:
            rows += len(batch.clips)
            if json:
                answers.extend(_answers(batch, fitted.labels))
            elif out is None and not tracks:
                named = (
                    above(batch, fitted.labels, least) if several else best(batch, fitted.labels)
                )
                spans.extend(named)
            yield batch

    batches = backend.predict(table, fitted, _unit(segments))
    if out is not None:
        batches = write_table(out, fitted.labels, batches, _unit(segments))
    batches = looked_at(batches)
    if tracks:
        criteria = Criteria(thresholds=dict.fromkeys(fitted.labels, least), best_only=not several)
        found = detect(batches, fitted.labels, criteria)
        for _, some in groupby(found, key=lambda span: span.clip):
            mine = list(some)
            for folder, form in tracks:
                write_tracks(folder, form, mine, table.provenance.sample_rate)
            clips += 1
    else:
        for _ in batches:
            pass
    if out is not None:
        message(f"{out}: {rows} rows")
    for folder, _ in tracks:
        message(f"{folder}: tracks of {clips} clips")
    if json:
        print_json(sorted(answers, key=lambda answer: (answer["clip"], answer.get("start_s", 0))))
    elif out is None and not tracks:
        _print(sorted(spans), segments)


def _draw(done: "Evaluation", has_times: bool, picture: Path) -> None:
    from embedkit.pages.plots import confusion_matrix, save_png, threshold_curves

    if has_times:
        curves = vars(done.over_thresholds())
        save_png(threshold_curves(curves.pop("thresholds"), curves), picture)
        message(f"{picture}: precision, recall and F1 of segments over thresholds")
    else:
        save_png(confusion_matrix(done.confusion(), done.labels), picture)
        message(f"{picture}: the confusion matrix")


def _answers(batch: "Predictions", labels: tuple[str, ...]) -> list[dict[str, Any]]:
    from embedkit.classifiers.tracks import best

    whole = batch.start_s is None
    return [
        {
            "clip": span.clip,
            **({} if whole else {"start_s": span.start_s, "end_s": span.end_s}),
            "label": span.label,
            "scores": dict(zip(labels, map(float, scores), strict=True)),
        }
        for span, scores in zip(best(batch, labels), batch.scores, strict=True)
    ]


def _print(spans: list["Span"], segments: bool) -> None:
    print_table(
        ["clip", *(["start_s", "end_s"] if segments else []), "label", "score"],
        [
            [
                span.clip,
                *([f"{span.start_s:.2f}", f"{span.end_s:.2f}"] if segments else []),
                span.label,
                f"{span.score:.3f}",
            ]
            for span in spans
        ],
    )


def _unit(segments: bool) -> "Unit":
    from embedkit.labels.join import Unit

    return Unit.SEGMENT if segments else Unit.CLIP


def _method(name: str, c: float | None, neighbours: int | None, lda: bool | None) -> "Method":
    from embedkit.classifiers.classifier import find_method

    given = {"c": c, "neighbours": neighbours, "lda": lda}
    return find_method(name, **{key: value for key, value in given.items() if value is not None})
