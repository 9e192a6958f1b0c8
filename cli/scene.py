"""embedkit scene: the place where a long clip was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._data import Data, Dataset, Root, read
from ._output import Json, message, print_json, print_table


@app.command()
def scene(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    data: Data = None,
    dataset: Dataset = None,
    root: Root = None,
    method: Annotated[str, typer.Option(help="logistic, knn, plda or mlp.")] = "logistic",
    folds: Annotated[
        bool,
        typer.Option("--folds", help="The published folds, though there is an evaluation set."),
    ] = False,
    json: Json = False,
) -> None:
    """Name the scenes of long clips, and compare three ways to decide them from their segments.

    Where the labels have a split column, as TUT 2016 has, `train` is fitted on and the evaluation
    set scored; with --folds each of its folds is held out in turn.

    Example: embedkit scene embeddings --dataset tut2016 --root /data/tut2016 --folds
    """
    from dataclasses import replace

    from embedkit.backends import splits
    from embedkit.backends.classifier import find_method
    from embedkit.backends.labels import Unit, join_manifest
    from embedkit.backends.scene import compare_decisions
    from embedkit.store import EmbeddingTable

    manifest = read(data, dataset, root)
    place = root if root is not None else data if data is not None and data.is_dir() else None
    if place is None:
        assert data is not None  # `read` has refused everything else
        place = data.parent
    table = EmbeddingTable.open(emb_dir)
    clips, segments = (join_manifest(table, manifest, place, unit) for unit in Unit)
    if clips.several_labels:
        raise UsageError("a scene is one label a clip")
    if folds:
        clips = replace(clips, splits=None)
    how, held = splits.choose(clips)
    found = compare_decisions(clips, segments, held, find_method(method))
    if json:
        print_json(
            {
                "split": how,
                "method": method,
                "decisions": {
                    decision: {**done.figures(), "per_scene": done.per_class()}
                    for decision, done in found.items()
                },
            }
        )
        return
    message(f"{how}, {method}")
    recalls = {decision: done.per_class() for decision, done in found.items()}
    rows = [
        [label, *(f"{recalls[decision][label]['recall']:.3f}" for decision in found)]
        for label in clips.labels
    ]
    figures = [done.figures() for done in found.values()]
    rows.append(["all", *(f"{float(figure['accuracy']):.3f}" for figure in figures)])  # type: ignore[arg-type]
    print_table(["scene", *found], rows)
