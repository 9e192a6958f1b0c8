"""embedkit extract: a folder of audio -> an embedding folder."""

from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._output import (
    SOME_FAILED,
    Device,
    Dim,
    Json,
    duration,
    message,
    print_json,
    report_failures,
    track,
)


@app.command()
def extract(
    audio_dir: Annotated[Path, typer.Argument(help="Folder of audio, searched recursively.")],
    model: Annotated[Path, typer.Option(help="The model folder.")],
    out: Annotated[Path, typer.Option(help="The embedding folder to write or to go on with.")],
    dim: Dim = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds between two segments.", show_default="the model's")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Segments at a time.")] = 32,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    channel: Annotated[
        str, typer.Option(help="mix, left, right, or a channel's number from 1 on.")
    ] = "mix",
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Extract embeddings to Parquet.

    Run it again after a crash, or when files have come: it goes on with what is missing. A file
    that cannot be read is reported and does not stop the run; the exit code is 3 as long as the
    folder's journal has such a file.

    Example: embedkit extract sounds/ --model model --out embeddings
    """
    from embedkit.audio.decode import Channel
    from embedkit.extraction import extract as run

    done = run(
        audio_dir,
        model,
        out,
        dim=dim,
        hop_s=hop,
        batch_size=batch_size,
        workers=workers,
        channel=Channel.parse(channel),
        device=device,
        track=track,
    )
    if json:
        print_json(
            {
                "embeddings": str(out),
                "files": done.done,
                "rows": done.rows,
                "audio_hours": done.audio_s / 3600,
                "already_done": done.already_done,
                "failed_before": done.failed_before,
                "changed": done.changed,
                "skipped": done.skipped,
                "failures": [
                    {"clip": record.clip, "kind": record.kind, "message": record.message}
                    for record in done.failures
                ],
            }
        )
    else:
        print(
            f"{out}: {done.done} files, {duration(done.audio_s)} of audio, {done.rows} rows"
            f" ({done.already_done} files were there already)"
        )
    if done.changed:
        message(f"changed since they were embedded, their rows are old: {done.changed}")
    if done.skipped:
        message(f"skipped, not audio: {done.skipped}")
    failures = [(record.clip, record.kind, record.message) for record in done.failures]
    report_failures(failures, of=done.done)
    if done.failed_before:
        message(
            f"failed or damaged in earlier runs: {done.failed_before}; embedkit info counts them"
        )
        raise typer.Exit(SOME_FAILED)
