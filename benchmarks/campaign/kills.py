"""Runs that are killed, suspended, or whose network fails; two at once; and a worker of Ray.

Every run is gone on with by one that nothing disturbs: then all rows and records must be there,
once.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from campaign.outcome import Case, Outcome
from campaign.runs import collection, differences, ended_well, start, wait_for, whole
from embedkit.config import DEFAULT_MODEL
from embedkit.store import EmbeddingTable

# Renames that take a moment, so that many kills come between two of them.
SHORT_PARTS = """
writer.PART_SECONDS = 0.05
publish = writer.publish
def publish_slowly(temporary, path):
    time.sleep(0.02)
    publish(temporary, path)
writer.publish = publish_slowly
"""

# Between the rows and the journal of a part, or between a part and its successor.
BETWEEN = """
writer.PART_SECONDS = 0.0
publish, published = writer.publish, 0
def publish_or_die(temporary, path):
    global published
    if published == {number}:
        os.killpg(0, signal.SIGKILL)
    publish(temporary, path)
    published += 1
writer.publish = publish_or_die
"""

SLOW = """
decode = worker.decode
def decode_slowly(*arguments):
    time.sleep(0.2)
    yield from decode(*arguments)
worker.decode = decode_slowly
writer.PART_SECONDS = 0.05
"""

FAILING = """
class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)

calls, embed_segments = 0, GraphEmbedder.embed_segments
def embed(self, segments):
    global calls
    calls += 1
    if calls == {number}:
        {failure}
    return embed_segments(self, segments)
GraphEmbedder.embed_segments = embed
writer.PART_SECONDS = 0.0
"""
FAILURES = {
    "RuntimeError": "raise RuntimeError('an illegal memory access')",
    "MemoryError of one batch": "raise MemoryError",
    "an exception that does not travel": "raise OddError(1, lambda: 2)",
    "OSError": "raise OSError(5, 'Input/output error')",
    "SystemExit": "raise SystemExit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "a segmentation fault": "signal.raise_signal(signal.SIGSEGV)",
    "a kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(7)",
    "a recursion without end": "(lambda again: again(again))(lambda again: again(again))",
}


def kills(place: Path, share: float) -> Outcome:
    """Runs killed at random moments of their writing."""
    count = round(100 * share)
    audio = collection(place, 120)
    expected = whole(audio, place)
    outcome = Outcome(tried="both workers and their parent killed at a random moment, and gone on")
    draw = random.Random(0)
    emb, parts = place / "emb-0", 0
    for number in range(count):
        run = start(place, audio, emb, SHORT_PARTS, workers=2, batch_size=2)
        begun = wait_for(lambda: len(list((emb / "files").glob("part-*"))) > parts, run)  # noqa: B023
        time.sleep(draw.uniform(0, 0.5) * begun)
        ended = run.poll() is not None
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        (emb / ".lock-00000").unlink(missing_ok=True)
        before, parts = parts, len(list((emb / "files").glob("part-*")))
        became = "with a part half written" if _is_half_written(emb) else "between two parts"
        if parts == before:
            became = "before a part was written"
        wrong = ended_well(emb, audio, expected) if ended or number == count - 1 else ""
        outcome.add(Case("had ended" if ended else became, wrong), number)
        if ended:
            emb, parts = place / f"emb-{number + 1}", 0
    return outcome


def _is_half_written(emb: Path) -> bool:
    counted = {path.name for path in (emb / "files").glob("part-*")}
    return any(path.name not in counted for path in emb.glob("*/*part-*"))


def torn(place: Path, share: float) -> Outcome:
    """Runs killed between writing and renaming, at every rename."""
    audio = collection(place, 24)
    expected = whole(audio, place)
    outcome = Outcome(tried="killed between a write and its rename, and gone on")
    for number in range(0, 50, round(1 / share)):
        emb = place / f"emb-{number}"
        run = start(place, audio, emb, BETWEEN.format(number=number), workers=1, batch_size=2)
        run.communicate(timeout=300)
        killed = run.returncode == -signal.SIGKILL
        wrong = ended_well(emb, audio, expected)
        outcome.add(Case("killed" if killed else "had ended", wrong), number)
    return outcome


def suspended(place: Path, share: float) -> Outcome:
    """Whole runs, or one worker, stopped for longer than the timeout of a decoder."""
    audio = collection(place, 24)
    expected = whole(audio, place)
    outcome = Outcome(tried="SIGSTOP for 3 s, the timeout being 2 s, then SIGCONT")
    draw = random.Random(0)
    for number in range(round(20 * share)):
        emb = place / f"emb-{number}"
        run = start(place, audio, emb, SLOW, workers=2, timeout=2.0)
        wait_for((emb / ".lock-00000").exists, run)
        time.sleep(draw.uniform(0, 1.0))
        everyone = number % 2 == 0
        target = run.pid if everyone else draw.choice(_workers(run.pid) or [run.pid])
        send = os.killpg if everyone else os.kill
        with suppress(ProcessLookupError):
            send(target, signal.SIGSTOP)
            time.sleep(3)
            send(target, signal.SIGCONT)
        _, err = run.communicate(timeout=300)
        wrong = f"exit code {run.returncode}: {err[-200:]}" if run.returncode else ""
        wrong = wrong or differences(emb, expected)
        outcome.add(Case("whole run stopped" if everyone else "one worker stopped", wrong), number)
    return outcome


def _workers(run: int) -> list[int]:
    """The processes of a run's session but itself, of which some embed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == run and int(path.parent.name) != run:
                found.append(int(path.parent.name))
    return found[-2:]


def networks(place: Path, share: float) -> Outcome:
    """Networks that raise, or take their process with them, at the first batch or later."""
    audio = collection(place, 12)
    expected = whole(audio, place)
    outcome = Outcome(tried="a network that fails at its 1st, 2nd or 5th batch, and gone on")
    cases = [(name, batch) for name in FAILURES for batch in (1, 2, 5)][:: round(1 / share)]
    for name, batch in cases:
        emb = place / f"emb-{name}-{batch}"
        patches = FAILING.format(number=batch, failure=FAILURES[name])
        run = start(place, audio, emb, patches, workers=1, batch_size=4)
        _, err = run.communicate(timeout=300)
        blamed = [record.clip for record in EmbeddingTable.open(emb).journal if record.kind]
        wrong = f"a file is blamed: {blamed[0]}" if blamed else ended_well(emb, audio, expected)
        said = err.strip().splitlines()[-1:]
        if run.returncode and not said:
            wrong = wrong or "it ended without a word"
        became = "ended in words" if run.returncode else "tried again, whole"
        outcome.add(Case(became, wrong), f"{name}, batch {batch}")
    return outcome


def two_runs(place: Path, share: float) -> Outcome:
    """Two commands at once on one folder: with shares, and without."""
    audio = collection(place, 24)
    expected = whole(audio, place)
    program = Path(sys.executable).with_name("embedkit")
    outcome = Outcome(tried="two `embedkit extract` at once on one folder, with shares or without")
    for number in range(round(20 * share)):
        emb = place / f"emb-{number}"
        shares = number % 2 == 0
        runs = []
        for one in (1, 2):
            more = ["--shard", f"{one}/2"] if shares else []
            command = [program, "extract", audio, "--out", emb, "--workers", "1", *more]
            runs.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         text=True))  # fmt: skip
        ends = [(run.communicate(timeout=300)[1], run.returncode) for run in runs]
        codes = sorted(code for _, code in ends)
        wrong = differences(emb, expected)
        if "Traceback" in "".join(err for err, _ in ends) or codes not in ([0, 0], [0, 1]):
            wrong = f"exit codes {codes}: {ends[0][0][-200:]}"
        became = "both whole" if codes == [0, 0] else "one refused, one whole"
        outcome.add(Case(became, wrong or ("a share was refused" * (shares and codes != [0, 0]))))
    return outcome


def ray_worker(place: Path, share: float) -> Outcome:
    """A worker of Ray's killed midway, on a cluster of two nodes."""
    outcome = Outcome(tried="a worker of Ray's killed midway, on two nodes")
    if find_spec("ray") is None:
        raise SystemExit("Ray is not installed: pip install 'embedkit[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    from embedkit.extraction.cluster import extract_on_ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    audio = collection(place, 60)
    expected = whole(audio, place)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        for number in range(max(1, round(3 * share))):
            emb = place / f"emb-{number}"
            killed: list[int] = []
            killer = threading.Thread(target=_kill_one, args=(emb, killed), daemon=True)
            killer.start()
            extract_on_ray(audio, DEFAULT_MODEL, emb, shards=6)
            killer.join(timeout=10)
            wrong = differences(emb, expected) if killed else "no worker was found to kill"
            outcome.add(Case("a worker killed, and whole", wrong), number)
    finally:
        ray.shutdown()
        nodes.shutdown()
    return outcome


def _kill_one(emb: Path, killed: list[int]) -> None:
    while not list(emb.glob("files/part-*")):
        time.sleep(0.02)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(b"ray::MapWorker") and not killed:
                os.kill(int(path.parent.name), signal.SIGKILL)
                killed.append(int(path.parent.name))
