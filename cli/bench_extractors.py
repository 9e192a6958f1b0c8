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
    audio_dir: Annotated[Path, typer.Argument(help="Folder of audio, searched recursively.")],
    labels: Annotated[
        str,
        typer.Option(
            help="Of whole clips: a CSV or Parquet manifest with path and label (or labels), or the"
            " word `folders`; as of `embedkit classify fit`."
        ),
    ],
    out: Annotated[Path, OutFolder(help="Folder to write, or to go on with.")],
    models: Annotated[
        str,
        typer.Option(
            help="Model folders and descriptions of others' extractors, with commas between them;"
            " `default` is embedkit's own model."
        ),
    ] = "default",
    label_column: LabelColumn = "",
    hold_out_fold: Annotated[
        str | None, typer.Option(help="Fit on all other folds, score this one.")
    ] = None,
    k_folds: Annotated[
        int | None, typer.Option(help="Draw so many folds, hold out each in turn.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Hold out this share, drawn at random.")
    ] = None,
    workers: Workers = None,
    seed: Annotated[int, typer.Option(help="Fixes everything that is drawn.")] = 0,
    json: Json = False,
) -> None:
    """Compare extractors on your own labels: what each costs, and what its vectors are worth.

    Each embeds the folder; run it again after an interruption and it goes on. Held-out clips are
    named by logistic regression, by nearest neighbours, and by 1, 4 and 16 examples of each label;
    they are looked for by each other, and put into clusters. Each figure has its 95 % interval; a
    star marks what is clearly worse than the best of its line.

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
