"""A run, which brings an embedding folder up to date with a folder of sound."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from embedkit.audio.files import Skipped, require_audio
from embedkit.errors import UsageError
from embedkit.extraction.collection import AudioCollection, Survey
from embedkit.extraction.local import run_local
from embedkit.extraction.moved import compare_files
from embedkit.extraction.progress import Progress
from embedkit.extraction.settings import DEFAULTS, Settings
from embedkit.extraction.worker import Job
from embedkit.hearing import AS_RECORDED, Hearing
from embedkit.processes import start_server
from embedkit.runtime import Program, Runtime, prepare
from embedkit.scratch import scratch_folder
from embedkit.store import (
    MANIFEST,
    Provenance,
    clip_path,
    forget,
    move,
    only_run,
    read_journal,
    read_manifest,
    remove_leftovers,
    start_folder,
)


@dataclass(kw_only=True)
class Extraction(Progress):
    """What a run did, or has done so far.

    Attributes:
        already_done: number of files that the folder had from earlier runs and that were left
            alone.
        failed_before: how many of them have a kind.
        changed: number of files that have changed since they were embedded; their rows are old.
        vanished: number of clips of the folder whose file is gone; their rows are still there.
        skipped: what is not audio, and what systems leave beside files.
    """

    already_done: int
    failed_before: int
    changed: int
    vanished: int
    skipped: Skipped


def extract(
    root: Path,
    model: Path | Program,
    folder: Path,
    settings: Settings = DEFAULTS,
    report: Callable[[Extraction], None] = lambda progress: None,
) -> Extraction:
    """Embed every audio file below a folder that the embedding folder does not have yet.

    It works in processes of its own; a script that calls it needs no `if __name__ == "__main__":`.

    Args:
        root: folder of audio, or one file.
        model: the model folder, the `extractor.toml` of somebody else's extractor, or a ready one.
        folder: the embedding folder; it is made, or gone on with.
        settings: how the collection is embedded.
        report: is called with the state of the run at least twice a second.

    Returns:
        what the run did.

    Raises:
        UsageError: `root` does not exist or has no audio below it, a setting does not fit the
            model, or the collection below `settings.audio_root` is another one.
        ModelFolderError: `model` is not a model folder, or has no quantised network.
        EmbeddingFolderError: `folder` was made with other settings, or another run writes to it.
    """
    require_audio(root)  # most likely the wrong folder, to which the new one would be bound
    collection = AudioCollection(root, settings.shard, settings.audio_root)
    with scratch_folder() as scratch:
        start_server()  # it loads libraries while the network is made ready
        job = make_job(collection, model, folder, settings)
        if settings.audio_root is not None and (folder / MANIFEST).exists():
            move(folder, job.provenance, lambda known: compare_files(known, collection.base))
        with only_run(folder, settings.shard.number, settings.shard.count):
            start_folder(folder, job.provenance)
            remove_leftovers(folder)
            journal = read_journal(folder)
            survey = collection.survey(journal, scratch)
            again = known_again(survey, settings)
            gone = set(again)
            if settings.refresh:
                if survey.vanished and not survey.known:
                    _require_some(collection.base, journal["clip"].to_pylist(), folder)
                gone.update(survey.vanished)
            if gone:
                forget(folder, gone)
            run = Extraction(
                already_done=survey.known - len(again),
                failed_before=len(survey.failed.keys() - again.keys()),
                changed=len(survey.changed.keys() - again.keys()),
                vanished=0 if settings.refresh else len(survey.vanished),
                skipped=survey.skipped,
                total_files=survey.new + len(again),
                total_bytes=survey.new_bytes + sum(again.values()),
            )
            run_local(job, survey.tasks(again), run, settings, lambda: report(run))
    return run


def _require_some(base: Path, clips: list[str], folder: Path) -> None:
    """Refuse to take all clips out of a folder; a share of a few clips may lose all of its own."""
    if not any(clip_path(base, clip).exists() for clip in clips):
        raise UsageError(
            f"{base}: none of the {len(clips)} clips of {folder} is there; is the disk mounted?"
            " Nothing was changed"
        )


def known_again(survey: Survey, settings: Settings) -> dict[str, int]:
    """The known files that are to be embedded again.

    Args:
        survey: the collection compared with the journal.
        settings: say whether changed and failed files are embedded again.

    Returns:
        their sizes by clip.
    """
    again = dict(survey.changed) if settings.refresh else {}
    return again | survey.failed if settings.retry_errors else again


def make_job(
    collection: AudioCollection, model: Path | Program, folder: Path, settings: Settings
) -> Job:
    """What every worker of a run does.

    Args:
        collection: the files.
        model: as for `extract`.
        folder: as for `extract`.
        settings: as for `extract`.

    Returns:
        the job.
    """
    program = _program(model, folder, settings)
    hearing = _hearing(folder, settings)
    hop = {} if settings.hop_s is None else {"hop_s": settings.hop_s / hearing.speed}
    segments = replace(program.segments, **hop)
    provenance = Provenance(
        audio_root=str(collection.base.resolve()),
        model=program.origin,
        fingerprint=program.fingerprint,
        embedding_size=program.embedding_size,
        features=program.settings,
        segment_s=segments.duration_s * hearing.speed,
        hop_s=settings.hop_s or segments.hop_s * hearing.speed,
        channel=str(settings.channel),
        runtime=str(program.runtime),
        track=settings.track or 1,
        speed=hearing.speed,
        band="" if hearing.band is None else str(hearing.band),
        extractor=program.described,
    )
    return Job(
        program=program,
        segments=segments,
        channel=settings.channel,
        track=settings.track,
        hearing=hearing,
        batch_size=settings.segments_at_a_time(),
        folder=folder,
        provenance=provenance,
    )


def _program(model: Path | Program, folder: Path, settings: Settings) -> Program:
    """The extractor; by default on the runtime that the folder was begun with."""
    runtime, device, dim = settings.runtime, settings.device, settings.dim
    if isinstance(model, Program):
        if (runtime, device, dim) != (None, DEFAULTS.device, None):
            raise UsageError("runtime, device and dim are for models; this extractor is ready")
        return model
    if runtime is None and (folder / MANIFEST).exists():
        runtime = Runtime.that_made(read_manifest(folder))
    return prepare(model, runtime=runtime, device=device, dim=dim)


def _hearing(folder: Path, settings: Settings) -> Hearing:
    """How a run hears: as asked for, else as the folder was made."""
    known = AS_RECORDED
    if (folder / MANIFEST).exists():
        known = read_manifest(folder).hearing
    speed = known.speed if settings.speed is None else settings.speed
    return Hearing(speed=speed, band=settings.band or known.band)
