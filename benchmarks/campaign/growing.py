"""Memory of many files, and of a long one."""

from pathlib import Path

from campaign.outcome import Outcome
from embedkit.config import DEFAULT_MODEL
from embedkit.processes import WorkerPool
from memory import peaks

SPARE = 64  # MB more than a tenth of the files, or of the hours, takes


def memory(place: Path, share: float) -> Outcome:
    """Files by the hundred thousand, and a file of ten hours, in the memory of a tenth of them."""
    files, minutes = round(100_000 * share), round(600 * share)
    outcome = Outcome(tried=f"{files:,} files, and a file of {minutes / 60:g} hours")
    for kind, size in (("files", files), ("minutes", minutes)):
        found = []
        for count in (max(1, size // 10), size):
            with WorkerPool(1) as pool:
                found.append(pool.submit(peaks, kind, count, DEFAULT_MODEL).result())
        for who, before, after in zip(("worker", "main process"), *found, strict=True):
            grown = after - before
            words = f"{before:.0f} MB of a tenth, {after:.0f} MB of {size:,} {kind}"
            outcome.check(grown < SPARE, f"{who}, {kind}", words, f"{who}, {kind}: {words}")
    return outcome
