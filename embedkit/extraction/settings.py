"""Settings of a run that a user decides."""

import os
from dataclasses import dataclass
from pathlib import Path

from embedkit.audio.decode import MIX, Channel
from embedkit.errors import UsageError
from embedkit.extraction.collection import WHOLE, Shard
from embedkit.hearing import Band
from embedkit.runtime import Runtime, is_cpu

BATCH_ON_CPU, BATCH_ON_CARD = 8, 256  # segments


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a collection is embedded.

    Attributes:
        runtime: what computes the network; by default what made the folder, and for a new folder
            ONNX Runtime on a CPU and torch on any other device.
        dim: size of the embedding, where the model was trained for several.
        hop_s: seconds of the recording from one segment to the next; by default the model's own,
            which are seconds as they are heard.
        batch_size: number of segments that the network takes at a time; by default 8 on a CPU, 256
            on any other device; fewer where memory is short.
        workers: number of processes that decode, embed and write; by default one for each
            processor. With another device than the CPU one process more for each GPU embeds for
            them. The vectors do not depend on it.
        channel: the channel to hear.
        track: which of several sound tracks, from 1 on; by default the first, and the journal notes
            the files that have more.
        speed: how many times as fast as recorded a file is heard; all times stay those of the
            recording. By default as the folder was made, for a new folder as recorded.
        band: the frequencies of the recordings that are heard; by default as the folder was made,
            for a new folder all.
        device: where the network is computed; `cuda` is all GPUs of this machine.
        shard: the share of the collection that the run embeds; other runs may embed the others.
        refresh: embed changed files again, and take out those that have vanished.
        retry_errors: try the files that have failed again.
        timeout: seconds without a sign after which a decoder is killed. Neither the network's time
            counts nor that of a process that is suspended.
        audio_root: folder above the embedded one that clips are named relative to; or the place of
            a collection that has moved.
        max_errors: number of files that may fail before the run stops.

    Raises:
        UsageError: one of them is out of range.
    """

    runtime: Runtime | None = None
    dim: int | None = None
    hop_s: float | None = None
    batch_size: int | None = None
    workers: int | None = None
    channel: Channel = MIX
    track: int | None = None
    speed: float | None = None
    band: Band | None = None
    device: str = "cpu"
    shard: Shard = WHOLE
    refresh: bool = False
    retry_errors: bool = False
    timeout: float = 300.0
    max_errors: int | None = None
    audio_root: Path | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers", "track", "max_errors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')} {value}: must be at least 1")
        if self.timeout <= 0:
            raise UsageError(f"timeout {self.timeout:g}: must be above 0")

    def share_processors(self, files: int) -> tuple[int, int]:
        """The number of workers that so many files are worth, and of threads that each may use.

        The threads are no more than OMP_NUM_THREADS allows, with which Ray tells an actor how many
        processors it has, and others a job on a cluster.
        """
        processors = count_processors()
        workers = min(self.workers or processors, files)
        allowed = os.environ.get("OMP_NUM_THREADS", "")
        most = int(allowed) if allowed.isdecimal() else processors
        return workers, max(1, min(processors // max(1, workers), most))

    def segments_at_a_time(self) -> int:
        """The size of a batch."""
        return self.batch_size or (BATCH_ON_CPU if is_cpu(self.device) else BATCH_ON_CARD)


DEFAULTS = Settings()


def count_processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
