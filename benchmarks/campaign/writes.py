"""Disks that are full, or fail: at every file that is made, written, synced or renamed.

`failing.c` stands between the programs and the C library, and so before Arrow's and FAISS's writes
too. After a fault a folder must be what it was, or what it was to become; the second try must make
it so.
"""

import ctypes
import errno
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from campaign.outcome import Case, Outcome, survey
from campaign.runs import collection, ended_well, whole
from embedkit.checkpoint import load_model, save_model
from embedkit.classifiers.classifier import Classifier
from embedkit.config import DEFAULT_MODEL
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import EmbedkitError
from embedkit.exchange.exports import export
from embedkit.labels.answers import Answers
from embedkit.labels.marks import Marks
from embedkit.progress import untracked
from embedkit.search.index import IndexKind, Metric, open_index
from embedkit.store import (
    EmbeddingTable,
    EmbeddingWriter,
    FieldNote,
    FileRecord,
    Provenance,
    forget,
    note,
    remove_leftovers,
)

PROBLEMS = (errno.ENOSPC, errno.EIO)  # a full disk stays full; the other comes once
SIZE = 8
PROVENANCE = Provenance(
    audio_root="/audio", model="m", fingerprint="f" * 64, embedding_size=SIZE,
    features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="onnx",
)  # fmt: skip


class Work(NamedTuple):
    """Something that writes.

    Attributes:
        prepare: makes what is there before.
        act: writes.
        state: what the folder says.
    """

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    state: Callable[[Path], Any]


def append(folder: Path, clips: str) -> None:
    """Write what is not there yet of some clips as one part, as a run does."""
    done = {clip for clip, *_ in clips_of(folder)}
    number = np.arange(3, dtype=np.int32)
    vectors = np.random.default_rng(0).standard_normal((3, SIZE)).astype(np.float32)
    with EmbeddingWriter(folder / "emb", PROVENANCE) as writer:
        for clip in sorted(set(clips) - done):
            writer.add_rows(clip, number, number.astype(float), number + 1.0, vectors)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": 3.0, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=3, **facts))


def clips_of(folder: Path) -> Any:
    """The clips of the embedding folder, each with its rows and its site."""
    if not (folder / "emb/manifest.json").exists():
        return []
    table = EmbeddingTable.open(folder / "emb")
    rows, notes = table.rows(), table.notes
    return [(record.clip, (rows.clips == record.clip).sum(), notes[record.clip].site)
            for record in table.journal]  # fmt: skip


def _copy_model(folder: Path) -> None:
    config, weights = load_model(DEFAULT_MODEL)
    save_model(folder, config, weights)


def _model_state(folder: Path) -> Any:
    if not (folder / "config.json").exists():
        return None
    return load_model(folder)[0].labels[:3]


def _search(folder: Path) -> None:
    table = EmbeddingTable.open(folder / "emb")
    index, _, _ = open_index(table, IndexKind.HNSW, Metric.DOT, folder / "cache", untracked)
    vectors = table.rows().embeddings
    found = index.search(vectors, 1)[0][:, 0]
    if not np.allclose(found, (vectors @ vectors.T).max(axis=1), atol=1e-4):
        raise ValueError("the index finds something else")


def _classifier_state(folder: Path) -> Any:
    return Classifier.load(folder).labels[:3] if (folder / "classifier.json").exists() else None


def _set(folder: Path) -> None:
    Answers(folder / "labels.csv").set("b.wav", "wren")


def _mark(folder: Path) -> None:
    Marks(folder / "marks.csv", {"a.wav"}).put(
        Stretch(clip="a.wav", start_s=1.0, end_s=2.0, label="crow", sign=Sign.POSITIVE)
    )


def _exported(form: str, folder: Path) -> None:
    if not (folder / f"out.{form}").exists():
        export(EmbeddingTable.open(folder / "emb"), form, folder / f"out.{form}")


def _export_state(form: str, folder: Path) -> Any:
    path = folder / f"out.{form}"
    return path.stat().st_size if path.exists() else None


def _nothing(folder: Path) -> None:
    return None


WORKS = {
    "a new folder": Work(_nothing, partial(append, clips="ab"), clips_of),
    "another part": Work(partial(append, clips="ab"), partial(append, clips="cd"), clips_of),
    "clips taken out": Work(
        partial(append, clips="abc"), lambda folder: forget(folder / "emb", ["b"]), clips_of
    ),
    "notes": Work(
        partial(append, clips="ab"),
        lambda folder: note(folder / "emb", {"a": FieldNote(site="wood")}),
        clips_of,
    ),
    "a label": Work(
        lambda folder: Answers(folder / "labels.csv").set("a.wav", "crow"),
        _set,
        lambda folder: dict(Answers(folder / "labels.csv").labels),
    ),
    "a mark": Work(
        _nothing, _mark, lambda folder: Marks(folder / "marks.csv", {"a.wav"}).stretches()
    ),
    "a classifier": Work(
        _nothing,
        lambda folder: Classifier.load(DEFAULT_MODEL / "names" / "64").save(folder),
        _classifier_state,
    ),
    "a model": Work(_nothing, _copy_model, _model_state),
    "a search's index": Work(partial(append, clips="abcd"), _search, clips_of),
    "an export to npz": Work(
        partial(append, clips="ab"), partial(_exported, "npz"), partial(_export_state, "npz")
    ),
    "an export to csv": Work(
        partial(append, clips="ab"), partial(_exported, "csv"), partial(_export_state, "csv")
    ),
}


def writes(place: Path, share: float) -> Outcome:
    """Whatever writes, with each of its writes failing."""
    os.environ["LD_PRELOAD"] = str(_built(place))
    cases = []
    for name, count in zip(WORKS, _counts(place), strict=True):
        numbers = range(1, count + 1, round(1 / share))
        cases += [(name, problem, number) for problem in PROBLEMS for number in numbers]
    tried = f"ENOSPC and EIO at every write of {len(WORKS)} programs"
    return survey(tried, partial(_fail, place), cases)


def full_disks(place: Path, share: float) -> Outcome:
    """`embedkit extract` on a disk that fails, and again on one that has room."""
    outcome = Outcome(tried="`embedkit extract` on a disk that fails at a write of each process")
    library = _built(place)
    audio = collection(place, 6)
    expected = whole(audio, place)
    emb = place / "emb"
    program = Path(sys.executable).with_name("embedkit")
    for problem in PROBLEMS:
        for number in range(1, 25, round(1 / share)):
            shutil.rmtree(emb, ignore_errors=True)
            told = {"LD_PRELOAD": str(library), "FAIL_UNDER": str(emb), "FAIL_AT": str(number)}
            done = subprocess.run(
                [program, "extract", audio, "--out", emb, "--workers", "2"],
                capture_output=True, text=True, check=False,
                env=os.environ | told | {"FAIL_ERRNO": str(problem)},
            )  # fmt: skip
            words = os.strerror(problem)
            wrong = "a traceback" if "Traceback" in done.stderr else ""
            if done.returncode not in {0, 1} or (done.returncode and words not in done.stderr):
                wrong = f"exit code {done.returncode}: {done.stderr[-200:]}"
            wrong = wrong or ended_well(emb, audio, expected)
            became = "did not reach so many" if not done.returncode else "said so; whole when run"
            outcome.add(Case(became, wrong), f"{words}, write {number}")
    return outcome


def _built(place: Path) -> Path:
    """The library that fails; where it is made."""
    source, library = Path(__file__).with_name("failing.c"), place / "failing.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def _counts(place: Path) -> list[int]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(partial(_count, place), WORKS)


def _count(place: Path, name: str) -> int:
    """How often something writes."""
    folder = place / "counted" / name
    folder.mkdir(parents=True)
    WORKS[name].prepare(folder)
    _arm(folder, 0, 0)
    WORKS[name].act(folder)
    return _disarm()


def _fail(place: Path, case: tuple[str, int, int]) -> Case:
    name, problem, number = case
    logging.disable()  # that a search's index is not kept is said each time
    work, folder = WORKS[name], place / "-".join(map(str, case))
    folder.mkdir()
    work.prepare(folder)
    before = work.state(folder)
    _arm(folder, number, problem)
    became = "done all the same"
    try:
        work.act(folder)
    except (OSError, EmbedkitError):
        became = "refused, nothing changed"
    finally:
        _disarm()
    found = work.state(folder)
    work.act(folder)
    after = work.state(folder)
    if (folder / "emb").exists():
        remove_leftovers(folder / "emb")
    left = [path.name for path in folder.rglob("*.tmp")]
    shutil.rmtree(folder)
    if found not in (before, after):
        return Case("lost", f"before {before}, after the fault {found}, then {after}")
    if left:
        return Case("left", f"temporary files are left: {left}")
    if became.startswith("refused") and found != before:
        became = "refused, and done"
    return Case(became)


def _arm(folder: Path, number: int, problem: int) -> None:
    library = ctypes.CDLL(None)
    ctypes.memmove(library.fail_under, os.fsencode(folder) + b"\0", len(os.fsencode(folder)) + 1)
    for name, value in (("at", number), ("calls", 0)):
        ctypes.c_long.in_dll(library, f"fail_{name}").value = value
    ctypes.c_int.in_dll(library, "fail_errno").value = problem
    ctypes.c_int.in_dll(library, "fail_stays").value = problem == errno.ENOSPC


def _disarm() -> int:
    library = ctypes.CDLL(None)
    calls = ctypes.c_long.in_dll(library, "fail_calls").value
    ctypes.c_long.in_dll(library, "fail_at").value = 0
    ctypes.memmove(library.fail_under, b"\0", 1)
    return calls
