"""embedkit distil: audio and the vectors of other extractors -> a model folder."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import FeatureSpec, Loss, Sampling, Schedule, SegmentSpec, TrainSpec
from embedkit.errors import UsageError
from embedkit.progress import untracked

from ._app import app
from ._output import Device, Json, print_json, report_failures, track
from ._outputs import OutFolder
from ._training import Cache, FeatureWorkers, Resume, TensorBoard, sizes

RECIPE = TrainSpec(
    batch_size=64, learning_rate=2e-3, schedule=Schedule.ONE_CYCLE, weight_decay=1e-6
)
recipe = partial(typer.Option, rich_help_panel="The recipe")


@app.command()
def distil(
    audio_dir: Annotated[Path, typer.Argument(help="Folder of audio, searched recursively.")],
    targets: Annotated[
        list[Path],
        typer.Option(
            help="An embedding folder, or Parquet of another extractor's vectors with the columns"
            " clip, start_s and embedding. Repeatable."
        ),
    ],
    out: Annotated[Path, OutFolder(help="The model folder to write.")],
    model: Annotated[str, typer.Option(help="A name that `embedkit models` lists.")] = "gap-lite",
    dims: Annotated[
        str, typer.Option(help="Sizes of the embedding, with commas between them.")
    ] = "64,128,256,512,1024",
    weights: Annotated[
        str, typer.Option(help="Of the targets, in their order.", show_default="all the same")
    ] = "",
    loss: Annotated[Loss, typer.Option(help="Between a target and what is learned of it.")] = (
        Loss.MSE
    ),
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Pattern of clips to validate with, as in 'birds/*'. Repeatable.",
            show_default="a random tenth",
        ),
    ] = None,
    resume: Resume = False,
    cache: Cache = None,
    workers: FeatureWorkers = 1,
    tensorboard: TensorBoard = False,
    device: Device = "cpu",
    epochs: Annotated[int, recipe()] = RECIPE.epochs,
    batch_size: Annotated[int, recipe(help="Segments.")] = RECIPE.batch_size,
    learning_rate: Annotated[float, recipe(help="Adam's.")] = RECIPE.learning_rate,
    schedule: Annotated[Schedule, recipe(help="How the learning rate changes.")] = RECIPE.schedule,
    weight_decay: Annotated[float, recipe(help="L2, as in Adam.")] = RECIPE.weight_decay,
    sampling: Annotated[
        Sampling, recipe(help="Draw segments evenly, or the folders in AUDIO_DIR.")
    ] = RECIPE.sampling,
    mixup: Annotated[float, recipe(help="Mixup's alpha; 0: none.")] = RECIPE.mixup,
    time_mask: Annotated[
        int, recipe(help="SpecAugment: mask fewer frames than this; 0: none.")
    ] = RECIPE.time_mask,
    band_mask: Annotated[
        int, recipe(help="SpecAugment: mask fewer bands than this; 0: none.")
    ] = RECIPE.band_mask,
    seed: Annotated[int, recipe(help="Fixes everything that is drawn.")] = RECIPE.seed,
    json: Json = False,
) -> None:
    """Distil other extractors into a small one.

    The network learns to give vectors from which those of the others follow by a linear map: their
    knowledge, at its own size and speed. The targets are joined to its segments by clip and time.
    `embedkit mix` makes more audio to learn on.

    Example: embedkit distil sounds/ --targets embeddings --out model
    """
    from embedkit.models.table import resolve
    from embedkit.training import distil as run
    from embedkit.training.parallel import is_first

    if not is_first():  # of several processes one speaks
        logging.getLogger("embedkit").setLevel(logging.WARNING)
    distilled = run(
        audio_dir,
        targets,
        out,
        model=resolve(model, dims=sizes(dims, "--dims"), dropout=0.0),
        features=FeatureSpec(),
        segments=SegmentSpec(),
        spec=TrainSpec(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            weight_decay=weight_decay,
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
    if not is_first():
        return
    best = distilled.history[distilled.best_epoch - 1]
    if json:
        print_json({"model": str(out), "best_epoch": distilled.best_epoch, **best})
    else:
        explained = ", ".join(
            f"{name.removeprefix('validation_r2_')} {value:.3f}"
            for name, value in best.items()
            if name.startswith("validation_r2_")
        )
        print(
            f"{out}: epoch {distilled.best_epoch} of {len(distilled.history)} was best:"
            f" validation loss {best['validation_loss']:.3f}, R2 of {explained}"
        )
    report_failures(distilled.failures, of=distilled.clips)


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in text.split(",") if weight.strip())
    except ValueError as error:
        raise UsageError(f"--weights {text}: expected numbers such as 1,0.5") from error
