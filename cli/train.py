"""embedkit train: a labelled collection -> a model folder."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import (
    FeatureSpec,
    FrontEnd,
    Precision,
    Sampling,
    Schedule,
    SegmentSpec,
    TrainSpec,
)
from embedkit.errors import UsageError
from embedkit.progress import untracked

from ._app import app
from ._data import Data, Dataset, Root, read_marked
from ._extraction import model_at
from ._labels import Cover, LabelColumn, MarkedName, Within, parse_rule
from ._output import Json, print_json, report_failures, resumable, track
from ._outputs import OutFolder
from ._training import (
    FEATURES,
    Cache,
    FeatureHop,
    FeatureWorkers,
    FFTLength,
    Resume,
    TensorBoard,
    Window,
    running,
    sizes,
    spectrum,
)

RECIPE = TrainSpec()
paper = partial(typer.Option, rich_help_panel="The paper's recipe")
beyond = partial(typer.Option, rich_help_panel="Beyond the paper")


@app.command()
@resumable("run again with --resume")
def train(
    out: Annotated[Path, OutFolder(help="The model folder to write.")],
    model: Annotated[
        str,
        typer.Option(
            help="The name of the network, one that `embedkit models` lists.",
            show_default="that of --init, or gap-lite",
        ),
    ] = "",
    init: Annotated[
        Path | None,
        typer.Option(
            help="Fine-tune the network of this model: a folder, or `default` or `fast`.",
            callback=model_at,
            show_default="random weights",
        ),
    ] = None,
    dim: Annotated[
        int | None,
        paper(help="The size of the embedding, 64 to 1024, where the model leaves it free."),
    ] = None,
    dims: Annotated[
        str,
        typer.Option(
            help="Sizes with commas between them, of one embedding whose prefixes are"
            " embeddings of their own (Matryoshka); for bneck-mid, gap, gap-lite."
        ),
    ] = "",
    data: Data = None,
    dataset: Dataset = None,
    root: Root = None,
    hold_out_fold: Annotated[
        str, typer.Option(help="The fold that is neither trained on nor validated with.")
    ] = RECIPE.hold_out_fold,
    resume: Resume = False,
    cache: Cache = None,
    workers: FeatureWorkers = 1,
    tensorboard: TensorBoard = False,
    device: Annotated[
        str, running(help="The device that torch computes on: cpu, cuda, cuda:1, mps.")
    ] = "cpu",
    epochs: Annotated[int, typer.Option(help="Passes over the training clips.")] = RECIPE.epochs,
    batch_size: Annotated[int, paper(help="Segments in a batch.")] = RECIPE.batch_size,
    learning_rate: Annotated[float, paper(help="Adam's learning rate.")] = RECIPE.learning_rate,
    schedule: Annotated[Schedule, paper(help="How the learning rate changes.")] = RECIPE.schedule,
    halve_every: Annotated[
        int, paper(help="The number of epochs between two halvings.")
    ] = RECIPE.halve_every,
    beta1: Annotated[float, paper(help="Adam's beta 1.")] = RECIPE.beta1,
    beta2: Annotated[float, paper(help="Adam's beta 2.")] = RECIPE.beta2,
    weight_decay: Annotated[
        float | None,
        paper(
            help="The weight decay: L2, as in Adam.",
            show_default=f"{RECIPE.weight_decay}; none for lstm, b-gru-att",
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        paper(
            help="The dropout before full-width FC layers and the output layer.",
            show_default="0.5; none for lstm, b-gru-att",
        ),
    ] = None,
    validation: Annotated[
        float,
        paper(
            help="The share of the clips, or of their groups, that choose the best epoch;"
            " from 1 on their number, drawn one by one, as the paper drew 170 of TUT"
            " 2016."
        ),
    ] = RECIPE.validation,
    seed: Annotated[
        int, paper(help="The seed of everything that is drawn at random.")
    ] = RECIPE.seed,
    features: Annotated[
        FrontEnd,
        spectrum(help="The features that the network hears; the paper found log-mel best."),
    ] = FEATURES.kind,
    sample_rate: Annotated[
        int, spectrum(help="The sample rate of the front-end, in Hz.")
    ] = FEATURES.sample_rate,
    segment: Annotated[
        float, spectrum(help="The length of a segment in seconds.")
    ] = SegmentSpec().duration_s,
    window: Window = FEATURES.window_s,
    feature_hop: FeatureHop = FEATURES.hop_s,
    n_fft: FFTLength = FEATURES.n_fft,
    bands: Annotated[
        int, spectrum(help="The number of mel bands, or of bins of the CQT.")
    ] = FEATURES.bands,
    coefficients: Annotated[
        int, spectrum(help="The number of coefficients of the MFCC.")
    ] = FEATURES.coefficients,
    min_hz: Annotated[float, spectrum(help="The lowest bin of the CQT, in Hz.")] = FEATURES.min_hz,
    bins_per_octave: Annotated[
        int, spectrum(help="The number of bins in an octave of the CQT.")
    ] = FEATURES.bins_per_octave,
    mixup: Annotated[float, beyond(help="The alpha of mixup; 0 turns it off.")] = RECIPE.mixup,
    time_mask: Annotated[
        int, beyond(help="SpecAugment masks fewer frames than this; 0 turns it off.")
    ] = RECIPE.time_mask,
    band_mask: Annotated[
        int, beyond(help="SpecAugment masks fewer bands than this; 0 turns it off.")
    ] = RECIPE.band_mask,
    sampling: Annotated[
        Sampling, beyond(help="Draw all segments equally often, or all labels.")
    ] = RECIPE.sampling,
    precision: Annotated[
        Precision, beyond(help="The numbers to train in; bfloat16 is autocast, for GPUs and AMX.")
    ] = RECIPE.precision,
    segment_hop: Annotated[
        float | None,
        beyond(
            help="The seconds from one training segment to the next; the paper's do not overlap.",
            show_default="the segment's length",
        ),
    ] = None,
    label_column: LabelColumn = "",
    marked: MarkedName = "some",
    cover: Cover = 0.5,
    within: Within = 0.5,
    json: Json = False,
) -> None:
    """Train an extractor.

    Every setting of the paper is an option with the paper's value as its default. Clips with one
    label each train with softmax, clips with several with sigmoid; the training says which. Labels
    with times train with sigmoid, on the segments that they say something about, and segments are
    scored. The model folder holds the best epoch by validation loss, and metrics.jsonl the figures
    of every epoch. At the end come curves.png and a model card, README.md.

    On several devices: `torchrun --nproc-per-node 2 --no-python embedkit train ...`. The processes
    share each batch and average their gradients. The statistics of batch normalisation are of each
    process's own share, and those of the first one are kept.

    Example: embedkit train sounds/ --init default --epochs 5 --out model
    """
    from embedkit.checkpoint import load_config
    from embedkit.models.table import FAMILIES, resolve
    from embedkit.training import train as run
    from embedkit.training.parallel import is_first

    front_end = FeatureSpec(
        kind=features,
        sample_rate=sample_rate,
        window_s=window,
        hop_s=feature_hop,
        n_fft=n_fft,
        bands=bands,
        coefficients=coefficients,
        min_hz=min_hz,
        bins_per_octave=bins_per_octave,
    )
    segments = SegmentSpec(duration_s=segment, hop_s=segment)
    if init is not None:
        if model or dim or dims or (front_end, segments) != (FEATURES, SegmentSpec()):
            raise UsageError(
                "--init: network, embedding sizes, front-end and segments are those of that model;"
                " leave out the options that set them"
            )
        begun = load_config(init)
        front_end, segments = begun.features, begun.segments
        network = begun.model if dropout is None else replace(begun.model, dropout=dropout)
    else:
        network = resolve(model or "gap-lite", dim=dim, dims=sizes(dims, "--dims"), dropout=dropout)
    if weight_decay is None:
        weight_decay = FAMILIES[network.name].weight_decay
    if not is_first():  # of several processes one speaks
        logging.getLogger("embedkit").setLevel(logging.WARNING)
    manifest = read_marked(data, dataset, root, label_column)
    trained = run(
        manifest,
        out,
        model=network,
        features=front_end,
        segments=segments,
        init=init,
        rule=parse_rule(marked, cover, within),
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
            segment_hop_s=segments.duration_s if segment_hop is None else segment_hop,
            sampling=sampling,
            precision=precision,
            seed=seed,
        ),
        cache=cache,
        workers=workers,
        tensorboard=tensorboard,
        device=device,
        resume=resume,
        track=track if is_first() else untracked,
    )
    if not is_first():
        return
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
