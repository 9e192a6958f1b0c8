"""The fuzzer of the tests, with other examples for as long as is asked."""

import os
import subprocess
import sys
import time
from pathlib import Path

from campaign.outcome import Case, Outcome

MINUTES = 10.0
EXAMPLES = 300  # of each test in a round


def fuzz(place: Path, share: float) -> Outcome:
    """The fuzzer of the tests with other examples each time, for ten minutes."""
    minutes = 10 * share
    outcome = Outcome(
        tried=f"hypothesis over headers, labels, manifests, descriptions: {minutes:g} min"
    )
    tests = Path(__file__).parents[2] / "tests" / "fuzz"
    end, seed = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", tests,
             f"--hypothesis-seed={seed}", "--basetemp", place / "tests"],
            capture_output=True, text=True, check=False,
            env=os.environ | {"EMBEDKIT_FUZZ": str(EXAMPLES)},
        )  # fmt: skip
        failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
        wrong = "; ".join(failed) or run.stdout[-300:] if run.returncode else ""
        outcome.add(Case(f"rounds of {EXAMPLES} examples of each test", wrong), f"seed {seed}")
        seed += 1
    return outcome
