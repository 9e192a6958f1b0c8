"""embedkit extract: a folder of audio -> an embedding folder."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedkit.config import DEFAULT_MODEL
from embedkit.errors import UsageError

from ._app import app
from ._extraction import Model, RuntimeName, Workers, extraction_progress
from ._output import (
    SOME_FAILED,
    Dim,
    Json,
    SoundTrack,
    duration,
    message,
    name_failures,
    print_json,
    resumable,
)
from ._output import track as progress
from ._outputs import OutFile, OutFolder

if TYPE_CHECKING:
    from embedkit.audio.files import Skipped
    from embedkit.extraction import Estimate, Extraction
    from embedkit.names.summary import Summary


class Engine(StrEnum):
    """What schedules the work."""

    LOCAL = "local"
    RAY = "ray"


@app.command()
def extract(
    audio_dir: Annotated[
        Path, typer.Argument(help="The folder of audio; the folders in it are searched too.")
    ],
    out: Annotated[Path, OutFolder(help="The embedding folder to write or to go on with.")],
    model: Model = DEFAULT_MODEL,
    dim: Dim = None,
    runtime: RuntimeName = None,
    hop: Annotated[
        float | None,
        typer.Option(
            help="The seconds of the recording from the start of one segment to that of the next.",
            show_default="the model's",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="The number of segments that the network takes at a time.",
            show_default="8, on a GPU 256",
        ),
    ] = None,
    workers: Workers = None,
    channel: Annotated[
        str, typer.Option(help="The channel to hear: mix, left, right, or a number from 1 on.")
    ] = "mix",
    track: SoundTrack = None,
    speed: Annotated[
        float | None,
        typer.Option(
            help="How many times as fast as recorded a file is heard: 0.1 for bats and"
            " insects, 8 for whales. All times stay those of the recording.",
            show_default="as the folder was made, else 1",
        ),
    ] = None,
    band: Annotated[
        str | None,
        typer.Option(
            help="The band that is heard, LOW-HIGH in Hz of the recording, as in 2000-8000.",
            show_default="as the folder was made, else all",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="The device that computes the network: cpu, cuda (all cards of this"
            " machine), cuda:1, mps."
        ),
    ] = "cpu",
    shard: Annotated[
        str,
        typer.Option(
            help="Take the I-th of N shares of the files, I/N, for runs on many machines."
        ),
    ] = "1/1",
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Embed changed files anew, and take out the rows of files that are gone.",
        ),
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Try the files that have failed again.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="The seconds after which a decoder that gives no sign is killed.")
    ] = 300.0,
    max_errors: Annotated[
        int | None,
        typer.Option(
            help="Stop when this many files have failed; on a cluster all shards count together.",
            show_default="never",
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Where the work runs: local, in processes of this machine;"
            " ray, on a cluster (embedkit[ray])."
        ),
    ] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(help="The address of the Ray cluster.", show_default="RAY_ADDRESS, or here"),
    ] = None,
    audio_root: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the collection, AUDIO_DIR or one above it: clips are named by"
            " their paths below it. Name it where a collection has moved; the sizes and"
            " times of its files must agree.",
            show_default="AUDIO_DIR",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tell what there is to do and how long it takes."),
    ] = False,
    tag: Annotated[
        Path | None,
        OutFile(
            help="Write the most likely names of each clip to this .csv or .parquet file, as"
            " `embedkit tag EMB_DIR --out` does, and say what is heard in the folder."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Extract embeddings to Parquet.

    Run it again after a crash, or when files have been added, and it goes on with what is missing.
    A file that cannot be read is reported and does not stop the run; the exit code is 3 as long as
    the folder's journal has such a file.

    Example: embedkit extract sounds/ --out embeddings
    """
    from embedkit.audio.decode import Channel
    from embedkit.extraction import Settings, Shard, estimate
    from embedkit.extraction import extract as extract_here
    from embedkit.hearing import Band
    from embedkit.processes import leave_pandas_out
    from embedkit.runtime import Runtime

    if address is not None and engine is not Engine.RAY:
        raise UsageError("--address is for --engine ray")
    if engine is Engine.RAY and (workers is not None or shard != "1/1"):
        raise UsageError("--engine ray cuts the work by itself: leave out --workers and --shard")
    settings = Settings(
        runtime=None if runtime is None else Runtime.parse(runtime),
        dim=dim,
        hop_s=hop,
        batch_size=batch_size,
        workers=workers,
        channel=Channel.parse(channel),
        track=track,
        speed=speed,
        band=None if band is None else Band.parse(band),
        device=device,
        shard=Shard.parse(shard),
        refresh=refresh,
        retry_errors=retry_errors,
        timeout=timeout,
        max_errors=max_errors,
        audio_root=audio_root,
    )
    if tag is not None:  # these load scikit-learn
        from embedkit.classifiers.tracks import check_table
        from embedkit.names.bundled import check_named

        check_table(tag)
        check_named(model, dim)
    if dry_run:
        _show_estimate(estimate(audio_dir, model, out, settings), json)
        return
    run: Callable[..., Extraction] = extract_here
    if engine is Engine.RAY:
        from embedkit.extraction.cluster import extract_on_ray

        run = partial(extract_on_ray, address=address)
    else:
        leave_pandas_out()
    with resumable("run again"), extraction_progress() as report:
        done = run(audio_dir, model, out, settings, report)
    _show(done, out, None if tag is None else _tag(out, model, tag), json)


def _tag(emb_dir: Path, model: Path, out: Path) -> "Summary":
    """Write the names of the clips that the folder now has."""
    from embedkit.names.bundled import load_names
    from embedkit.names.summary import summarise
    from embedkit.names.tagging import tag_clips, write_tags
    from embedkit.store import EmbeddingTable

    table = EmbeddingTable.open(emb_dir)
    names = load_names(table, model)
    for _ in write_tags(out, tag_clips(table, names)):
        pass
    return summarise(table, names, progress)


def _show_estimate(found: "Estimate", json: bool) -> None:
    if json:
        print_json(vars(found) | _skipped_json(found.skipped))
        return
    print(
        f"{found.files} files, about {duration(found.audio_s)} of audio and {found.rows} rows,"
        f" in about {duration(found.seconds)}"
    )
    message(
        f"tried on {found.sampled} files: {found.speed:.0f} times real time;"
        f" {found.already_done} files are there already, {found.changed} have changed,"
        f" {found.vanished} are gone"
    )
    _show_skipped(found.skipped)


def _skipped_json(skipped: "Skipped") -> dict[str, Any]:
    return {
        "skipped": skipped.not_audio.total(),
        "skipped_suffixes": dict(skipped.not_audio.most_common()),
        "left_alone": dict(skipped.left_alone.most_common()),
    }


def _show_skipped(skipped: "Skipped") -> None:
    from embedkit.audio.files import count_text

    for what, counts in (
        ("skipped, not audio", skipped.not_audio),
        ("left alone", skipped.left_alone),
    ):
        if counts:
            message(f"{what}: {counts.total()} ({count_text(counts)})")


def _show(done: "Extraction", out: Path, heard: "Summary | None", json: bool) -> None:
    if json:
        print_json(
            {
                "embeddings": str(out),
                "files": done.files,
                "rows": done.rows,
                "audio_hours": done.audio_s / 3600,
                "already_done": done.already_done,
                "failed_before": done.failed_before,
                "changed": done.changed,
                "vanished": done.vanished,
                **_skipped_json(done.skipped),
                "remarks": done.remarks,
                "stopped": done.stopped,
                "worker_peak_mb": done.peak_bytes / 2**20,
                **({} if heard is None else {"heard": heard.rows()}),
                "errors": done.errors,
                "failures": [
                    {"clip": record.clip, "kind": record.kind, "message": record.message}
                    for record in done.failures
                ],
            }
        )
    else:
        print(
            f"{out}: {done.files} files, {duration(done.audio_s)} of audio, {done.rows} rows"
            f" ({done.already_done} files were there already)"
        )
        if heard is not None:
            print(f"heard: {heard}")
    if done.changed:
        message(
            f"changed since they were embedded, their rows are old: {done.changed}"
            " (--refresh embeds them anew)"
        )
    if done.vanished:
        message(
            f"no longer there, their rows still are: {done.vanished} (--refresh takes them out)"
        )
    _show_skipped(done.skipped)
    if done.peak_bytes:
        message(f"a worker held at most {done.peak_bytes / 2**20:.0f} MB")
    if done.failed_before:
        message(
            f"failed or damaged in earlier runs: {done.failed_before}; embedkit info counts them,"
            " --retry-errors tries them again"
        )
    if done.remarks:
        message(
            f"read, though something about them is odd: {done.remarks}; the messages of the journal"
            " say what"
        )
    failures = [(record.clip, record.kind, record.message) for record in done.failures]
    name_failures(failures, failed=done.errors.total(), of=done.files)
    if done.stopped:
        message(f"stopped after {done.errors.total()} errors; run again to go on")
        raise typer.Exit(1)
    if done.errors.total() or done.failed_before:
        raise typer.Exit(SOME_FAILED)
