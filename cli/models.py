"""embedkit models: the table of networks, and embedkit's own model."""

import json as json_format
from typing import Annotated, Any

import typer

from embedkit.config import DEFAULT_MODEL

from ._app import app
from ._output import Json, print_json, print_table


@app.command()
def models(
    classes: Annotated[
        int, typer.Option(help="Outputs of the network; AudioSet has 527.", min=1)
    ] = 527,
    json: Json = False,
) -> None:
    """List the networks: parameters, embedding size, multiply-accumulates a segment.

    Below them stands embedkit's own model, which is used where none is named, by the size of its
    vectors: megabytes for an hour of audio, and how many of ESC-10's clips a logistic regression on
    them gets right.

    Example: embedkit models --classes 10
    """
    from embedkit.models.table import COUNTS

    rows = []
    for name, counts in COUNTS.items():
        found = counts.with_classes(classes)
        rows.append(
            {
                "name": name,
                "parameters": found.parameters,
                "embedding_size": found.embedding_size,
                "macs": found.macs,
            }
        )
    own = _own()
    if json:
        print_json({"networks": rows, "default": own})
        return
    print_table(
        ["name", "parameters", "embedding size", "MACs a segment"],
        [
            [row["name"], *(f"{row[key]:,}" for key in ("parameters", "embedding_size", "macs"))]
            for row in rows
        ],
    )
    print(f"\nembedkit's own model: {own['network']}, distilled, {own['embedding_size']} numbers")
    print_table(
        ["numbers", "MB an hour", "ESC-10"],
        [
            [str(row["size"]), f"{row['bytes_an_hour'] / 1e6:.1f}", f"{row['esc10_accuracy']:.1%}"]
            for row in own["sizes"]
        ],
    )


def _own() -> dict[str, Any]:
    from embedkit.checkpoint import load_config

    config = load_config(DEFAULT_MODEL)
    # benchmarks/default_model.py wrote them.
    measured = json_format.loads((DEFAULT_MODEL / "figures.json").read_bytes())
    return {
        "network": config.model.name,
        "embedding_size": config.size,
        "sizes": [
            {"size": size, "bytes_an_hour": 4 * 3600 * size, **measured[str(size)]}
            for size in config.model.dims
        ],
    }
