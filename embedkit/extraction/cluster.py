"""The same runs on a Ray cluster: shards of the collection are its units of work."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedkit.audio.files import Skipped
from embedkit.errors import EmbedkitError, UsageError, require
from embedkit.extraction.collection import Shard
from embedkit.extraction.progress import EXAMPLES
from embedkit.extraction.run import Extraction, extract
from embedkit.extraction.settings import DEFAULTS, Settings

SHARDS_PER_PROCESSOR = 4  # so that processors that are done early take another


class ShardRun:
    """What an actor of Ray Data does: a run for each shard that it is given."""

    def __init__(self, places: tuple[Path, Path, Path], count: int, settings: Settings) -> None:
        self._places = places
        self._count = count
        self._settings = settings

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Embed the files of a shard; its rows go to the disk from here, counts to the driver."""
        [number] = batch["id"].tolist()
        settings = replace(self._settings, shard=Shard(number + 1, self._count))
        result: Extraction | Exception
        try:
            result = extract(*self._places, settings)
        except (EmbedkitError, OSError) as error:
            result = error  # raised, it would come back as Ray's
        return {"result": [result]}


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

    The three folders have the same paths on all of them, on storage that they share. Each shard is
    a run of `extract` with one worker, so a cluster that went down goes on where it was.

    Args:
        root: folder of audio.
        model: the model folder.
        folder: the embedding folder.
        settings: as for `extract`; `shard` and `workers` are given by Ray's part.
        report: called whenever a shard is done.
        address: of the cluster; by default that of this environment, or a new one on this machine.
        shards: how many to cut the collection into; by default four for each processor.

    Raises:
        UsageError: Ray is not installed, or fewer than one shard.
        EmbedkitError: as `extract`.
    """
    require("ray", "ray")
    ray = importlib.import_module("ray")
    data = importlib.import_module("ray.data")
    if shards is not None and shards < 1:
        raise UsageError(f"{shards} shards: at least 1")
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    processors = int(ray.cluster_resources().get("CPU", 1))
    count = shards or SHARDS_PER_PROCESSOR * processors
    above = settings.audio_root and settings.audio_root.resolve()
    places = (root.resolve(), model.resolve(), folder.resolve())
    runs = data.range(count, override_num_blocks=count).map_batches(
        ShardRun,
        fn_constructor_args=(places, count, replace(settings, workers=1, audio_root=above)),
        batch_size=1,
        num_cpus=1,
        concurrency=(1, max(1, processors)),
        max_restarts=-1,
        max_task_retries=-1,  # of an actor that died
    )
    total = Extraction(already_done=0, failed_before=0, changed=0, vanished=0, skipped=Skipped())
    for row in runs.iter_rows():
        if isinstance(row["result"], Exception):
            raise row["result"]
        _add(total, row["result"])
        report(total)
    return total


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
