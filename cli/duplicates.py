"""embedkit duplicates: clips that are nearly the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._output import Json, message, print_json, print_table, track


@app.command()
def duplicates(
    emb_dir: Annotated[Path, typer.Argument(help="The embedding folder.")],
    least: Annotated[
        float,
        typer.Option(help="The cosine from which on two clips are nearly the same.", min=-1, max=1),
    ] = 0.98,  # as embedkit.search.duplicates.LEAST
    json: Json = False,
) -> None:
    """List pairs of clips that are nearly the same: copies, other formats, other gains.

    Clips that pairs join are a group. Only the most similar pairs that join a group are listed, one
    fewer than it has clips: 2 pairs for 3 copies. Where the folder's model brings names, a group
    has the most likely name of its clips.

    Example: embedkit duplicates embeddings --least 0.99
    """
    from embedkit.names.bundled import find_names
    from embedkit.search.duplicates import find_duplicates, name_groups
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(emb_dir)
    pairs = find_duplicates(table, least, track)
    names = find_names(table)
    called = {} if names is None else name_groups(table, pairs, names)
    if json:
        print_json([asdict(pair) | {"name": called.get(pair.group)} for pair in pairs])
        return
    groups = len({pair.group for pair in pairs})
    message(
        f"{len(pairs)} pair{'s' * (len(pairs) != 1)} join{'s' * (len(pairs) == 1)}"
        f" {len(pairs) + groups} clips to {groups} group{'s' * (groups != 1)}"
    )
    if pairs:
        print_table(
            ["similarity", "group", *(["name"] if called else []), "clip", "other"],
            [
                [
                    f"{pair.similarity:.4f}",
                    pair.group,
                    *([called[pair.group]] if called else []),
                    pair.clip,
                    pair.other,
                ]
                for pair in pairs
            ],
        )
