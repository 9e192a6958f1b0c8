"""What a user decides about a run."""

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
        runtime: what executes the network; by default what made the folder, in a new one ONNX
            Runtime on a CPU and torch on any other device.
        dim: size of the embedding, where the model was trained for several.
        hop_s: between two segments, in seconds of the recording; by default the model's own, which
            are seconds as they are heard.
        batch_size: segments that the network takes at a time; by default 8 on a CPU, 256 on any
            other device. Where memory is too short for them, fewer.
        workers: processes that decode, embed and write; by default one for each processor. On
            another device than the CPU one process more for each card embeds for them. The vectors
            do not depend on it.
        channel: of the files.
        track: which of several sound tracks, from 1 on; by default the first, and the journal says
            of which files there are more.
        speed: how often as fast as it was recorded a file is heard; all times stay those of the
            recording. By default as the folder was made, a new one as it was recorded.
        band: which frequencies of the recordings are heard; by default as the folder was made, in a
            new one all.
        device: where the network is computed; `cuda` is all cards of this machine.
        shard: the share of the collection that the run embeds; others may run beside it.
        refresh: embed files anew that have changed, and take out those that have vanished.
        retry_errors: try the files again that have failed.
        timeout: seconds that a decoder may take over nothing, after which it is given up.
            Neither the network's time counts nor that of a process that is suspended.
        audio_root: folder that clips are named relative to, where it is not the one that is
            embedded but one above it; or where a collection is that has moved.
        max_errors: how many files may fail before the run stops.

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
                raise UsageError(f"{name.replace('_', ' ')} {value}: at least 1")
        if self.timeout <= 0:
            raise UsageError(f"timeout {self.timeout:g}: above 0")

    def share_processors(self, files: int) -> tuple[int, int]:
        """How many workers so many files are worth, and how many threads each may use."""
        processors = count_processors()
        workers = min(self.workers or processors, files)
        return workers, max(1, processors // max(1, workers))

    def segments_at_a_time(self) -> int:
        """The size of a batch."""
        return self.batch_size or (BATCH_ON_CPU if is_cpu(self.device) else BATCH_ON_CARD)


DEFAULTS = Settings()


def count_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
