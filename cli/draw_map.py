"""embedkit map: a collection on a plane."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._field import After, Before, InHours, Sites, field_filter
from ._labels import Cover, LabelColumn, MarkedName, Within, parse_rule
from ._output import message, report_failures, track
from ._outputs import OutFile


@app.command(name="map")
def draw_map(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    out: Annotated[
        Path, OutFile(help="The file to write: a .png picture, or an .html page with sound.")
    ],
    how: Annotated[
        str,
        typer.Option(
            "--projection",
            help="How clips are placed on the plane: pca, tsne, or umap (embedkit[umap]).",
        ),
    ] = "pca",
    labels: Annotated[
        str | None,
        typer.Option(
            help="Labels as `embedkit classify fit` takes them; where they have times, the"
            " segments are drawn.",
            show_default="the clips' first folders, else the names of their regions",
        ),
    ] = None,
    label_column: LabelColumn = "",
    marked: MarkedName = "some",
    cover: Cover = 0.5,
    within: Within = 0.5,
    after: After = None,
    before: Before = None,
    hours: InHours = None,
    site: Sites = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio-root",
            "--audio",
            help="The folder that the sounds are in.",
            show_default="where they were embedded",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
) -> None:
    """Draw the clips on a plane, where clips that are alike stand near each other.

    The page works without a server: point at a sound to see its name, click it to hear it. Where
    the folder's model brings names, regions are called by the names that tell them from the others.

    Example: embedkit map embeddings --out map.html
    """
    from embedkit.labels.join import clip_names, find_labels, join_known
    from embedkit.names.bundled import find_names
    from embedkit.pages.map import write_map
    from embedkit.pages.projection import Projection
    from embedkit.store import EmbeddingTable

    if how not in set(Projection):
        raise UsageError(f"no projection {how!r}{choices(how, Projection)}")
    table = EmbeddingTable.open(emb_dir)
    named: list[tuple[str, str]] = []
    segments = None
    if labels is not None:
        known, manifest = find_labels(clip_names(table), table, labels, label_column)
        if manifest.has_times:
            rule = parse_rule(marked, cover, within)
            segments = join_known(table, known, manifest, rule=rule)
        else:
            named = [(name, ", ".join(clip.labels)) for name, clip in known.items()]
    done = write_map(
        table,
        out,
        how=Projection(how),
        labels=named,
        names=find_names(table),
        segments=segments,
        among=field_filter(table, after, before, hours, site),
        audio=audio,
        seed=seed,
        track=track,
    )
    message(f"{out}: {done.sounds} sounds")
    report_failures(done.failures, of=done.sounds)
