"""How fast this machine extracts: each stage alone, all together, and what could be reached."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from embedkit.audio.decode import Samples, decode
from embedkit.audio.files import find_audio
from embedkit.audio.segments import cut, stack
from embedkit.errors import AudioError, UsageError
from embedkit.extraction import Extraction, Runtime, Settings, extract
from embedkit.extraction.collection import WHOLE, AudioCollection
from embedkit.extraction.run import make_job
from embedkit.extraction.worker import Job
from embedkit.processes import WorkerPool
from embedkit.runtime.description import is_description
from embedkit.runtime.onnx import read_network
from embedkit.scratch import into_scratch, scratch_folder
from embedkit.store import EmbeddingWriter, FileRecord

SEGMENTS = 512  # that a stage works on again and again: more than a cache holds, as in a real run
SIDE = 2048  # of the matrices that tell the machine's peak


@dataclass(frozen=True, kw_only=True)
class ExtractionSpeed:
    """What `measure_extraction` found; rates are seconds of audio a second.

    Attributes:
        processor: name of the processor.
        workers: number of processes, with one thread each unless there are fewer than processors.
        runtime: what computed the network.
        stages: rate of each stage alone, on all workers at once.
        ideal: 1 / sum(1 / rate of each stage), the rate if no stage waits for another.
        end_to_end: rate of a whole run, from its first batch to its last file on the disk.
        startup_s: seconds until the first batch.
        peak_bytes: the most memory that a worker held.
        network_gflops: what the network's stage computes, in 10^9 multiplications and additions a
            second.
        matmul_gflops: what products of float32 matrices reach.
    """

    processor: str
    workers: int
    runtime: str
    stages: dict[str, float]
    ideal: float
    end_to_end: float
    startup_s: float
    peak_bytes: int
    network_gflops: float
    matmul_gflops: float


def measure_extraction(
    root: Path,
    model: Path,
    *,
    runtime: Runtime | None = None,
    dim: int | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    seconds: float = 3.0,
    repeats: int = 3,
    report: Callable[[Extraction], None] = lambda run: None,
) -> ExtractionSpeed:
    """Measure on your own files. Nothing is kept.

    Args:
        root: folder of audio; take enough of it for a run of ten seconds or more.
        model: the model folder.
        runtime: as for `extract`.
        dim: as for `extract`.
        batch_size: as for `extract`.
        workers: as for `extract`.
        seconds: seconds for each stage.
        repeats: number of times that everything is measured; the median counts.
        report: as for `extract`.

    Returns:
        the rates.

    Raises:
        UsageError: nothing below `root` can be decoded, or the model is somebody else's extractor.
    """
    if is_description(model):
        raise UsageError(
            f"{model}: only models of embedkit's own are taken apart into stages; `embedkit bench"
            " extractors` compares others as a whole"
        )
    settings = Settings(runtime=runtime, dim=dim, batch_size=batch_size, workers=workers)
    paths = find_audio(root).paths
    processes, threads = settings.share_processors(len(paths))
    with scratch_folder() as scratch, into_scratch():
        job = make_job(AudioCollection(root, WHOLE), model, scratch / "stages", settings)
        sample = _sample(job, paths)
        stages = {}
        with WorkerPool(processes) as pool:
            for name, stage in STAGES.items():
                time_it = partial(_rate, stage, job, paths, sample, threads, seconds)
                rates = [sum(pool.map(time_it, range(processes))) for _ in range(repeats)]
                stages[name] = statistics.median(rates)
        # Features and network were timed as one.
        stages["network"] = 1 / (1 / stages["network"] - 1 / stages["features"])
        runs = [
            _whole_run(root, model, scratch / f"run-{n}", settings, report) for n in range(repeats)
        ]
        speed, startup_s, peak_bytes = sorted(runs)[repeats // 2]
    macs = read_network(model).macs
    return ExtractionSpeed(
        processor=processor_name(),
        workers=processes,
        runtime=str(job.program.runtime),
        stages=stages,
        ideal=1 / sum(1 / rate for rate in stages.values()),
        end_to_end=speed,
        startup_s=startup_s,
        peak_bytes=peak_bytes,
        network_gflops=2 * macs * stages["network"] / job.segments.hop_s / 1e9,
        matmul_gflops=_matmul_gflops(),
    )


def _sample(job: Job, paths: list[Path]) -> Samples:
    """Segments from the first files, as many as the stages work on."""
    segments = []
    rate = job.program.sample_rate
    for path in paths:
        try:
            for segment in cut(decode(path, rate), job.segments, rate):
                segments.append(segment)
                if len(segments) == SEGMENTS:
                    return stack(segments)
        except AudioError:
            continue
    if not segments:
        raise UsageError("no audio to measure with")
    return stack(list(islice(cycle(segments), SEGMENTS)))


def _rate(
    stage: Callable[..., Callable[[], float]],
    job: Job,
    paths: list[Path],
    sample: Samples,
    threads: int,
    seconds: float,
    worker: int,
) -> float:
    """Seconds of audio that a stage processes in a second, in this process."""
    threadpool_limits(threads)  # of numpy
    work = stage(job, paths[worker:] + paths[:worker], sample, threads, worker)
    work()  # the first time does not count
    started, audio_s = time.perf_counter(), 0.0
    while (elapsed := time.perf_counter() - started) < seconds:
        audio_s += work()
    return audio_s / elapsed


# A stage is made ready, and gives what does some of its work and tells of how much audio it was.


def _decode(
    job: Job, paths: list[Path], sample: Samples, threads: int, worker: int
) -> Callable[[], float]:
    rate = job.program.sample_rate
    files = cycle(paths)

    def work() -> float:
        seconds = 0.0
        try:
            for segment in cut(decode(next(files), rate), job.segments, rate):
                seconds = segment.end_s
        except AudioError:
            pass
        return seconds

    return work


def _features(
    job: Job, paths: list[Path], sample: Samples, threads: int, worker: int
) -> Callable[[], float]:
    features = job.program.front_end()

    def work() -> float:
        for start in range(0, len(sample), job.batch_size):
            features(sample[start : start + job.batch_size])
        return len(sample) * job.segments.hop_s

    return work


def _embed(
    job: Job, paths: list[Path], sample: Samples, threads: int, worker: int
) -> Callable[[], float]:
    embedder = job.program.start(threads)

    def work() -> float:
        for start in range(0, len(sample), job.batch_size):
            embedder.embed_segments(sample[start : start + job.batch_size])
        return len(sample) * job.segments.hop_s

    return work


def _write(
    job: Job, paths: list[Path], sample: Samples, threads: int, worker: int
) -> Callable[[], float]:
    vectors = np.random.default_rng(0).random((len(sample), job.provenance.embedding_size), "f4")
    numbers = np.arange(len(sample), dtype=np.int32)
    starts = numbers.astype(np.float64) * job.segments.hop_s
    ends = starts + job.segments.duration_s
    clips = count()

    def work() -> float:
        # A part of fifty clips of about a minute.
        with EmbeddingWriter(job.folder, job.provenance, worker) as writer:
            for clip in islice(clips, 50):
                writer.add_rows(str(clip), numbers, starts, ends, vectors)
                writer.finish_file(
                    FileRecord(
                        clip=str(clip),
                        size=0,
                        mtime_ns=0,
                        duration_s=ends[-1],
                        rows=len(sample),
                        kind="",
                        message="",
                    )
                )
        return 50 * len(sample) * job.segments.hop_s

    return work


STAGES = {"decode": _decode, "features": _features, "network": _embed, "write": _write}


def _whole_run(
    root: Path,
    model: Path,
    folder: Path,
    settings: Settings,
    report: Callable[[Extraction], None],
) -> tuple[float, float, int]:
    """Rate, seconds until the first batch, and peak memory of a run."""
    started = time.perf_counter()
    first: tuple[float, float] | None = None

    def watch(run: Extraction) -> None:
        nonlocal first
        if first is None and run.audio_s:
            first = time.perf_counter(), run.audio_s
        report(run)

    done = extract(root, model, folder, settings, watch)
    if first is None:
        raise UsageError(f"{root}: no audio to measure with")
    ended = time.perf_counter()
    if done.audio_s > first[1]:
        rate = (done.audio_s - first[1]) / (ended - first[0])
    else:  # all came at once: too little to leave the start out
        rate = done.audio_s / (ended - started)
    return rate, first[0] - started, done.peak_bytes


def _matmul_gflops() -> float:
    """What products of float32 matrices reach on all processors, the best of five."""
    first, second = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    best = float("inf")
    for _ in range(1 + 5):
        started = time.perf_counter()
        np.matmul(first, second)
        best = min(best, time.perf_counter() - started)
    return 2 * SIDE**3 / best / 1e9


def processor_name() -> str:
    """The name of the processor, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
