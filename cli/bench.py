"""embedkit bench: measure on data of one's own."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from embedkit.config import DEFAULT_MODEL, Precision, Schedule, TrainSpec

from ._app import app
from ._data import Dataset, Root, read
from ._extraction import Model, RuntimeName, Workers, extraction_progress
from ._output import Device, Dim, Json, message, print_json, print_table, resumable, track
from ._outputs import OutFolder

bench = typer.Typer(help="Measure on data of your own.", no_args_is_help=True)
app.add_typer(bench, name="bench")

RECIPE = TrainSpec()


@bench.command()
@resumable("run again")
def paper(
    out: Annotated[Path, OutFolder(help="The folder to write, or to go on with.")],
    data: Annotated[
        Path | None, typer.Option(help="Labelled clips, as `embedkit train` takes them.")
    ] = None,
    dataset: Dataset = None,
    root: Root = None,
    folds: Annotated[
        str,
        typer.Option(
            help="The folds to hold out and score in turn, with commas between them, or `all`.",
            show_default="the split `test`",
        ),
    ] = "",
    models: Annotated[
        str, typer.Option(help="The names of models, with commas between them.", show_default="all")
    ] = "",
    features: Annotated[
        str,
        typer.Option(help="The names of front-ends, with commas between them.", show_default="all"),
    ] = "",
    features_model: Annotated[
        str, typer.Option(help="The network that front-ends are compared on.")
    ] = "gap",
    epochs: Annotated[int, typer.Option(help="The number of epochs of every row.")] = RECIPE.epochs,
    recurrent_epochs: Annotated[
        int | None,
        typer.Option(
            help="The number of epochs of LSTM and B-GRU-ATT.", show_default="as many", min=1
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Segments in a batch.")] = RECIPE.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's learning rate.")
    ] = RECIPE.learning_rate,
    schedule: Annotated[
        Schedule, typer.Option(help="How the learning rate changes.")
    ] = RECIPE.schedule,
    precision: Annotated[
        Precision, typer.Option(help="The numbers that networks multiply in while training.")
    ] = RECIPE.precision,
    seeds: Annotated[
        int, typer.Option(help="The number of trainings of each row and fold.", min=1)
    ] = 1,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep the trained networks: 5 GB a fold.")
    ] = False,
    workers: Annotated[
        int, typer.Option(help="The number of processes that compute features.", min=1)
    ] = 1,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train every system of the paper under one budget and print its tables.

    It goes fold by fold and row by row, the cheapest first. Run it again after an interruption, and
    it goes on. The tables have every row that the folder has, from earlier runs too. Each claim of
    the paper is called supported, contradicted or undecided on this data.

    Example: embedkit bench paper --data sounds.csv --folds all --epochs 8 --out table
    """
    from embedkit.atomic import atomic_write
    from embedkit.bench import paper as bench_paper
    from embedkit.bench import pictures, tables
    from embedkit.bench.claims import CLAIMS, examine
    from embedkit.bench.systems import systems
    from embedkit.pages.plots import save_png

    asked = systems(_names(models), _names(features), features_model)
    manifest = read(data, dataset, root)
    spec = TrainSpec(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        precision=precision,
    )
    rows = bench_paper.run(
        manifest,
        out,
        asked,
        spec,
        folds=manifest.folds if folds == "all" else _names(folds) or [""],
        seeds=range(seeds),
        recurrent_epochs=recurrent_epochs,
        keep_models=keep_models,
        workers=workers,
        device=device,
        track=track,
    )
    verdicts = examine(CLAIMS, bench_paper.scored(rows), track)
    speeds = bench_paper.measure_speeds(rows, out, spec, device, track)
    text = tables.as_markdown(rows, speeds, verdicts)
    with atomic_write(out / "table.md") as file:
        file.write(f"{text}\n".encode())
    save_png(pictures.over_parameters(rows), out / "auc.png")
    save_png(pictures.over_bytes(rows), out / "bytes.png")
    if json:
        print_json(tables.as_values(rows, speeds, verdicts))
    else:
        print(text)
    message(f"{out}: table.md, auc.png, bytes.png; {len(rows)} row{'s' * (len(rows) > 1)}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@bench.command()
def extract(
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; an hour of it is enough.")
    ],
    model: Model = DEFAULT_MODEL,
    runtime: RuntimeName = None,
    dim: Dim = None,
    batch_size: Annotated[
        int, typer.Option(help="The number of segments that the network takes at a time.", min=1)
    ] = 8,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Measure how fast this machine extracts, stage by stage.

    Each stage runs alone on all processors, then all of them run together, three times each.
    Nothing is kept. The speed of the network is compared with what the machine's matrix products
    reach.

    Example: embedkit bench extract sounds/
    """
    from embedkit.bench.extraction import measure_extraction
    from embedkit.runtime import Runtime

    with extraction_progress() as report:
        found = measure_extraction(
            audio_dir,
            model,
            runtime=None if runtime is None else Runtime.parse(runtime),
            dim=dim,
            batch_size=batch_size,
            workers=workers,
            report=report,
        )
    if json:
        print_json(asdict(found))
        return
    rows = [
        [stage, f"{rate:,.0f}", f"{100 * found.ideal / rate:.0f} %"]
        for stage, rate in found.stages.items()
    ]
    rows.append(["all, none waiting", f"{found.ideal:,.0f}", "100 %"])
    rows.append(
        ["a whole run", f"{found.end_to_end:,.0f}", f"{100 * found.ideal / found.end_to_end:.0f} %"]
    )
    print_table(["stage", "seconds of audio a second", "time"], rows)
    print(
        f"\n{found.processor}, {found.workers} workers, {found.runtime}: a whole run reaches"
        f" {100 * found.end_to_end / found.ideal:.0f} % of what its stages allow, after"
        f" {found.startup_s:.1f} s to start; a worker held at most"
        f" {found.peak_bytes / 2**20:.0f} MB.\n"
        f"The network computes {found.network_gflops:.0f} of {found.matmul_gflops:.0f} GFLOP/s that"
        " float32 matrix products reach"
        f" ({100 * found.network_gflops / found.matmul_gflops:.0f} %)."
    )
