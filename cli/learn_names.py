"""embedkit learn-names: a model folder and a teacher -> names for what the model hears."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._output import Device, Json, print_json, print_table, report_failures, track
from ._outputs import OutFolder, folder


@app.command("learn-names")
def learn_names(
    model: Annotated[
        Path, typer.Argument(help="The model folder; the folder names/ in it is written anew.")
    ],
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; the folders in it are searched too.")
    ],
    teacher: Annotated[
        Path, typer.Option(help="The extractor.toml of a network with logits and labels.")
    ],
    cache: Annotated[
        Path | None,
        OutFolder(help="Keep the decoded sounds in this folder.", show_default="they are not kept"),
    ] = None,
    workers: Annotated[int, typer.Option(help="The number of processes that decode.", min=1)] = 1,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
    json: Json = False,
) -> None:
    """Teach a model what another extractor calls the sounds of a folder.

    Afterwards `embedkit tag`, `search --text` and others name what the model's vectors stand for,
    and nobody has to label anything. The model itself stays as it is. An eighth of the folders is
    held out: their sounds calibrate and judge the names.

    Example: embedkit learn-names model sounds/ --teacher teacher/extractor.toml
    """
    from embedkit.names.bundled import NAMES
    from embedkit.scratch import scratch_folder
    from embedkit.training.names import fit_names

    folder(model / NAMES)  # looked at before the work begins
    with ExitStack() as stack:
        fitted, failures, clips = fit_names(
            model,
            audio_dir,
            teacher,
            cache=cache or stack.enter_context(scratch_folder()),
            device=device,
            workers=workers,
            seed=seed,
            track=track,
        )
    if json:
        print_json([asdict(each) for each in fitted])
    else:
        print_table(
            ["numbers", "likeliest name is the teacher's", "among the likeliest 5", "off by"],
            [[f.size, f"{f.agreement:.1%}", f"{f.within_5:.1%}", f"{f.off:.3f}"] for f in fitted],
        )
    report_failures(failures, of=clips)
