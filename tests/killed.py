"""A run of `extract` that is killed at the worst moment."""

import signal
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

KILLED = """
import contextlib, os, signal, sys
from pathlib import Path

from embedkit.extraction import Settings, extract, process
from embedkit.store import writer

renamed = 0
rename = writer.publish

def rename_or_die(temporary, path):
    global renamed
    if renamed == 3:  # between the rows and the journal of the second part
        os.killpg(0, signal.SIGKILL)
    rename(temporary, path)
    renamed += 1

# A worker imports its parent's main module, where it is not kept from it.
process.no_main = contextlib.nullcontext
writer.PART_SECONDS = 0  # a part for each file
writer.publish = rename_or_die
if __name__ == "__main__":
    extract(*map(Path, sys.argv[1:]), Settings(batch_size=2, workers=1))
"""


def kill_midway(sounds: Path, model: Path, emb: Path) -> None:
    """Extract with one worker until the second part has its rows and not yet its journal."""
    script = emb.with_name(f"{emb.name}-run.py")
    script.write_text(KILLED)
    died = subprocess.run(
        [sys.executable, script, sounds, model, emb],
        capture_output=True, text=True, check=False, start_new_session=True, timeout=PATIENCE,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
