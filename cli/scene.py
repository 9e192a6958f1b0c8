"""embedkit scene: the place where a long clip was recorded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._data import Data, Dataset, Root, read
from ._output import Device, Json, message, print_json, print_table, report_failures, track

if TYPE_CHECKING:
    from embedkit.classifiers.evaluate import Evaluation
    from embedkit.classifiers.scene import Decision
    from embedkit.datasets import Manifest


@app.command()
def scene(
    source: Annotated[
        Path,
        typer.Argument(help="An embedding folder, or the folder of a model with classes."),
    ],
    data: Data = None,
    dataset: Dataset = None,
    root: Root = None,
    method: Annotated[
        str, typer.Option(help="With an embedding folder, the method: logistic, knn, plda or mlp.")
    ] = "logistic",
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            help="With an embedding folder: hold out each published fold in turn,"
            " though there is an evaluation set.",
        ),
    ] = False,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Name the scenes of long clips, and compare three ways to decide them from their segments.

    With an embedding folder a classifier is fitted. Where the labels have a split column, as TUT
    2016 has, it is fitted on `train`, and the evaluation set is scored; with --folds each of the
    folds is held out in turn. A trained network scores the fold that its training held out, else
    the evaluation set. Below stand Wilson's interval of each way, and the p of McNemar's exact test
    of it against the best.

    Example: embedkit scene embeddings --dataset tut2016 --root /data/tut2016 --folds
    """
    from embedkit.checkpoint import CONFIG
    from embedkit.classifiers.scene import against_best
    from embedkit.metrics import share_interval

    manifest = read(data, dataset, root)
    if manifest.several_labels:
        raise UsageError("a scene needs clips with one label each; these have several")
    failures: list[tuple[str, str, str]] = []
    scored = len(manifest.clips)
    if (source / CONFIG).exists():
        if folds:
            raise UsageError(
                "--folds needs an embedding folder: a trained network held out one fold"
            )
        how, found, failures, scored = _by_network(source, manifest, device)
    else:
        place = root if root is not None else data if data is not None and data.is_dir() else None
        if place is None:
            assert data is not None  # `read` has refused everything else
            place = data.parent
        how, found = _by_vectors(source, manifest, place, method, folds)
    tests = against_best(found)
    if json:
        print_json(
            {
                "split": how,
                "decisions": {
                    decision: {
                        **done.figures(),
                        "p_against_best": tests[decision],
                        "per_scene": done.per_class(),
                    }
                    for decision, done in found.items()
                },
            }
        )
    else:
        message(how)
        recalls = {decision: done.per_class() for decision, done in found.items()}
        labels = next(iter(found.values())).labels
        rows = [
            [label, *(f"{recalls[decision][label]['recall']:.3f}" for decision in found)]
            for label in labels
        ]
        accuracies = [f"{done.correct.mean():.3f}" for done in found.values()]
        spans = [share_interval(done.correct) for done in found.values()]
        rows += [
            ["all", *accuracies],
            ["95 % interval", *(f"{low:.3f} to {high:.3f}" for low, high in spans)],
            ["p against the best", *(_p(tests[decision]) for decision in found)],
        ]
        print_table(["scene", *found], rows)
    report_failures(failures, of=scored)


def _p(value: float) -> str:
    """No p is nought."""
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


def _by_vectors(
    emb_dir: Path, manifest: "Manifest", place: Path, method: str, folds: bool
) -> tuple[str, "dict[Decision, Evaluation]"]:
    from embedkit.classifiers import splits
    from embedkit.classifiers.classifier import find_method
    from embedkit.classifiers.scene import compare_decisions
    from embedkit.labels.join import Unit, join_manifest
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(emb_dir)
    clips, segments = (join_manifest(table, manifest, place, unit) for unit in Unit)
    how, held = splits.in_turn(clips) if folds else splits.choose(clips)
    found = compare_decisions(clips, segments, held, find_method(method), track)
    return f"{how}, {method}", found


def _by_network(
    model_dir: Path, manifest: "Manifest", device: str
) -> tuple[str, "dict[Decision, Evaluation]", list[tuple[str, str, str]], int]:
    from embedkit.config import TrainSpec
    from embedkit.models.module import ExtractorModule
    from embedkit.training.evaluation import held_out
    from embedkit.training.scenes import network_decisions

    extractor = ExtractorModule.load(model_dir, device)
    extractor.require_labels()
    recipe = extractor.config.training
    assert isinstance(recipe, TrainSpec)  # no other gives labels
    held = held_out(manifest, recipe)
    found, failures = network_decisions(extractor, held, track)
    part = f"fold {recipe.hold_out_fold}" if recipe.hold_out_fold else "the split test"
    kinds = [(str(scores.path), scores.kind, scores.message) for scores in failures]
    return f"{part} scored by {model_dir}", found, kinds, len(held.clips)
