"""embedkit models: the table of networks."""

from typing import Annotated

import typer

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

    Example: embedkit models --classes 10
    """
    from dataclasses import replace

    import torch

    from embedkit.models import MODELS, build_model, count_macs, count_parameters

    rows = []
    for name, model in MODELS.items():
        spec = replace(model, classes=classes)
        with torch.device("meta"):  # shapes alone: no weights are drawn
            network = build_model(spec)
        rows.append(
            {
                "name": name,
                "parameters": count_parameters(network),
                "embedding_size": network.embedding_size,
                "macs": count_macs(spec),
            }
        )
    if json:
        print_json(rows)
    else:
        print_table(
            ["name", "parameters", "embedding size", "MACs a segment"],
            [
                [
                    row["name"],
                    *(f"{row[key]:,}" for key in ("parameters", "embedding_size", "macs")),
                ]
                for row in rows
            ],
        )
