"""The paper's systems under one budget on the user's data: each row is trained, scored and kept."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.bench.budget import check_budget, trained_on
from embedkit.bench.claims import RNN
from embedkit.bench.speed import Speed, measure_speed
from embedkit.bench.vectors import clip_vectors
from embedkit.checkpoint import load_config
from embedkit.classifiers.method import Training
from embedkit.classifiers.plda import Plda
from embedkit.config import FeatureSpec, FrontEnd, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest
from embedkit.datasets.manifest import targets
from embedkit.errors import DatasetError, UsageError, choices
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.network import count_parameters
from embedkit.models.table import FAMILIES, MODELS, resolve
from embedkit.progress import Track, untracked
from embedkit.training import train
from embedkit.training.evaluation import evaluate, held_out

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class System:
    """A row of the table: a network on a front-end."""

    model: str
    front_end: FrontEnd = FrontEnd.LOG_MEL

    @property
    def name(self) -> str:
        """The network's name, with the front-end's where that is not log-mel."""
        log_mel = self.front_end is FrontEnd.LOG_MEL
        return self.model if log_mel else f"{self.model}, {self.front_end}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a system reached.

    Attributes:
        system: the network and its front-end.
        parameters: with as many outputs as the data has labels.
        embedding_size: D.
        macs: multiply-accumulates of a segment.
        epochs: of its training.
        minutes: that they took.
        figures: of the held-out clips, by name.
        scores: of the held-out clips [clips, classes].
    """

    system: System
    parameters: int
    embedding_size: int
    macs: int
    epochs: int
    minutes: float
    figures: dict[str, float]
    scores: NDArray[np.float64]


def systems(
    models: Sequence[str] = (), front_ends: Sequence[str] = (), front_end_model: str = "gap"
) -> list[System]:
    """The rows of a table, the cheapest first, so that an interrupted run has most of them.

    Args:
        models: on log-mel; by default all that there are.
        front_ends: others, for one network; by default all that there are.
        front_end_model: that network.

    Raises:
        UsageError: no such model or front-end.
    """
    unknown = sorted(set(front_ends) - set(FrontEnd))
    if unknown:
        raise UsageError(f"no front-end {unknown[0]!r}{choices(unknown[0], FrontEnd)}")
    compared = set(map(FrontEnd, front_ends or FrontEnd))
    if compared - {FrontEnd.LOG_MEL}:
        compared.add(FrontEnd.LOG_MEL)  # what the others are compared with
    else:
        compared.clear()
    found = [
        *(System(model=name) for name in models or MODELS),
        *(System(model=front_end_model, front_end=kind) for kind in FrontEnd if kind in compared),
    ]
    work = {system.name: count_macs(resolve(system.model)) for system in found}
    return sorted(dict.fromkeys(found), key=lambda system: work[system.name])


def run(
    manifest: Manifest,
    folder: Path,
    rows: Sequence[System],
    spec: TrainSpec,
    *,
    recurrent_epochs: int | None = None,
    workers: int = 1,
    device: str = "cpu",
    track: Track = untracked,
) -> tuple[NDArray[np.float32], list[Row]]:
    """Train and score each system that the folder does not have yet.

    Args:
        manifest: the recipe's held-out fold is scored; without one, the split `test`.
        folder: gets one folder a row, the features, and what a next run needs to go on.
        rows: as `systems` gives them.
        spec: the budget. Weight decay is the paper's for each network.
        recurrent_epochs: of LSTM and B-GRU-ATT, where they are to have fewer.
        workers: processes that compute features.
        device: where torch computes.
        track: shows the progress.

    Returns:
        targets of the held-out clips [clips, classes], and the rows.

    Raises:
        UsageError: the folder was begun with another budget or other data.
        DatasetError: nothing is held out.
    """
    held = held_out(manifest, spec)
    check_budget(folder, spec, manifest)
    found = []
    for number, system in enumerate(rows, start=1):
        log.info("row %d of %d: %s", number, len(rows), system.name)
        recipe = replace(
            spec,
            weight_decay=FAMILIES[resolve(system.model).name].weight_decay,
            epochs=(system.model in RNN and recurrent_epochs) or spec.epochs,
        )
        found.append(_row(system, manifest, held, folder, recipe, workers, device, track))
    values: NDArray[np.float32] = np.load(folder / "targets.npy")
    odd = [row.system.name for row in found if len(row.scores) != len(values)]
    if odd:
        raise DatasetError(
            f"{folder}: {odd[0]} was not scored on the same {len(values)} clips as the last row: a"
            " held-out file came or went; begin a new folder"
        )
    return values, found


def measure_speeds(
    rows: Sequence[Row],
    folder: Path,
    batch_size: int,
    device: str = "cpu",
    track: Track = untracked,
) -> dict[str, Speed]:
    """The speed of each row, all measured in one go, so that they compare.

    Args:
        rows: as `run` gives them.
        folder: keeps the figures; they are taken again if a row has none.
        batch_size: segments at a time.
        device: where torch computes.
        track: shows the progress.
    """
    path = folder / f"speed-{device.replace(':', '-')}.json"
    known = json.loads(path.read_bytes()) if path.exists() else {}
    if {row.system.name for row in rows} - known.keys():
        known = {}
        for row in track(rows, "Speed", len(rows)):
            config = load_config(_place(folder, row.system) / "model")
            speed = measure_speed(config.model, config.feature_shape, batch_size, device)
            known[row.system.name] = asdict(speed)
        with atomic_write(path) as file:
            file.write(json.dumps(known).encode())
    return {name: Speed(**values) for name, values in known.items()}


def plda_scores(
    manifest: Manifest, folder: Path, system: System, spec: TrainSpec
) -> NDArray[np.float64]:
    """Scores of the held-out clips by PLDA on the embeddings of a system that has its row.

    PLDA is fitted on the vectors of the clips that the network was trained on, and of those that
    chose its best epoch.

    Args:
        manifest: as for `run`, with one label a clip.
        folder: that `run` wrote.
        system: whose network makes the embeddings.
        spec: the budget, which names what is held out.

    Returns:
        [clips, classes].
    """
    path = folder / "rows" / f"{system.name}-plda" / "scores.npy"
    if not path.exists():
        extractor = ExtractorModule.load(_place(folder, system) / "model")
        cache = folder / "features" / system.front_end
        clips = trained_on(manifest, spec)
        known, kept = clip_vectors(extractor, clips, cache)
        asked, _ = clip_vectors(extractor, held_out(manifest, spec).clips, cache)
        model = Plda().fit(
            Training(
                vectors=known,
                targets=targets([clips[number] for number in kept], extractor.config.labels),
                several_labels=False,
                groups=np.arange(len(known)).astype(object),
            )
        )
        _save(path, model.scores(asked))
    scores: NDArray[np.float64] = np.load(path)
    return scores


def _place(folder: Path, system: System) -> Path:
    return folder / "rows" / system.name.replace(", ", "-")


def _row(
    system: System,
    manifest: Manifest,
    held: Manifest,
    folder: Path,
    spec: TrainSpec,
    workers: int,
    device: str,
    track: Track,
) -> Row:
    place = _place(folder, system)
    if not (place / "row.json").exists():
        trained = train(
            manifest,
            place / "model",
            model=resolve(system.model),
            features=FeatureSpec(kind=system.front_end),
            segments=SegmentSpec(),
            spec=spec,
            cache=folder / "features" / system.front_end,
            workers=workers,
            device=device,
            resume=True,
            track=track,
        )
        extractor = ExtractorModule.load(place / "model", device)
        scored = evaluate(extractor, held, track)
        if scored.failures:
            log.warning("%d held-out clips are damaged", len(scored.failures))
        _save(folder / "targets.npy", scored.targets)
        _save(place / "scores.npy", scored.scores)
        record = {
            "parameters": count_parameters(extractor.network),
            "embedding_size": extractor.embedding_size,
            "macs": count_macs(extractor.config.model, extractor.config.feature_shape),
            "epochs": len(trained.history),
            "minutes": sum(epoch["seconds"] for epoch in trained.history) / 60,
            "figures": scored.figures,
        }
        with atomic_write(place / "row.json") as file:
            file.write(json.dumps(record).encode())
    return Row(
        system=system,
        scores=np.load(place / "scores.npy"),
        **json.loads((place / "row.json").read_bytes()),
    )


def _save(path: Path, values: NDArray[Any]) -> None:
    with atomic_write(path) as file:
        np.save(file, values)
