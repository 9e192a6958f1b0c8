"""The same runs on a Ray cluster, whose units of work are shards of the collection."""

import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedkit.audio.files import Skipped
from embedkit.errors import UsageError, require
from embedkit.extraction.collection import Shard
from embedkit.extraction.progress import EXAMPLES
from embedkit.extraction.run import Extraction, extract
from embedkit.extraction.settings import DEFAULTS, Settings
from embedkit.processes import portable

PATIENCE = 1.0  # seconds after which a shard asks how many errors the others have
SHARDS_PER_PROCESSOR = 4  # so that processors that are done early take another


class Errors:
    """An actor that counts the errors of all shards, for the run's limit `max_errors`."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, more: int) -> int:
        """Count more errors; gives the sum."""
        self._count += more
        return self._count


class ShardRun:
    """An actor of Ray Data, which makes a run for each shard that it is given."""

    def __init__(
        self, places: tuple[Path, Path, Path], count: int, settings: Settings, errors: Any
    ) -> None:
        """Prepare runs.

        Args:
            places: the folder of audio, the model and the embedding folder.
            count: number of shards.
            settings: as for `extract`.
            errors: handle of the actor that counts errors.
        """
        self._places = places
        self._count = count
        self._settings = settings
        self._errors = errors

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Embed the files of a shard; rows go to the disk from here, and counts to the driver."""
        [number] = batch["id"].tolist()
        settings = replace(self._settings, shard=Shard(number + 1, self._count))
        told, asked = 0, time.monotonic()

        def stop_in_time(run: Extraction) -> None:
            nonlocal told, asked
            failed, now = run.errors.total(), time.monotonic()
            if failed != told or now - asked > PATIENCE:
                run.stopped |= self._too_many(failed - told)
                told, asked = failed, now

        result: Extraction | Exception
        try:
            if self._too_many(0):
                result = _nothing()
                result.stopped = True
            else:
                result = extract(*self._places, settings, stop_in_time)
        except Exception as error:
            result = portable(error)  # raised, it would come back as Ray's
        return {"result": [result]}

    def _too_many(self, more: int) -> bool:
        """Whether the shards have too many errors, together with some more of this one."""
        most = self._settings.max_errors
        if most is None:
            return False
        ray = importlib.import_module("ray")
        return bool(ray.get(self._errors.add.remote(more)) >= most)


def extract_on_ray(
    root: Path,
    model: Path,
    folder: Path,
    settings: Settings = DEFAULTS,
    report: Callable[[Extraction], None] = lambda run: None,
    *,
    address: str | None = None,
    shards: int | None = None,
) -> Extraction:
    """Embed a collection on all machines of a Ray cluster.

    The three folders have the same paths on all machines, on storage that these share. Each shard
    is a run of `extract` with one worker, so that after a failure of the cluster the run goes on.

    Args:
        root: folder of audio.
        model: the model folder.
        folder: the embedding folder.
        settings: as for `extract`; `shard` and `workers` are set for each shard, and `max_errors`
            counts the errors of all shards.
        report: is called whenever a shard is done.
        address: address of the cluster; by default that of this environment, or a new cluster on
            this machine.
        shards: number of shards; by default four for each processor.

    Returns:
        what all shards did together.

    Raises:
        UsageError: Ray is not installed, or there is less than one shard.
        EmbedkitError: as for `extract`.
    """
    require("ray", "ray")
    ray = importlib.import_module("ray")
    data = importlib.import_module("ray.data")
    if shards is not None and shards < 1:
        raise UsageError(f"{shards} shards: must be at least 1")
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    processors = int(ray.cluster_resources().get("CPU", 1))
    count = shards or SHARDS_PER_PROCESSOR * processors
    errors = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Errors).remote()
    above = settings.audio_root and settings.audio_root.resolve()
    places = (root.resolve(), model.resolve(), folder.resolve())
    each = replace(settings, workers=1, audio_root=above)
    # Not by `data.range`: its tasks would wait for the processor that a run holds, if it is alone.
    numbers = [{"id": number} for number in range(count)]
    runs = data.from_items(numbers, override_num_blocks=count).map_batches(
        ShardRun,
        fn_constructor_args=(places, count, each, errors),
        batch_size=1,
        num_cpus=1,
        concurrency=(1, max(1, processors)),
        max_restarts=-1,
        max_task_retries=-1,  # of an actor that died
    )
    total = _nothing()
    for row in runs.iter_rows():
        if isinstance(row["result"], Exception):
            raise row["result"]
        _add(total, row["result"])
        report(total)
    return total


def _nothing() -> Extraction:
    return Extraction(already_done=0, failed_before=0, changed=0, vanished=0, skipped=Skipped())


def _add(total: Extraction, run: Extraction) -> None:
    for name, value in vars(run).items():
        if name == "peak_bytes":
            total.peak_bytes = max(total.peak_bytes, value)
        elif name == "stopped":
            total.stopped |= value
        elif name == "failures":
            total.failures += value[: EXAMPLES - len(total.failures)]
        else:
            setattr(total, name, getattr(total, name) + value)
