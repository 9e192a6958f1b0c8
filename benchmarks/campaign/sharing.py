"""Two rewriters at once with a reader beside them, and two who label one file."""

import multiprocessing
from contextlib import suppress
from multiprocessing.synchronize import Barrier
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any

import numpy as np

from campaign.outcome import Case, Outcome
from embedkit.errors import EmbeddingFolderError
from embedkit.labels.answers import Answers
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FileRecord,
    Provenance,
    forget,
    read_journal,
    remove_leftovers,
)

SPAWN = multiprocessing.get_context("spawn")
SIZE = 4
PROVENANCE = Provenance(
    audio_root="/audio", model="m", fingerprint="f" * 64, embedding_size=SIZE,
    features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="onnx",
)  # fmt: skip
CLIPS = [f"{number:03}.wav" for number in range(120)]
ROWS = 3
MOST_S = 120.0


def _vectors(clip: str, version: int) -> np.ndarray:
    rng = np.random.default_rng([version, *clip.encode()])
    return rng.standard_normal((ROWS, SIZE)).astype(np.float32)


def _append(folder: Path, clips: list[str], version: int, shard: int) -> None:
    number = np.arange(ROWS, dtype=np.int32)
    with EmbeddingWriter(folder, PROVENANCE, shard) as writer:
        for place, clip in enumerate(clips):
            writer.add_rows(
                clip, number, number.astype(float), number + 1.0, _vectors(clip, version)
            )
            facts = {"size": 1, "duration_s": 3.0, "kind": "", "message": "", "rows": ROWS}
            writer.finish_file(FileRecord(clip=clip, mtime_ns=version, **facts))
            if place % 7 == 6:
                writer.close_part()


def _rewrite(folder: Path, mine: list[str], shard: int, start: Barrier) -> None:
    """What `extract --refresh` does to the store, three times."""
    start.wait(MOST_S)
    for version in (1, 2, 3):
        remove_leftovers(folder)
        forget(folder, mine)
        _append(folder, mine, version, shard)


def _read_on(folder: Path, start: Barrier, stop: Flag, found: Any) -> None:
    """Read until told to stop; how often it did, or the first thing that is wrong."""
    start.wait(MOST_S)
    count = 0
    while not stop.is_set() or not count:
        try:
            names = read_journal(folder)["clip"].to_pylist()
            with suppress(EmbeddingFolderError):  # rewritten meanwhile: open it again
                rows = EmbeddingTable.open(folder).rows()
                for clip in CLIPS[2::3]:
                    assert np.array_equal(rows.embeddings[rows.clips == clip], _vectors(clip, 0)), (
                        clip
                    )
            assert len(set(names)) == len(names)
            assert set(names) >= set(CLIPS[2::3])
        except Exception as error:
            found.put(repr(error))
            return
        count += 1
    found.put(count)


def rewriters(place: Path, share: float) -> Outcome:
    """Each takes clips out and writes them anew, while a third process reads."""
    outcome = Outcome(tried="two rewriters, each three times over, and a reader all the while")
    for number in range(round(20 * share)):
        folder = place / str(number)
        _append(folder, CLIPS, 0, 0)
        start, stop, found = SPAWN.Barrier(3), SPAWN.Event(), SPAWN.Queue()
        both = [
            SPAWN.Process(target=_rewrite, args=(folder, CLIPS[one::3], one + 1, start))
            for one in (0, 1)
        ]
        reader = SPAWN.Process(target=_read_on, args=(folder, start, stop, found))
        for process in (*both, reader):
            process.start()
        for process in both:
            process.join()
        stop.set()
        seen = found.get(timeout=MOST_S)
        reader.join()
        rows = EmbeddingTable.open(folder).rows()
        expected = [_vectors(clip, 0 if index % 3 == 2 else 3) for index, clip in enumerate(CLIPS)]
        wrong = "" if isinstance(seen, int) else f"the reader: {seen}"
        if [process.exitcode for process in both] != [0, 0]:
            wrong = f"exit codes {[process.exitcode for process in both]}"
        elif not np.array_equal(rows.embeddings, np.concatenate(expected)):
            wrong = f"{len(rows.clips)} rows of {ROWS * len(CLIPS)}, or others"
        outcome.add(Case("whole", wrong), number)
    return outcome


def _label(path: Path, clips: list[str], label: str, start: Barrier) -> None:
    answers = Answers(path)
    start.wait(MOST_S)
    for clip in clips:
        answers.set(clip, label)


def labellers(place: Path, share: float) -> Outcome:
    """Two programs that give labels in one file."""
    path, count = place / "labels.csv", round(200 * share)
    start = SPAWN.Barrier(2)
    names = [f"{number}.wav" for number in range(2 * count)]
    both = [
        SPAWN.Process(target=_label, args=(path, names[one::2], "ab"[one], start)) for one in (0, 1)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    outcome = Outcome(tried="labels that two programs give in one file at once")
    said = Answers(path).labels
    for number, name in enumerate(names):
        outcome.check(said.get(name) == "ab"[number % 2], name, f"is {said.get(name)!r}")
    return outcome
