"""embedkit distil: audio and other extractors, or vectors of theirs -> a model folder."""

import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.config import (
    FeatureSpec,
    Loss,
    Precision,
    Sampling,
    Schedule,
    SegmentSpec,
    TrainSpec,
)
from embedkit.errors import UsageError
from embedkit.progress import untracked
from embedkit.recipe import DistilSpec, Heads

from ._app import app
from ._extraction import model_at
from ._output import Device, Json, print_json, report_failures, resumable, track
from ._outputs import OutFolder
from ._training import (
    FEATURES,
    RUNNING,
    FeatureHop,
    FFTLength,
    Resume,
    TensorBoard,
    Window,
    running,
    sizes,
)

if TYPE_CHECKING:
    from embedkit.training import Trained

RECIPE = TrainSpec(
    batch_size=64, learning_rate=2e-3, schedule=Schedule.ONE_CYCLE, weight_decay=1e-6
)
ON_THE_WAY = DistilSpec(segments=10_000_000, batch_size=256, learning_rate=2e-3)
GPU_BATCH = 1024
DIMS = "64,128,256,512,1024"
TARGETS, TEACHERS = "Only with --targets", "Only with --teacher"
recipe = partial(typer.Option, rich_help_panel="The recipe")
with_targets = partial(typer.Option, rich_help_panel=TARGETS)
with_teacher = partial(typer.Option, rich_help_panel=TEACHERS)
share = partial(typer.Option, rich_help_panel=TEACHERS, min=0.0, max=1.0)


@app.command()
@resumable("run again with --resume")
def distil(
    context: typer.Context,
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; the folders in it are searched too.")
    ],
    out: Annotated[Path, OutFolder(help="The model folder to write.")],
    targets: Annotated[
        list[Path] | None,
        typer.Option(
            help="An embedding folder, or Parquet files of another extractor's vectors with"
            " the columns clip, start_s and embedding. Repeatable."
        ),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="An extractor.toml, a model folder, or a name as `extract --model` takes it: this"
            " extractor hears new scenes made of the audio while the network learns. Repeatable."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="The name of the network, one that `embedkit models` lists.",
            show_default="that of --init, or gap-lite",
        ),
    ] = "",
    dims: Annotated[
        str,
        typer.Option(
            help="Sizes of the embedding, with commas between them.",
            show_default=f"those of --init, or {DIMS}",
        ),
    ] = "",
    init: Annotated[
        Path | None,
        with_teacher(
            help="Begin with this network: a model folder, `default` or `fast`; frames may differ.",
            callback=model_at,
            show_default="random weights",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="The weights of the targets or teachers, in their order, with"
            " commas between them.",
            show_default="all the same",
        ),
    ] = "",
    loss: Annotated[
        Loss, typer.Option(help="The loss between a target and the student's output for it.")
    ] = (Loss.MSE),
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Validate with the clips whose paths fit this pattern, as in 'birds/*'."
            " Repeatable.",
            show_default="a random tenth; with --teacher of the folders in folders",
        ),
    ] = None,
    resume: Resume = False,
    cache: Annotated[
        Path | None,
        OutFolder(
            rich_help_panel=RUNNING,
            help="Use and keep features, or with --teacher decoded sounds, in this folder.",
            show_default="in the model folder, until the training ends",
        ),
    ] = None,
    workers: Annotated[
        int, running(help="The number of processes that compute features or decode sounds.", min=1)
    ] = 1,
    tensorboard: TensorBoard = False,
    device: Device = "cpu",
    checkpoint_minutes: Annotated[
        float, running(help="With --teacher: minutes between two checkpoints.", min=0.0)
    ] = 5.0,
    checkpoint_segments: Annotated[
        int | None,
        running(help="With --teacher: the number of segments between two checkpoints.", min=1),
    ] = None,
    batch_size: Annotated[
        int | None,
        recipe(
            help="Segments in a batch.",
            show_default=f"{RECIPE.batch_size}; with --teacher {ON_THE_WAY.batch_size}, on a GPU"
            f" {GPU_BATCH}",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        recipe(
            help="Adam's learning rate.",
            show_default=f"{RECIPE.learning_rate}; with --teacher {ON_THE_WAY.learning_rate} for"
            f" batches of {ON_THE_WAY.batch_size}, and with the root of their size",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        recipe(
            help="The weight decay: L2, as in Adam; with --teacher as in AdamW.",
            show_default=f"{RECIPE.weight_decay}; with --teacher {ON_THE_WAY.weight_decay}",
        ),
    ] = None,
    seed: Annotated[
        int, recipe(help="The seed of everything that is drawn at random.")
    ] = RECIPE.seed,
    epochs: Annotated[int, with_targets(help="Passes over the training clips.")] = RECIPE.epochs,
    schedule: Annotated[
        Schedule, with_targets(help="How the learning rate changes.")
    ] = RECIPE.schedule,
    sampling: Annotated[
        Sampling, with_targets(help="Draw all segments equally often, or all folders in AUDIO_DIR.")
    ] = RECIPE.sampling,
    mixup: Annotated[
        float, with_targets(help="The alpha of mixup; 0 turns it off.")
    ] = RECIPE.mixup,
    time_mask: Annotated[
        int, with_targets(help="SpecAugment masks fewer frames than this; 0 turns it off.")
    ] = RECIPE.time_mask,
    band_mask: Annotated[
        int, with_targets(help="SpecAugment masks fewer bands than this; 0 turns it off.")
    ] = RECIPE.band_mask,
    window: Window = FEATURES.window_s,
    feature_hop: FeatureHop = FEATURES.hop_s,
    n_fft: FFTLength = FEATURES.n_fft,
    segments: Annotated[
        int,
        with_teacher(
            help="The number of segments that the network hears; each of them is new.", min=1
        ),
    ] = ON_THE_WAY.segments,
    teacher_window: Annotated[
        float | None,
        with_teacher(
            help="The seconds that teachers hear; the network hears the middle of them.",
            show_default="the segment's",
        ),
    ] = None,
    mfcc_weight: Annotated[
        float,
        with_teacher(
            help="The weight of statistics of MFCC as a target; 0 turns them off.", min=0.0
        ),
    ] = 0.5,
    names_weight: Annotated[
        float, with_teacher(help="The weight of the cross-entropy to a teacher's names.", min=0.0)
    ] = ON_THE_WAY.names_weight,
    heads: Annotated[
        Heads,
        with_teacher(
            help="The layers between the embedding and the targets; they are"
            " thrown away at the end."
        ),
    ] = ON_THE_WAY.heads,
    kinds: Annotated[
        str,
        with_teacher(
            help="How often each folder in AUDIO_DIR is drawn, as in 'effects=3,music=1';"
            " others are not drawn. The folders in these are drawn in proportion to the"
            " root of their duration.",
            show_default="the root of their duration too",
        ),
    ] = "",
    speed: Annotated[
        float, share(help="The share of sounds that are heard at half to twice their speed.")
    ] = ON_THE_WAY.speed,
    cut: Annotated[
        float, share(help="The share of sounds that are cut to a part of a second.")
    ] = ON_THE_WAY.cut,
    second: Annotated[
        float, share(help="The share of scenes with a second sound.")
    ] = ON_THE_WAY.second,
    third: Annotated[
        float, share(help="The share of the scenes with two sounds that get a third one.")
    ] = ON_THE_WAY.third,
    equaliser: Annotated[
        float, share(help="The share of scenes that pass a random equaliser.")
    ] = ON_THE_WAY.equaliser,
    reverberation: Annotated[
        float, share(help="The share of scenes with synthetic reverberation.")
    ] = ON_THE_WAY.reverberation,
    noise: Annotated[
        float, share(help="The share of scenes with coloured noise.")
    ] = ON_THE_WAY.noise,
    validation_segments: Annotated[
        int, with_teacher(help="The number of scenes to validate with.", min=2)
    ] = ON_THE_WAY.validation,
    precision: Annotated[
        Precision, with_teacher(help="The numbers to train in; bfloat16 is autocast, for GPUs.")
    ] = ON_THE_WAY.precision,
    json: Json = False,
) -> None:
    """Distil other extractors into a small one.

    The network learns to give vectors from which the vectors of the others follow: it keeps their
    knowledge at its own size and speed. With `--targets`, stored vectors are joined to its segments
    by clip and time. With `--teacher`, the others hear what it hears: one to three sounds mixed, at
    other speeds, in rooms and noise, new in every batch. Before it starts it says how many hours it
    will take.

    Example: embedkit distil sounds/ --teacher extractor.toml --segments 10000000 --out model
    """
    from embedkit.checkpoint import load_config
    from embedkit.models.table import resolve
    from embedkit.runtime import installed
    from embedkit.training import distil as run
    from embedkit.training import distil_on_the_way
    from embedkit.training.parallel import is_first

    if bool(targets) == bool(teacher):
        raise UsageError("name one of --targets, stored vectors, and --teacher, an extractor")
    _refuse(context, TEACHERS if targets else TARGETS)
    if not is_first():  # of several processes one speaks
        logging.getLogger("embedkit").setLevel(logging.WARNING)
    if init is None:
        network = resolve(model or "gap-lite", dims=sizes(dims or DIMS, "--dims"), dropout=0.0)
    elif model or dims:
        raise UsageError(
            "--init brings the network and the sizes of its model: leave out --model and --dims"
        )
    else:
        network = load_config(init).model
    features = FeatureSpec(window_s=window, hop_s=feature_hop, n_fft=n_fft)
    if targets:
        distilled = run(
            audio_dir,
            targets,
            out,
            model=network,
            features=features,
            segments=SegmentSpec(),
            spec=TrainSpec(
                epochs=epochs,
                batch_size=RECIPE.batch_size if batch_size is None else batch_size,
                learning_rate=RECIPE.learning_rate if learning_rate is None else learning_rate,
                schedule=schedule,
                weight_decay=RECIPE.weight_decay if weight_decay is None else weight_decay,
                sampling=sampling,
                mixup=mixup,
                time_mask=time_mask,
                band_mask=band_mask,
                seed=seed,
            ),
            loss=loss,
            weights=_weights(weights),
            hold_out=hold_out or (),
            cache=cache,
            workers=workers,
            tensorboard=tensorboard,
            device=device,
            resume=resume,
            track=track if is_first() else untracked,
        )
    else:
        batch = ON_THE_WAY.batch_size if device == "cpu" else GPU_BATCH
        batch = batch if batch_size is None else batch_size
        # Adam's steps are as long for a large batch as for a small one, and surer.
        fitting = ON_THE_WAY.learning_rate * (batch / ON_THE_WAY.batch_size) ** 0.5
        distilled = distil_on_the_way(
            audio_dir,
            [installed.resolve(path) for path in teacher or ()],
            out,
            model=network,
            features=features,
            segments=SegmentSpec(),
            spec=DistilSpec(
                segments=segments,
                batch_size=batch,
                learning_rate=fitting if learning_rate is None else learning_rate,
                weight_decay=ON_THE_WAY.weight_decay if weight_decay is None else weight_decay,
                heads=heads,
                names_weight=names_weight,
                teacher_window_s=teacher_window,
                kinds=kinds,
                hold_out=tuple(hold_out or ()),
                validation=validation_segments,
                speed=speed,
                second=second,
                third=third,
                cut=cut,
                equaliser=equaliser,
                reverberation=reverberation,
                noise=noise,
                precision=precision,
                seed=seed,
            ),
            loss=loss,
            weights=_weights(weights),
            mfcc_weight=mfcc_weight,
            init=init,
            checkpoint_s=60 * checkpoint_minutes,
            checkpoint_segments=checkpoint_segments,
            cache=cache,
            workers=workers,
            tensorboard=tensorboard,
            device=device,
            resume=resume,
            track=track,
        )
    if is_first():
        _print(out, distilled, json)


def _refuse(context: typer.Context, panel: str) -> None:
    """Refuse options that were given and belong to the other way."""
    only: Collection[str] = (
        () if panel == TARGETS else ("checkpoint_minutes", "checkpoint_segments")
    )
    own, other = ("--teacher", "--targets") if panel == TARGETS else ("--targets", "--teacher")
    for parameter in context.command.params:
        name = str(parameter.name)
        belongs = name in only or getattr(parameter, "rich_help_panel", None) == panel
        source = context.get_parameter_source(name)
        if belongs and source is not None and source.name != "DEFAULT":
            raise UsageError(f"{parameter.opts[0]} goes with {other}, not with {own}")


def _print(out: Path, distilled: "Trained", json: bool) -> None:
    best = distilled.history[distilled.best_epoch - 1]
    if json:
        print_json({"model": str(out), "best_epoch": distilled.best_epoch, **best})
    else:
        explained = ", ".join(
            f"{name.removeprefix('validation_r2_')} {value:.3f}"
            for name, value in best.items()
            if name.startswith("validation_r2_")
        )
        figures = f"validation loss {best['validation_loss']:.3f}, R2 of {explained}"
        if "epoch" in best:
            epoch = f"epoch {distilled.best_epoch} of {len(distilled.history)} was best"
            print(f"{out}: {epoch}: {figures}")
        else:
            print(f"{out}: {best['segments']:,} segments: {figures}")
    report_failures(distilled.failures, of=distilled.clips)


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in text.split(",") if weight.strip())
    except ValueError as error:
        raise UsageError(f"--weights {text}: expected numbers such as 1,0.5") from error
