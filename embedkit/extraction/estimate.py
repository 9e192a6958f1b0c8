"""What a run would do, and how long it would take, by trying a few of its files."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from embedkit.audio.files import Skipped, require_audio
from embedkit.extraction.collection import AudioCollection, Task
from embedkit.extraction.local import run_local
from embedkit.extraction.moved import compare_files
from embedkit.extraction.progress import Progress
from embedkit.extraction.run import known_again, make_job
from embedkit.extraction.settings import DEFAULTS, Settings
from embedkit.runtime import Program
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.store import (
    FILES_SCHEMA,
    MANIFEST,
    read_journal,
    read_manifest,
    start_folder,
    with_times,
)

SAMPLE = 64  # files
SECONDS = 20.0  # for the sample, if a file is done by then


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do.

    Attributes:
        files: number of files that it would embed.
        bytes: their bytes.
        already_done: number of files that the folder has.
        changed, vanished, skipped: as in `Extraction`.
        sampled: number of files that were tried for the following.
        audio_s: seconds of audio in all files.
        rows: number of vectors.
        speed: seconds of audio that it would embed in a second.
        seconds: seconds that it would take.
    """

    files: int
    bytes: int
    already_done: int
    changed: int
    vanished: int
    skipped: Skipped
    sampled: int
    audio_s: float
    rows: int
    speed: float
    seconds: float


class _EnoughError(Exception):
    """The sample is large enough."""


def estimate(
    root: Path, model: Path | Program, folder: Path, settings: Settings = DEFAULTS
) -> Estimate:
    """Tell what `extract` would do with the same settings, and do nothing.

    Files drawn at random are embedded into a folder that is then removed; audio and time of the
    others follow from their bytes.

    Args:
        root: as for `extract`.
        model: as for `extract`.
        folder: as for `extract`.
        settings: as for `extract`.

    Returns:
        what it would do.

    Raises:
        UsageError: as for `extract`.
        ModelFolderError: as for `extract`.
        EmbeddingFolderError: as for `extract`.
    """
    require_audio(root)
    collection = AudioCollection(root, settings.shard, settings.audio_root)
    with scratch_folder() as scratch:
        job = make_job(collection, model, folder, settings)
        journal: pa.Table = FILES_SCHEMA.empty_table()
        if (folder / MANIFEST).exists():
            root_then = read_manifest(folder).audio_root
            moved = settings.audio_root is not None and root_then != job.provenance.audio_root
            asked = replace(job.provenance, audio_root=root_then) if moved else job.provenance
            start_folder(folder, asked)  # refuses other settings
            journal = read_journal(folder)
            if moved:
                journal = with_times(journal, compare_files(journal, collection.base))
        survey = collection.survey(journal, scratch)
        again = known_again(survey, settings)
        sample = _draw(survey.tasks(again))
        tried = Progress(total_files=len(sample))
        started = time.monotonic()
        speed = 0.0
        begun: tuple[float, float] | None = None

        def watch() -> None:
            nonlocal speed, begun
            now = time.monotonic()
            if begun is None and tried.audio_s:
                begun = now, tried.audio_s  # from here on nothing is loaded any more
            elif begun is not None and tried.audio_s > begun[1]:
                speed = (tried.audio_s - begun[1]) / (now - begun[0])
            if now - started > SECONDS and tried.bytes:
                raise _EnoughError

        aside = replace(job, folder=scratch / "embeddings")
        without_end = replace(settings, max_errors=None)
        with suppress(_EnoughError), into_scratch():
            run_local(aside, iter(sample), tried, without_end, watch)
        speed = speed or tried.audio_s / (time.monotonic() - started)  # all came at once
    files = survey.new + len(again)
    size = survey.new_bytes + sum(again.values())
    audio_s = tried.audio_s / max(1, tried.bytes) * size
    return Estimate(
        files=files,
        bytes=size,
        already_done=survey.known - len(again),
        changed=len(survey.changed),
        vanished=len(survey.vanished),
        skipped=survey.skipped,
        sampled=tried.files,
        audio_s=audio_s,
        # The last segment of a clip is half empty on average.
        rows=round(audio_s / job.provenance.hop_s + files / 2),
        speed=speed,
        seconds=audio_s / speed if speed else 0.0,
    )


def _draw(tasks: Iterator[Task]) -> list[Task]:
    """Some of the files, each equally likely (reservoir sampling, Vitter 1985)."""
    sample = list(islice(tasks, SAMPLE))
    draw = random.Random(0)
    for number, task in enumerate(tasks, start=SAMPLE + 1):
        place = draw.randrange(number)
        if place < SAMPLE:
            sample[place] = task
    draw.shuffle(sample)  # the time may not be enough for all
    return sample
