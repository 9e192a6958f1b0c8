"""Kill an extraction again and again, and compare what it leaves with an undisturbed one.

    python benchmarks/faults.py MODEL_DIR AUDIO_DIR [--kills 50]

Two workers; a part closes after every tenth of a second, so that many are there to be torn. All
processes of a run are killed together (SIGKILL) at a random moment of the first 0.6 s of writing; a
last run ends what is left. Then every row and every record must be there, once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from embedkit.extraction import Settings, extract
from embedkit.store import EmbeddingTable, writer

writer.PART_SECONDS = 0.1  # the workers import this module too


def killed_run(model: Path, audio: Path, folder: Path, seconds: float) -> bool:
    """Start a run and kill it so many seconds after it began to write; False if it had ended."""
    run = subprocess.Popen(
        [sys.executable, __file__, model, audio, "--run", folder], start_new_session=True
    )
    lock = folder / ".lock-00000"
    while run.poll() is None and not lock.exists():
        time.sleep(0.01)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    killed = run.wait() == -signal.SIGKILL
    lock.unlink()
    return killed


def main() -> None:
    """Print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        extract(options.audio, options.model, options.run, Settings(workers=2))
        return
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        torn, whole = Path(name) / "torn", Path(name) / "whole"
        kills = left_behind = 0
        while kills < options.kills:
            if not killed_run(options.model, options.audio, torn, draw.uniform(0, 0.6)):
                break
            kills += 1
            counted = {path.name for path in (torn / "files").glob("part-*")}
            files = [path for path in torn.glob("*/*part-*") if path.name not in counted]
            left_behind += bool(files)
        extract(options.audio, options.model, torn, Settings(workers=2))
        extract(options.audio, options.model, whole, Settings(workers=2))
        found, expected = EmbeddingTable.open(torn), EmbeddingTable.open(whole)
        assert found.journal == expected.journal
        rows, wanted = found.rows(), expected.rows()
        assert rows.clips.tolist() == wanted.clips.tolist()
        np.testing.assert_array_equal(rows.segments, wanted.segments)
        np.testing.assert_allclose(rows.embeddings, wanted.embeddings, rtol=0, atol=1e-5)
        print(
            f"{kills} kills, {left_behind} of them with a part half written:"
            f" {len(rows.clips)} rows of {len(found.journal)} files, none missing, none twice"
        )


if __name__ == "__main__":
    main()
