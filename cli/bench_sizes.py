"""embedkit bench sizes: which size of vector to choose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.config import Schedule, TrainSpec
from embedkit.errors import UsageError

from ._data import Dataset, Root, read
from ._labels import Cover, LabelColumn, MarkedName, Within, parse_rule
from ._output import Device, Json, message, print_json, print_table, track
from ._outputs import OutFile, OutFolder
from ._training import FeatureWorkers
from ._training import sizes as parse_sizes
from .bench import bench

if TYPE_CHECKING:
    from embedkit.classifiers.sizes import SizeRow
    from embedkit.labels.join import Labelled

RECIPE = TrainSpec()
CURVES = {
    "trained for each": ("trained",),
    "first numbers": ("prefix", "whole"),
    "PCA": ("pca", "whole"),
    "random projection": ("random projection", "whole"),
    "first numbers, int8": ("prefix, int8",),
}


@bench.command()
def sizes(
    embeddings: Annotated[
        Path | None, typer.Option(help="The embedding folder whose vectors are made smaller.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="With --embeddings: labels as `embedkit classify fit` takes them: a CSV or"
            " Parquet manifest with path and label (or labels), or the word `folders`."
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled clips to train networks on, as `embedkit train` takes them."),
    ] = None,
    dataset: Dataset = None,
    root: Root = None,
    out: Annotated[
        Path | None, OutFolder(help="With --data: the folder to write, or to go on with.")
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            help="With --data: a family of networks: gap-lite, gap, bneck-mid,"
            " bneck-final or fc. Repeatable."
        ),
    ] = None,
    at: Annotated[
        str, typer.Option("--sizes", help="The sizes to compare, with commas between them.")
    ] = "64,128,256,512,1024",
    epochs: Annotated[
        int, typer.Option(help="The number of epochs of every network.")
    ] = RECIPE.epochs,
    batch_size: Annotated[int, typer.Option(help="Segments in a batch.")] = RECIPE.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's learning rate.")
    ] = RECIPE.learning_rate,
    schedule: Annotated[
        Schedule, typer.Option(help="How the learning rate changes.")
    ] = RECIPE.schedule,
    workers: FeatureWorkers = 1,
    device: Device = "cpu",
    hold_out_fold: Annotated[
        str | None, typer.Option(help="Score this fold, and fit on all others.")
    ] = None,
    k_folds: Annotated[
        int | None,
        typer.Option(
            help="With --embeddings: draw this many folds at random, and hold out each in turn."
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(help="With --embeddings: hold out this share, drawn at random."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The seed of everything that is drawn at random.")
    ] = RECIPE.seed,
    label_column: LabelColumn = "",
    marked: MarkedName = "some",
    cover: Cover = 0.5,
    within: Within = 0.5,
    picture: Annotated[
        Path | None, OutFile(help="Draw quality over bytes to this .png file.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare sizes of vectors: what each costs, and what it keeps.

    With --embeddings, smaller vectors are made of the ones in the folder: their first numbers,
    principal components, a random projection, and numbers of 8 bits. With --data, networks are
    trained too: one for each size and, where the family allows it, one for all sizes (Matryoshka).
    Run it again after an interruption, and it goes on. All are scored on held-out clips, beside the
    bytes that an hour of audio takes and the time of a search.

    Example: embedkit bench sizes --embeddings embeddings --labels sounds.csv
    """
    from embedkit.classifiers.sizes import advise
    from embedkit.labels.join import join_labels
    from embedkit.pages.plots import save_png, size_curves
    from embedkit.store import EmbeddingTable

    wanted = parse_sizes(at, "--sizes")
    if embeddings is not None:
        if not labels or data or dataset or out or family:
            raise UsageError("--embeddings goes with --labels, and without --data, --out, --family")
        split = (hold_out_fold, k_folds, test_share)
        rule = parse_rule(marked, cover, within)
        joined = join_labels(
            EmbeddingTable.open(embeddings), labels, rule=rule, label_column=label_column
        )
        how, rows = _of_vectors(joined, split, seed, wanted)
    elif out is not None:
        if labels or k_folds or test_share:
            raise UsageError(
                "--data goes without --labels, --k-folds and --test-share: name a fold with"
                " --hold-out-fold, or bring a split column"
            )
        spec = TrainSpec(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            hold_out_fold=hold_out_fold or "",
            seed=seed,
        )
        how, rows = _of_networks(
            data, dataset, root, out, family or ["gap-lite"], spec, wanted, workers, device
        )
    else:
        raise UsageError("name --embeddings and --labels, or --data and --out")
    advice = advise(rows, "logistic")
    if picture is not None:
        save_png(size_curves(_curves(rows), _quality(rows)), picture)
        message(f"{picture}: quality over bytes")
    if json:
        kept = ["how", "size", "bytes_an_hour", "figures", "search_ms"]
        kept += ["network", "parameters", "macs"] if rows[0].network else []
        print_json(
            {
                "split": how,
                "rows": [{name: getattr(row, name) for name in kept} for row in rows],
                "advice": advice,
            }
        )
        return
    message(how)
    _print(rows)
    print(f"\n{advice}")


def _of_vectors(
    joined: "Labelled",
    split: tuple[str | None, int | None, float | None],
    seed: int,
    wanted: tuple[int, ...],
) -> tuple[str, "list[SizeRow]"]:
    from embedkit.classifiers.sizes import compare_sizes
    from embedkit.classifiers.splits import choose

    fold, folds, share = split
    how, held = choose(joined, fold=fold, folds=folds, share=share, seed=seed)
    return how, list(compare_sizes(joined, held, sizes=wanted, seed=seed, track=track))


def _of_networks(
    data: Path | None,
    dataset: str | None,
    root: Path | None,
    out: Path,
    families: list[str],
    spec: TrainSpec,
    wanted: tuple[int, ...],
    workers: int,
    device: str,
) -> tuple[str, "list[SizeRow]"]:
    from embedkit.bench.sizes import train_sizes

    manifest = read(data, dataset, root)
    rows = train_sizes(
        manifest,
        out,
        families,
        spec,
        sizes=wanted,
        workers=workers,
        device=device,
        track=track,
    )
    held = f"fold {spec.hold_out_fold}" if spec.hold_out_fold else "the split test"
    return f"{held} held out; {spec.epochs} epochs each", list(rows)


def _curves(rows: "list[SizeRow]") -> dict[str, list[tuple[float, float]]]:
    """Points of megabytes an hour and quality, for each way in which vectors are made."""
    curves = {}
    networks = list(dict.fromkeys(row.network for row in rows))
    for network in networks:
        for name, kinds in CURVES.items():
            if len(networks) > 1 and name in ("PCA", "random projection"):
                continue  # the table has them; in a picture of several networks nobody finds them
            points = [
                (row.bytes_an_hour / 1e6, row.figures["logistic"])
                for row in rows
                if row.network == network and row.how in kinds
            ]
            if len(points) > 1:
                curves[f"{network}, {name}" if network else name] = points
    return curves


def _quality(rows: "list[SizeRow]") -> str:
    return "accuracy" if rows[0].correct else "mAP"


def _print(rows: "list[SizeRow]") -> None:
    names = list(rows[0].figures)
    header = ["vectors", "numbers", "MB an hour", *names, "search, ms"]
    trained = bool(rows[0].network)
    if trained:
        header = ["network", *header, "parameters", "MMAC"]
    table = []
    for row in rows:
        cells = [
            str(row.how),
            f"{row.size:,}",
            f"{row.bytes_an_hour / 1e6:.1f}",
            *(f"{row.figures[name]:.3f}" for name in names),
            f"{row.search_ms:.2f}",
        ]
        if trained:
            assert row.parameters is not None
            assert row.macs is not None
            cells = [row.network, *cells, f"{row.parameters:,}", f"{row.macs / 1e6:.1f}"]
        table.append(cells)
    print_table(header, table)
