"""Extractions that are disturbed, and what an undisturbed one gives, to compare them with."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from campaign.sounds import sound, write
from embedkit.config import DEFAULT_MODEL
from embedkit.extraction import Settings, extract
from embedkit.store import EmbeddingTable

MOST_S = 300.0  # that a run may take on a machine that does other work

# A worker imports its parent's main module here, and what is patched in it.
SCRIPT = """
import contextlib, os, signal, sys, time
from pathlib import Path
from embedkit.extraction import Settings, extract, process, run, worker
from embedkit.runtime.embedder import GraphEmbedder
from embedkit.store import rewriting, writer

process.no_main = contextlib.nullcontext
{patches}

if __name__ == "__main__":
    extract(*map(Path, sys.argv[1:4]), Settings(**eval(sys.argv[4])))
"""


def collection(place: Path, files: int = 24, seconds: float = 2.0) -> Path:
    """A folder of so many sounds."""
    for seed in range(files):
        write(place / "audio" / f"{seed:03}.wav", sound(seconds * (0.5 + seed % 3 / 2), seed))
    return place / "audio"


def whole(audio: Path, place: Path) -> EmbeddingTable:
    """What a run gives that nothing disturbs."""
    extract(audio, DEFAULT_MODEL, place / "whole", Settings(workers=1))
    return EmbeddingTable.open(place / "whole")


def start(
    place: Path, audio: Path, emb: Path, patches: str = "", **settings: object
) -> subprocess.Popen[str]:
    """Start a run in a session of its own, with some of what a worker does patched."""
    path = place / "run.py"
    path.write_text(SCRIPT.format(patches=patches))
    return subprocess.Popen(
        [sys.executable, path, audio, DEFAULT_MODEL, emb, repr(settings)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(ready: Callable[[], bool], run: subprocess.Popen[str]) -> bool:
    """Wait until something is so; False if the run ended before."""
    deadline = time.monotonic() + MOST_S
    while run.poll() is None and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.005)
    return False


def differences(emb: Path, expected: EmbeddingTable) -> str:
    """What differs from the undisturbed run; empty if nothing does."""
    found = EmbeddingTable.open(emb)
    if found.journal != expected.journal:
        return f"the journal has {len(found.journal)} files of {len(expected.journal)}, or others"
    rows, wanted = found.rows(), expected.rows()
    if rows.clips.tolist() != wanted.clips.tolist() or (rows.segments != wanted.segments).any():
        return f"{len(rows.clips)} rows of {len(wanted.clips)}, or others"
    if not np.allclose(rows.embeddings, wanted.embeddings, rtol=0, atol=1e-5):
        return "other vectors"
    if pq.read_table(emb / "rows").num_rows != len(wanted.clips):
        return "other tools see other rows"
    if left := [path.name for path in emb.rglob("*.tmp")]:
        return f"{len(left)} temporary files are left"
    return ""


def ended_well(emb: Path, audio: Path, expected: EmbeddingTable) -> str:
    """What is wrong after a last run that nothing disturbs; empty if nothing is."""
    extract(audio, DEFAULT_MODEL, emb, Settings(workers=2))
    return differences(emb, expected)
