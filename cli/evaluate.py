"""embedkit evaluate: a network's own scores against labels."""

from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._data import Data, Dataset, Root, read
from ._output import Device, Dim, Json, print_figures, print_json, report_failures, track


@app.command()
def evaluate(
    model_dir: Annotated[Path, typer.Argument(help="The model folder.")],
    data: Data = None,
    dataset: Dataset = None,
    root: Root = None,
    fold: Annotated[str | None, typer.Option(help="Score only the clips of this fold.")] = None,
    split: Annotated[str | None, typer.Option(help="Score only the clips of this split.")] = None,
    dim: Dim = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Score labelled clips with the network itself.

    The scores of a clip are the mean of its segments' scores, weighted by their real duration. The
    figures are accuracy by clip (with Wilson's 95 % interval) and by segment where clips have one
    label, weighted and macro AUC, d' and mAP.

    Example: embedkit evaluate model sounds.csv --fold 1
    """
    from embedkit.models.module import ExtractorModule
    from embedkit.training.evaluation import evaluate as run

    manifest = read(data, dataset, root)
    if fold is not None:
        manifest = manifest.fold(fold)
    if split is not None:
        manifest = manifest.split(split)
    done = run(ExtractorModule.load(model_dir, device, dim=dim), manifest, track)
    figures = {"clips": done.clips, "segments": done.segments, **done.figures}
    if json:
        print_json(figures)
    else:
        print_figures(figures)
    report_failures(
        [(str(scores.path), scores.kind, scores.message) for scores in done.failures],
        of=len(manifest.clips),
    )
