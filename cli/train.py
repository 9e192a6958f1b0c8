"""embedkit train: a labelled collection -> a model folder."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import FeatureSpec, Schedule, SegmentSpec, TrainSpec

from ._app import app
from ._output import Device, Json, print_json, report_failures, track

RECIPE = TrainSpec()
FEATURES = FeatureSpec()
paper = partial(typer.Option, rich_help_panel="The paper's recipe")
front_end = partial(typer.Option, rich_help_panel="The paper's front-end")
beyond = partial(typer.Option, rich_help_panel="Beyond the paper")


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="A folder of class folders, or a CSV or Parquet manifest with the columns path and"
            " label (or labels, separated by `;`) and optional fold, split, group."
        ),
    ],
    model: Annotated[str, typer.Option(help="A name that `embedkit models` lists.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    dim: Annotated[
        int | None, typer.Option(help="Embedding size, 64 to 1024, where the model leaves it free.")
    ] = None,
    hold_out_fold: Annotated[
        str, typer.Option(help="A fold that is neither trained on nor validated with.")
    ] = RECIPE.hold_out_fold,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it was interrupted.")
    ] = False,
    device: Device = "cpu",
    epochs: Annotated[int, paper()] = RECIPE.epochs,
    batch_size: Annotated[int, paper(help="Segments.")] = RECIPE.batch_size,
    learning_rate: Annotated[float, paper(help="Adam's.")] = RECIPE.learning_rate,
    schedule: Annotated[Schedule, paper(help="How the learning rate changes.")] = RECIPE.schedule,
    halve_every: Annotated[int, paper(help="Epochs between two halvings.")] = RECIPE.halve_every,
    beta1: Annotated[float, paper(help="Adam's.")] = RECIPE.beta1,
    beta2: Annotated[float, paper(help="Adam's.")] = RECIPE.beta2,
    weight_decay: Annotated[float, paper(help="L2, as in Adam.")] = RECIPE.weight_decay,
    dropout: Annotated[float, paper(help="Before full-width FC and output layers.")] = 0.5,
    validation: Annotated[
        float,
        paper(help="Share of the clips, or of their groups, that choose the best epoch."),
    ] = RECIPE.validation,
    seed: Annotated[int, paper(help="Fixes everything that is drawn.")] = RECIPE.seed,
    sample_rate: Annotated[int, front_end(help="Of the front-end, Hz.")] = FEATURES.sample_rate,
    segment: Annotated[float, front_end(help="Length of a segment, s.")] = SegmentSpec().duration_s,
    window: Annotated[float, front_end(help="Analysis window, s.")] = FEATURES.window_s,
    feature_hop: Annotated[float, front_end(help="Between two frames, s.")] = FEATURES.hop_s,
    n_fft: Annotated[int, front_end(help="FFT length.")] = FEATURES.n_fft,
    bands: Annotated[int, front_end(help="Mel bands.")] = FEATURES.bands,
    mixup: Annotated[float, beyond(help="Mixup's alpha; 0: none.")] = RECIPE.mixup,
    time_mask: Annotated[
        int, beyond(help="SpecAugment: mask fewer frames than this; 0: none.")
    ] = RECIPE.time_mask,
    band_mask: Annotated[
        int, beyond(help="SpecAugment: mask fewer bands than this; 0: none.")
    ] = RECIPE.band_mask,
    segment_hop: Annotated[
        float | None,
        beyond(
            help="Between two training segments, s; the paper's do not overlap.",
            show_default="the segment's length",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train an extractor.

    Every setting of the paper is an option with the paper's value as its default. One label a clip
    trains with softmax, several with sigmoid; the training says which. The model folder holds the
    best epoch by validation loss, and metrics.jsonl the figures of every epoch.

    Example: embedkit train sounds/ --model gap --out model
    """
    from embedkit.datasets import read_dataset
    from embedkit.models import resolve
    from embedkit.training import train as run

    manifest = read_dataset(data)
    trained = run(
        manifest,
        out,
        model=resolve(model, dim=dim, dropout=dropout),
        features=FeatureSpec(
            sample_rate=sample_rate, window_s=window, hop_s=feature_hop, n_fft=n_fft, bands=bands
        ),
        segments=SegmentSpec(duration_s=segment, hop_s=segment),
        spec=TrainSpec(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            halve_every=halve_every,
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
            validation=validation,
            mixup=mixup,
            time_mask=time_mask,
            band_mask=band_mask,
            hold_out_fold=hold_out_fold,
            segment_hop_s=segment if segment_hop is None else segment_hop,
            seed=seed,
        ),
        device=device,
        resume=resume,
        track=track,
    )
    best = trained.history[trained.best_epoch - 1]
    if json:
        print_json({"model": str(out), "best_epoch": trained.best_epoch, **best})
    else:
        figure = "validation_accuracy" if "validation_accuracy" in best else "validation_map"
        print(
            f"{out}: epoch {trained.best_epoch} of {len(trained.history)} was best:"
            f" {figure.replace('_', ' ')} {best.get(figure, float('nan')):.3f},"
            f" validation loss {best['validation_loss']:.3f}"
        )
    report_failures(trained.failures, of=len(manifest.clips))
