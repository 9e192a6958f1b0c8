"""The paper's systems under one budget on the user's data: each trial is trained, scored, kept."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.bench.budget import check_budget, trained_on
from embedkit.bench.claims import RNN, Scored, Trials
from embedkit.bench.extraction import processor_name
from embedkit.bench.products import judge_vectors
from embedkit.bench.speed import Speed, measure_speed
from embedkit.bench.systems import System, by_cost
from embedkit.checkpoint import CONFIG, load_config
from embedkit.config import FeatureSpec, FrontEnd, Precision, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest
from embedkit.errors import DatasetError
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.network import count_parameters
from embedkit.models.table import FAMILIES, resolve
from embedkit.progress import Track, untracked
from embedkit.training import train
from embedkit.training.evaluation import evaluate, held_out
from embedkit.training.folder import METRICS
from embedkit.training.running import Running

log = logging.getLogger(__name__)

FIGURES = ("accuracy", "weighted_auc", "macro_auc", "map")  # whose mean over folds means something


class Key(NamedTuple):
    """What tells the trials of a system apart.

    Attributes:
        fold: the held-out fold; empty: the split `test`.
        seed: seed of its training.
    """

    fold: str
    seed: int

    @property
    def folder(self) -> str:
        """The name of its folder below the system's; a fold's name may have any characters."""
        return f"{quote(f'fold-{self.fold}', safe='') if self.fold else 'test'}-seed-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A system trained once, and scored on what was held out.

    Attributes:
        epochs: epochs of its training.
        minutes: minutes that they took.
        made: on which machine, and on which day.
        figures: figures of the held-out clips by the network's own output, by name.
        products: what its vectors of them are worth, as `judge_vectors` gives it.
        targets, scores: of the held-out clips [clips, classes].
        plda: scores by PLDA on its vectors; None where a clip has several labels.
    """

    epochs: int
    minutes: float
    made: str
    figures: dict[str, float]
    products: dict[str, float]
    targets: NDArray[np.float32]
    scores: NDArray[np.float64]
    plda: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a system reached.

    Attributes:
        system: the network and its front-end.
        parameters: number of parameters, with as many outputs as the data has labels.
        embedding_size: D.
        macs: multiply-accumulates of a segment.
        trials: trials by fold and seed.
    """

    system: System
    parameters: int
    embedding_size: int
    macs: int
    trials: dict[Key, Trial]

    @property
    def clips(self) -> int:
        """The number of clips that were held out and scored, in all folds together."""
        return sum({key.fold: len(trial.scores) for key, trial in self.trials.items()}.values())

    @property
    def bytes_an_hour(self) -> int:
        """Bytes of vectors for an hour, at one a second in float32."""
        return 3600 * 4 * self.embedding_size

    @property
    def epochs(self) -> int:
        """The number of epochs of each trial."""
        return max(trial.epochs for trial in self.trials.values())

    @property
    def figures(self) -> dict[str, float]:
        """Figures of the network's own output, means over the trials by their clips."""
        return self._mean([trial.figures for trial in self.trials.values()])

    @property
    def products(self) -> dict[str, float]:
        """Figures of its vectors, means over the trials by their clips."""
        return self._mean([trial.products for trial in self.trials.values()])

    def deviation(self, figure: str) -> float:
        """Standard deviation of a figure over seeds, each a mean over folds; NaN for one seed."""
        by_seed: dict[int, list[float]] = {}
        for key, trial in self.trials.items():
            by_seed.setdefault(key.seed, []).append(trial.figures[figure])
        means = [float(np.mean(values)) for values in by_seed.values()]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")

    def _mean(self, each: Sequence[dict[str, float]]) -> dict[str, float]:
        weights = [len(trial.scores) for trial in self.trials.values()]
        return {
            name: float(np.average([figures[name] for figures in each], axis=0, weights=weights))
            for name in each[0]
        }


def run(
    manifest: Manifest,
    folder: Path,
    rows: Sequence[System],
    spec: TrainSpec,
    *,
    folds: Sequence[str] = ("",),
    seeds: Sequence[int] = (0,),
    recurrent_epochs: int | None = None,
    keep_models: bool = False,
    workers: int = 1,
    device: str = "cpu",
    track: Track = untracked,
) -> list[Row]:
    """Train and score each system that the folder does not have yet, fold by fold.

    Args:
        manifest: labelled clips.
        folder: gets one folder for each row, the features, and what a next run needs to go on.
        rows: as `systems` gives them.
        spec: the budget. Weight decay is the paper's for each network.
        folds: each is held out and scored in turn; an empty one stands for the split `test`.
        seeds: seeds of the trainings; all folds are gone through with each.
        recurrent_epochs: epochs of LSTM and B-GRU-ATT, where they shall have fewer.
        keep_models: keep the trained networks: those of a fold are 5 GB.
        workers: number of processes that compute features.
        device: where torch computes.
        track: shows the progress.

    Returns:
        every row that the folder has, from earlier runs too, the cheapest first.

    Raises:
        UsageError: the folder was begun with another budget or other data.
        DatasetError: nothing is held out.
    """
    if not folds:
        raise DatasetError("no folds to hold out: bring a fold column, or a split column")
    spec = replace(spec, hold_out_fold="", seed=0)
    held = {fold: held_out(manifest, replace(spec, hold_out_fold=fold)) for fold in folds}
    check_budget(folder, spec, manifest)
    asked = [
        (system, Key(fold, seed)) for seed in seeds for fold in folds for system in by_cost(rows)
    ]
    for number, (system, key) in enumerate(asked, start=1):
        place = _place(folder, system) / key.folder
        if (place / "trial.json").exists():
            continue
        log.info("%d of %d: %s, %s", number, len(asked), system.name, key.folder)
        recipe = replace(
            spec,
            weight_decay=FAMILIES[resolve(system.model).name].weight_decay,
            epochs=(system.model in RNN and recurrent_epochs) or spec.epochs,
            hold_out_fold=key.fold,
            seed=key.seed,
        )
        running = Running(
            cache=folder / "features" / system.front_end,
            workers=workers,
            device=device,
            resume=True,
            export=keep_models,
            track=track,
        )
        _try(system, key, manifest, held[key.fold], place, recipe, running)
        if not keep_models:
            _forget(place / "model")
    return read_rows(folder)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a table that there are, the cheapest first.

    Raises:
        DatasetError: two systems were not scored on the same clips.
    """
    found: dict[System, Row] = {}
    targets: dict[str, tuple[str, NDArray[np.float32]]] = {}
    for system, key, record, trial in _trials(folder):
        other, expected = targets.setdefault(key.fold, (system.name, trial.targets))
        if not np.array_equal(expected, trial.targets):
            raise DatasetError(
                f"{folder}: {system.name} was not scored on the same {len(expected)} clips as"
                f" {other}: a held-out file came or went; begin a new folder"
            )
        row = found.setdefault(system, Row(system=system, trials={}, **record))
        row.trials[key] = trial
    return [found[system] for system in by_cost(list(found))]


def scored(rows: Sequence[Row]) -> dict[str, Trials]:
    """What the claims are examined on: each row's scores, and PLDA's on its vectors."""
    found: dict[str, Trials] = {}
    for row in rows:
        name, trials = row.system.name, row.trials.items()
        found[name] = {key: Scored(trial.targets, trial.scores) for key, trial in trials}
        found[f"{name}, plda"] = {
            key: Scored(trial.targets, trial.plda)
            for key, trial in trials
            if trial.plda is not None
        }
    return found


def measure_speeds(
    rows: Sequence[Row],
    folder: Path,
    spec: TrainSpec,
    device: str = "cpu",
    track: Track = untracked,
) -> dict[str, Speed]:
    """The speed of each row, all measured together, so that they can be compared.

    Args:
        rows: as `run` gives them.
        folder: keeps the figures; they are measured again if a row has none.
        spec: the budget, which has the size of a batch and the precision of training.
        device: where torch computes.
        track: shows the progress.

    Returns:
        speeds by the name of the row.
    """
    path = folder / f"speed-{device.replace(':', '-')}.json"
    known = json.loads(path.read_bytes()) if path.exists() else {}
    if {row.system.name for row in rows} - known.keys():
        known = {}
        for row in track(rows, "Speed", len(rows)):
            config = load_config(
                _place(folder, row.system) / next(iter(row.trials)).folder / "model"
            )
            speed = measure_speed(
                config.model, config.feature_shape, spec.batch_size, device, spec.precision
            )
            known[row.system.name] = asdict(speed)
        with atomic_write(path) as file:
            file.write(json.dumps(known).encode())
    return {name: Speed(**values) for name, values in known.items()}


def _place(folder: Path, system: System) -> Path:
    return folder / "rows" / system.name.replace(", ", "-")


def _trials(folder: Path) -> Iterator[tuple[System, Key, dict[str, int], Trial]]:
    for path in sorted(folder.glob("rows/*/*/trial.json")):
        record = json.loads(path.read_bytes())
        system = System(model=record["model"], front_end=FrontEnd(record["front_end"]))
        with np.load(path.with_name("scores.npz")) as kept:
            trial = Trial(
                **record["trial"],
                targets=kept["targets"],
                scores=kept["scores"],
                plda=kept.get("plda"),
            )
        yield system, Key(record["fold"], record["seed"]), record["network"], trial


def _try(
    system: System,
    key: Key,
    manifest: Manifest,
    held: Manifest,
    place: Path,
    spec: TrainSpec,
    running: Running,
) -> None:
    cache, device = running["cache"], running["device"]
    assert cache is not None
    trained = train(
        manifest,
        place / "model",
        model=resolve(system.model),
        features=FeatureSpec(kind=system.front_end),
        segments=SegmentSpec(),
        spec=spec,
        **running,
    )
    extractor = ExtractorModule.load(place / "model", device)
    scored = evaluate(extractor, held, running["track"])
    if scored.failures:
        log.warning("%d held-out clips are damaged", len(scored.failures))
    products, plda = judge_vectors(
        extractor, trained_on(manifest, spec), held.clips, cache, manifest.several_labels
    )
    by_plda = {} if plda is None else {"plda": plda}
    with atomic_write(place / "scores.npz") as file:
        np.savez(file, targets=scored.targets, scores=scored.scores, **by_plda)  # type: ignore[arg-type]
    record = {
        "model": system.model,
        "front_end": system.front_end,
        "fold": key.fold,
        "seed": key.seed,
        "network": {
            "parameters": count_parameters(extractor.network),
            "embedding_size": extractor.embedding_size,
            "macs": count_macs(extractor.config.model, extractor.config.feature_shape),
        },
        "trial": {
            "epochs": len(trained.history),
            "minutes": sum(epoch["seconds"] for epoch in trained.history) / 60,
            "made": f"{_machine(device, spec.precision)}, {datetime.now(UTC):%Y-%m-%d}",
            "figures": {name: scored.figures[name] for name in FIGURES if name in scored.figures},
            "products": products,
        },
    }
    with atomic_write(place / "trial.json") as file:
        file.write(json.dumps(record).encode())


def _forget(model: Path) -> None:
    """Keep of a trained network how it was made and how it learned."""
    for path in model.iterdir():
        if path.name not in (CONFIG, METRICS):
            path.unlink()


def _machine(device: str, precision: Precision) -> str:
    """What computed, in words."""
    name = processor_name()
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return f"{name}, {precision}"
