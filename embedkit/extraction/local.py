"""The worker on this machine: in this process, or in several."""

import multiprocessing
import queue
import signal
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing.queues import Queue
from pathlib import Path

import torch

from embedkit.audio.decode import MIX, Channel
from embedkit.audio.files import Listing, clip_name, find_audio
from embedkit.checkpoint import ModelConfig, fingerprint, load_config
from embedkit.errors import EmbedkitError, UsageError
from embedkit.extraction.worker import Job, run_worker
from embedkit.models import build_model
from embedkit.models.extractor import check_device
from embedkit.progress import Track, untracked
from embedkit.store import (
    EmbeddingTable,
    FileRecord,
    Provenance,
    only_run,
    remove_leftovers,
    start_folder,
)
from embedkit.workers import end_with_parent


@dataclass(kw_only=True)
class Extraction:
    """What a run did.

    Attributes:
        already_done: files that the folder had from earlier runs.
        failed_before: how many files have a kind from earlier runs.
        changed: files that are not what they were when they were embedded; their rows are old.
        skipped: files that are not audio.
        done: files that this run finished, good or not.
        rows: vectors that it wrote.
        audio_s: seconds of audio behind them.
        failures: the records of this run that have a kind.
    """

    already_done: int
    failed_before: int
    changed: int
    skipped: int
    done: int = 0
    rows: int = 0
    audio_s: float = 0.0
    failures: list[FileRecord] = field(default_factory=list)


def extract(
    root: Path,
    model: Path,
    folder: Path,
    *,
    dim: int | None = None,
    hop_s: float | None = None,
    batch_size: int = 32,
    workers: int = 1,
    channel: Channel = MIX,
    device: str = "cpu",
    track: Track = untracked,
) -> Extraction:
    """Embed every audio file below a folder that the embedding folder does not have yet.

    Args:
        root: folder of audio, or one file.
        model: the model folder.
        folder: the embedding folder; made, or gone on with.
        dim: size of the embedding, where the model was trained for several.
        hop_s: between two segments; the model's own by default.
        batch_size: segments that the network takes at a time.
        workers: processes; the vectors do not depend on it.
        channel: of the files.
        device: where torch computes.
        track: shows the progress over files.

    Raises:
        UsageError: `root` does not exist or an option is out of range.
        ModelFolderError: `model` is not a model folder.
        EmbeddingFolderError: other settings made `folder`, or another run writes to it.
    """
    if batch_size < 1 or workers < 1:
        raise UsageError("batch size and workers: at least 1")
    check_device(device)
    config = load_config(model)
    segments = replace(config.segments, **({} if hop_s is None else {"hop_s": hop_s}))
    listing = find_audio(root)
    base = root if root.is_dir() else root.parent
    provenance = Provenance(
        audio_root=str(base.resolve()),
        model=str(model.resolve()),
        fingerprint=fingerprint(model),
        embedding_size=_embedding_size(config, dim),
        features=config.features.to_dict(),
        segment_s=segments.duration_s,
        hop_s=segments.hop_s,
        channel=str(channel),
        runtime="torch",
    )
    job = Job(
        root=base,
        model=model,
        segments=segments,
        batch_size=batch_size,
        channel=channel,
        device=device,
        folder=folder,
        provenance=provenance,
    )
    with only_run(folder):
        return _run(job, listing, workers, track)


def _run(job: Job, listing: Listing, workers: int, track: Track) -> Extraction:
    start_folder(job.folder, job.provenance)
    remove_leftovers(job.folder)
    journal = EmbeddingTable.open(job.folder).journal
    known = {record.clip: record for record in journal}
    remaining, changed = [], 0
    for path in listing.paths:
        record = known.get(clip_name(path, job.root))
        if record is None:
            remaining.append(path)
        else:
            changed += _has_changed(path, record)
    run = Extraction(
        already_done=len(listing.paths) - len(remaining),
        failed_before=sum(bool(record.kind) for record in journal),
        changed=changed,
        skipped=listing.skipped,
    )
    workers = min(workers, len(remaining))
    if workers == 0:
        return run
    if workers == 1:
        records = run_worker(job, 0, remaining)
    else:
        records = _in_processes(job, [remaining[number::workers] for number in range(workers)])
    with closing(records):  # on an interruption: drop the open part, stop the processes
        for record in track(records, "Extracting", len(remaining)):
            run.done += 1
            run.rows += record.rows
            run.audio_s += record.duration_s
            if record.kind:
                run.failures.append(record)
    return run


def _embedding_size(config: ModelConfig, dim: int | None) -> int:
    with torch.device("meta"):  # the shapes alone
        return build_model(config.model, config.feature_shape).size(dim)


def _has_changed(path: Path, record: FileRecord) -> bool:
    try:
        status = path.stat()
    except OSError:
        return bool(record.size)
    return (status.st_size, status.st_mtime_ns) != (record.size, record.mtime_ns)


def _in_processes(job: Job, shares: list[list[Path]]) -> Generator[FileRecord]:
    context = multiprocessing.get_context("spawn")  # a fork of a threaded torch may hang
    results: Queue[FileRecord | EmbedkitError | OSError | None] = context.Queue()
    threads = max(1, torch.get_num_threads() // len(shares))
    processes = [
        context.Process(target=_process, args=(job, shard, paths, threads, results), daemon=True)
        for shard, paths in enumerate(shares)
    ]
    try:
        for process in processes:
            process.start()
        running = len(processes)
        while running:
            try:
                item = results.get(timeout=1)
            except queue.Empty:
                dead = [process.exitcode for process in processes if process.exitcode]
                if dead:
                    raise EmbedkitError(
                        f"a worker process died (exit code {dead[0]}); run again to go on"
                    ) from None
                continue
            if item is None:
                running -= 1
            elif isinstance(item, FileRecord):
                yield item
            else:
                raise item
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()


def _process(
    job: Job,
    shard: int,
    paths: list[Path],
    threads: int,
    results: "Queue[FileRecord | EmbedkitError | OSError | None]",
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        for record in run_worker(job, shard, paths):
            results.put(record)
    except (EmbedkitError, OSError) as error:
        results.put(error)
    results.put(None)
