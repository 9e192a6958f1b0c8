"""A run: an embedding folder brought up to date with a folder of sound."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path

from embedkit.audio.decode import MIX, Channel
from embedkit.checkpoint import load_config
from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.extraction.collection import WHOLE, AudioCollection, Shard
from embedkit.extraction.local import Progress, run_local
from embedkit.extraction.worker import Job
from embedkit.runtime import Runtime, prepare
from embedkit.store import (
    MANIFEST,
    EmbeddingTable,
    Provenance,
    forget,
    only_run,
    read_manifest,
    remove_leftovers,
    start_folder,
)


@dataclass(kw_only=True)
class Extraction(Progress):
    """What a run did, or has done so far.

    Attributes:
        already_done: files that the folder had from earlier runs and that were left alone.
        failed_before: how many of them have a kind.
        changed: files that are not what they were when they were embedded; their rows are old.
        vanished: clips of the folder whose file is not there any more; their rows are still there.
        skipped: files that are not audio.
    """

    already_done: int
    failed_before: int
    changed: int
    vanished: int
    skipped: int


def extract(
    root: Path,
    model: Path,
    folder: Path,
    *,
    runtime: Runtime | None = None,
    dim: int | None = None,
    hop_s: float | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    channel: Channel = MIX,
    device: str = "cpu",
    shard: Shard = WHOLE,
    refresh: bool = False,
    retry_errors: bool = False,
    timeout: float = 300.0,
    max_errors: int | None = None,
    report: Callable[[Extraction], None] = lambda progress: None,
) -> Extraction:
    """Embed every audio file below a folder that the embedding folder does not have yet.

    The work is done by processes of its own, so a script that calls it needs
    `if __name__ == "__main__":`.

    Args:
        root: folder of audio, or one file.
        model: the model folder.
        folder: the embedding folder; made, or gone on with.
        runtime: what executes the network; by default what made the folder, in a new one ONNX
            Runtime on a CPU and torch on any other device.
        dim: size of the embedding, where the model was trained for several.
        hop_s: between two segments; the model's own by default.
        batch_size: segments that the network takes at a time.
        workers: processes; by default one for each processor. The vectors do not depend on it.
        channel: of the files.
        device: where torch computes.
        shard: the share of the collection that this run embeds; others may run beside it.
        refresh: embed files anew that have changed, and take out those that have vanished.
        retry_errors: try the files again that have failed.
        timeout: seconds that a decoder may take over nothing, after which it is given up.
        max_errors: how many files may fail before the run stops.
        report: called with the state of the run at least twice a second.

    Raises:
        UsageError: `root` does not exist or an option is out of range.
        ModelFolderError: `model` is not a model folder, or has no quantised network.
        EmbeddingFolderError: other settings made `folder`, or another run writes to it.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise UsageError("batch size and workers: at least 1")
    forkserver.ensure_running()  # it loads torch while the network is made ready
    if timeout <= 0 or (max_errors is not None and max_errors < 1):
        raise UsageError("timeout: above 0; max errors: at least 1")
    collection = AudioCollection(root, shard)
    with tempfile.TemporaryDirectory(prefix="embedkit-") as scratch:
        job = make_job(
            collection,
            model,
            folder,
            Path(scratch),
            runtime=runtime,
            dim=dim,
            hop_s=hop_s,
            batch_size=batch_size,
            channel=channel,
            device=device,
        )
        with only_run(folder, shard.number, shard.count):
            start_folder(folder, job.provenance)
            remove_leftovers(folder)
            journal = EmbeddingTable.open(folder).journal_table()
            survey = collection.survey(journal)
            again = (survey.changed if refresh else {}) | (survey.failed if retry_errors else {})
            vanished = survey.vanished
            if refresh:
                if vanished and not survey.known:
                    raise UsageError(
                        f"{root}: none of the {len(vanished)} clips of {folder} is there; is the"
                        " disk mounted? Nothing was changed"
                    )
                forget(folder, {*again, *vanished})
            elif again:
                forget(folder, again)
            known = set(journal["clip"].to_pylist()) - again.keys()
            run = Extraction(
                already_done=survey.known - len(again),
                failed_before=len(survey.failed.keys() - again.keys()),
                changed=len(survey.changed.keys() - again.keys()),
                vanished=0 if refresh else len(vanished),
                skipped=survey.skipped,
                total_files=survey.new + len(again),
                total_bytes=survey.new_bytes + sum(again.values()),
            )
            processors = count_processors()
            count = min(workers or processors, run.total_files)
            run_local(
                job,
                collection.tasks(known),
                run,
                shards=[shard.number - 1 + shard.count * number for number in range(count)],
                threads=max(1, processors // max(1, count)),
                timeout=timeout,
                max_errors=max_errors,
                report=lambda: report(run),
            )
    return run


def make_job(
    collection: AudioCollection,
    model: Path,
    folder: Path,
    scratch: Path,
    *,
    runtime: Runtime | None,
    dim: int | None,
    hop_s: float | None,
    batch_size: int,
    channel: Channel,
    device: str,
) -> Job:
    """What every worker of a run does, with all that it needs in `scratch`; see `extract`."""
    if runtime is None and (folder / MANIFEST).exists():
        runtime = _runtime_of(folder)
    config = load_config(model)
    segments = replace(config.segments, **({} if hop_s is None else {"hop_s": hop_s}))
    program = prepare(model, scratch, runtime=runtime, device=device, dim=dim)
    provenance = Provenance(
        audio_root=str(collection.base.resolve()),
        model=str(model.resolve()),
        fingerprint=program.fingerprint,
        embedding_size=program.embedding_size,
        features=config.features.to_dict(),
        segment_s=segments.duration_s,
        hop_s=segments.hop_s,
        channel=str(channel),
        runtime=str(program.runtime),
    )
    return Job(
        program=program,
        segments=segments,
        channel=channel,
        batch_size=batch_size,
        folder=folder,
        provenance=provenance,
    )


def count_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _runtime_of(folder: Path) -> Runtime:
    try:
        return Runtime.parse(read_manifest(folder).runtime)
    except UsageError as error:
        raise EmbeddingFolderError(f"{folder}: {error}") from error
