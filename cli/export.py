"""embedkit export: a model folder -> what ONNX Runtime runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import require

from ._app import app
from ._extraction import model_at
from ._output import Json, message, print_json
from ._outputs import OutFile


class Form(StrEnum):
    """What a model can be exported to."""

    ONNX = "onnx"


@app.command()
def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="The model folder, or the name of one of embedkit's own.", callback=model_at
        ),
    ],
    to: Annotated[Form, typer.Option(help="The format to write.")] = Form.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise the network to 8 bits, for speed.")
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Calibrate the 8-bit network on the audio in this folder.",
            show_default="the sample of training segments in the model folder",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        OutFile(
            help="Write one file that takes a waveform and gives embeddings.",
            show_default="the network of the model folder, which `extract` runs",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write what ONNX Runtime runs, and check it against torch.

    Without --out it writes the network of the model folder: network.onnx, or with --int8
    network-int8.onnx for `embedkit extract --runtime onnx-int8`. `train` and `distil` write
    network.onnx by themselves. With --out it writes one file for other programs: the input
    `waveform` is float32 [samples], and the output `embeddings` is float32 [segments, D]. Its
    metadata give the sample rate of the waveform.

    Example: embedkit export model --int8
    """
    require("torch", "train")
    from embedkit.export import export as run

    del to  # there is one
    done = run(model, out, int8=int8, calibration=calibration)
    size = done.path.stat().st_size
    if json:
        print_json(
            {
                "file": str(done.path),
                "bytes": size,
                "difference": done.difference,
                "cosine": done.cosine,
            }
        )
        return
    print(f"{done.path}: {size / 1e6:.1f} MB, mean cosine to torch {done.cosine:.5f}")
    if int8 and done.cosine < 0.999:
        message("that is less than 0.999: compare results before you rely on it")
