"""embedkit bench extractors: which extractor to take, by one's own labels."""

from pathlib import Path
from typing import Annotated

import typer

from ._extraction import Workers, extraction_progress
from ._labels import LabelColumn
from ._output import Json, message, print_json, print_table, resumable, track
from ._outputs import OutFolder
from .bench import bench


@bench.command()
@resumable("run again")
def extractors(
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; the folders in it are searched too.")
    ],
    labels: Annotated[
        str,
        typer.Option(
            help="Labels of whole clips, as `embedkit classify fit` takes them: a CSV or"
            " Parquet manifest with path and label (or labels), or the word `folders`."
        ),
    ],
    out: Annotated[Path, OutFolder(help="The folder to write, or to go on with.")],
    models: Annotated[
        str,
        typer.Option(
            help="The extractors to compare, with commas between them: model folders,"
            " extractor.toml files, and names as `extract --model` takes them."
        ),
    ] = "default",
    label_column: LabelColumn = "",
    hold_out_fold: Annotated[
        str | None, typer.Option(help="Score this fold, and fit on all others.")
    ] = None,
    k_folds: Annotated[
        int | None, typer.Option(help="Draw this many folds at random, and hold out each in turn.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Hold out this share, drawn at random.")
    ] = None,
    workers: Workers = None,
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
    json: Json = False,
) -> None:
    """Compare extractors on your own labels: what each costs, and what its vectors are worth.

    Each extractor embeds the folder. Run it again after an interruption, and it goes on. The
    vectors name held-out clips by logistic regression, by nearest neighbours, and by 1, 4 and 16
    examples of each label; they find clips of the same label, and put clips into clusters. Each
    figure has its 95 % interval; a star marks what is clearly worse than the best of its line.

    Example: embedkit bench extractors sounds --labels all.csv --models default,my.toml --out table
    """
    from embedkit.atomic import atomic_write
    from embedkit.bench.extractors import advise, compare_extractors
    from embedkit.bench.shown import as_table, as_values, over_costs
    from embedkit.pages.plots import save_png

    with extraction_progress() as report:
        how, rows = compare_extractors(
            audio_dir,
            labels,
            [name.strip() for name in models.split(",") if name.strip()],
            out,
            label_column=label_column,
            fold=hold_out_fold,
            folds=k_folds,
            share=test_share,
            seed=seed,
            workers=workers,
            report=report,
            track=track,
        )
    advice = advise(rows)
    header, lines = as_table(rows)
    markdown = [header, ["---"] * len(header), *lines]
    text = "\n".join(f"| {' | '.join(line)} |" for line in markdown)
    with atomic_write(out / "table.md") as file:
        file.write(f"{text}\n\n{advice}\n".encode())
    save_png(over_costs(rows), out / "quality.png")
    if json:
        print_json(as_values(how, rows, advice))
    else:
        message(how)
        print_table(header, lines)
        print("\n* clearly worse than the best of its line: paired bootstrap, p < 0.05\n")
        print(advice)
    message(f"{out}: table.md, quality.png, and the vectors of {len(rows)} extractors")
