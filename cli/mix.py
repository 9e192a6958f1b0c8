"""embedkit mix: a folder of audio -> many more hours of it, augmented and mixed."""

from pathlib import Path
from typing import Annotated

import typer

from embedkit.errors import UsageError

from ._app import app
from ._output import Json, print_json, report_failures, track
from ._outputs import OutFolder


@app.command()
def mix(
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; the folders in it are searched too.")
    ],
    out: Annotated[Path, OutFolder(help="The folder to write or to go on with.")],
    hours: Annotated[float, typer.Option(help="The hours of audio to make.")],
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="PATTERN=W, as in 'birds/*=3', draws the clips that fit W times as often."
            " Repeatable; the first that fits counts."
        ),
    ] = None,
    sample_rate: Annotated[int, typer.Option(help="The sample rate of the files, in Hz.")] = 16000,
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn at random.")] = 0,
    workers: Annotated[int, typer.Option(help="The number of processes.", min=1)] = 1,
    json: Json = False,
) -> None:
    """Make scenes from which a student learns what a teacher hears (embedkit[mix]).

    It writes FLAC files of ten one-second scenes: excerpts of the clips at another speed, filtered,
    distorted and mixed. Embed them with the teacher and distil: any sound has a target. Run it
    again after a crash, and it goes on; the files are the same.

    Example: embedkit mix sounds/ --hours 40 --out mixtures
    """
    from embedkit.training.mixtures import mix as run

    done = run(
        audio_dir,
        out,
        hours=hours,
        sample_rate=sample_rate,
        weights=[_weight(text) for text in weight or ()],
        seed=seed,
        workers=workers,
        track=track,
    )
    if json:
        print_json({"folder": str(out), "files": done.files, "failures": done.failures})
    else:
        print(f"{out}: {done.files} files of 10 s")
    report_failures(done.failures, of=done.clips)


def _weight(text: str) -> tuple[str, float]:
    pattern, found, number = text.rpartition("=")
    try:
        if found:
            return pattern, float(number)
    except ValueError:
        pass
    raise UsageError(f"weight {text!r}: expected PATTERN=W, as in 'birds/*=3'")
