"""embedkit cluster: sounds in clusters, and the most novel ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedkit.errors import UsageError, choices

from ._app import app
from ._labels import Cover, LabelColumn, Within, parse_rule
from ._output import Json, message, print_figures, print_json, print_table, track
from ._outputs import OutFile

if TYPE_CHECKING:
    from embedkit.labels.stretches import Rule
    from embedkit.search.clusters import Sounds
    from embedkit.store import EmbeddingTable


@app.command()
def cluster(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    method: Annotated[
        str,
        typer.Option(help="kmeans: every sound is in a cluster. hdbscan: where they are dense."),
    ] = "kmeans",
    clusters: Annotated[
        int | None,
        typer.Option(
            help="How many clusters kmeans makes.",
            min=1,
            show_default="the root of half the sounds, at most 100",
        ),
    ] = None,
    least: Annotated[
        int, typer.Option(help="The fewest sounds that make a cluster of hdbscan.", min=2)
    ] = 5,
    segments: Annotated[
        bool, typer.Option("--segments", help="Cluster every segment, not the mean of each clip.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Labels as `embedkit classify fit` takes them, to tell how far the clusters"
            " agree with them."
        ),
    ] = None,
    label_column: LabelColumn = "",
    cover: Cover = 0.5,
    within: Within = 0.5,
    novel: Annotated[
        int,
        typer.Option(
            help="List this number of sounds, those that are least like any other.", min=0
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        OutFile(
            help="Write a row for each sound, with its cluster, to this .csv or .parquet file."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The seed of everything that is drawn at random.", min=0)
    ] = 0,
    json: Json = False,
) -> None:
    """Put sounds that are alike into clusters, without any labels.

    A cluster is called by the name that tells it from the others, where the folder's model brings
    names; else by the folder that most of its sounds are in. Clips or segments are compared on the
    32 principal axes of the collection. Of more than 20,000 sounds, clusters are made of 20,000
    drawn at random, and every other sound joins the cluster of the nearest of these.

    The novelty of a sound is its distance to the fifth nearest other one.

    Example: embedkit cluster embeddings --novel 10
    """
    import numpy as np

    from embedkit.classifiers.tracks import check_table
    from embedkit.names.bundled import find_names
    from embedkit.search import clusters as search
    from embedkit.store import EmbeddingTable

    if method not in set(search.Method):
        raise UsageError(f"no method {method!r}{choices(method, search.Method)}")
    if out is not None:
        check_table(out)
    rule = parse_rule("some", cover, within)
    table = EmbeddingTable.open(emb_dir)
    sounds = search.read_sounds(table, segments=segments, seed=seed, track=track)
    if sounds.is_sampled:
        message(f"clusters of {len(sounds.drawn):,} of {len(sounds.clips):,}, drawn at random")
    found = search.find_clusters(
        sounds, search.Method(method), count=clusters, least=least, seed=seed
    )
    described = search.describe(sounds, found, find_names(table))
    agrees = {}
    if labels is not None:
        known = _labels(table, sounds, labels, label_column, rule, segments=segments)
        agrees = search.agreement(found, known)
    far = search.distances(sounds, track) if novel or out else np.zeros(0)
    if out is not None:
        search.write_clusters(out, sounds, found, described, far)
        message(f"{out}: clusters of {len(sounds.clips):,} sounds")
    farthest = [
        {
            "distance": float(far[row]),
            "clip": sounds.clips[row],
            "start_s": float(sounds.start_s[row]),
            "end_s": float(sounds.end_s[row]),
            "cluster": int(found[row]),
        }
        for row in np.argsort(-far, kind="stable")[:novel]
    ]
    if json:
        groups = [each._asdict() for each in described]
        print_json({"clusters": groups, "agreement": agrees or None, "novel": farthest})
        return
    print_table(
        ["cluster", "size", "clips", "name", "in its middle"],
        [
            [
                each.number or "none",
                each.size,
                each.clips,
                each.name,
                f"{each.clip}@{each.start_s:g}",
            ]
            for each in described
        ],
    )
    if agrees:
        print()
        print_figures(agrees)
    if farthest:
        print()
        rows = [
            [f"{distance:.3f}", f"{start_s:.2f}", f"{end_s:.2f}", number, clip]
            for distance, clip, start_s, end_s, number in map(dict.values, farthest)
        ]
        print_table(["distance", "start_s", "end_s", "cluster", "clip"], rows)


def _labels(
    table: "EmbeddingTable",
    sounds: "Sounds",
    source: str,
    label_column: str,
    rule: "Rule",
    *,
    segments: bool,
) -> list[str]:
    """The one label of each sound; empty where it has none, or several."""
    import numpy as np

    from embedkit.labels.join import clip_names, find_labels
    from embedkit.labels.marked import Segments, carriers

    known, manifest = find_labels(clip_names(table), table, source, label_column)
    if not manifest.has_times:
        alone = {name: clip.labels[0] for name, clip in known.items() if len(clip.labels) == 1}
        return [alone.get(clip, "") for clip in sounds.clips]
    if not segments:
        raise UsageError("the labels have times: add --segments")
    names, owner = np.unique(np.array(sounds.clips), return_inverse=True)
    every = Segments(names=names.tolist(), owner=owner, start_s=sounds.start_s, end_s=sounds.end_s)
    labels = sorted({label for clip in known.values() for label in clip.labels})
    has = np.array([carriers(every, known, label, rule) for label in labels])
    alone_at = np.where(has.sum(axis=0) == 1, has.argmax(axis=0), -1)
    return ["" if place < 0 else labels[place] for place in alone_at.tolist()]
