"""Compares any extractors on somebody's own labelled sounds."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from embedkit import metrics
from embedkit.atomic import atomic_write
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import find_method
from embedkit.classifiers.few import few_shot
from embedkit.classifiers.splits import Indices, choose
from embedkit.errors import DatasetError, UsageError
from embedkit.extraction import Extraction, Settings, extract
from embedkit.labels.join import Labelled, join_labels
from embedkit.progress import Track, untracked
from embedkit.runtime.installed import name_of, resolve
from embedkit.search.clusters import agreement
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

EXAMPLES = (1, 4, 16)  # of each label, in the few-shot figures
RESAMPLES, OF_CLUSTERS = 2000, 200
LEVEL = 0.05  # of the test that tells a figure from the best
MAIN = ("logistic", "knn")  # what is advised by: the first that there is


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of merit.

    Attributes:
        value: the figure.
        low, high: its 95 % interval.
        p: how likely the best extractor's figure differs as much if both are equally good; 1 for
            the best itself.
    """

    value: float
    low: float
    high: float
    p: float

    @property
    def is_worse(self) -> bool:
        """Whether it is clearly worse than the best."""
        return self.p < LEVEL


@dataclass(kw_only=True)
class ExtractorRow:
    """What an extractor costs and gives.

    Attributes:
        name: the name that the user gave it.
        model: what it is.
        size: numbers of a vector.
        segment_s: seconds of sound that a vector stands for.
        bytes_an_hour: bytes of vectors for an hour of audio.
        speed: seconds of audio that were embedded in a second; NaN where that was not measured.
        peak_bytes: the most memory that a worker held; 0 where that is not known.
        figures: figures of merit by name.
    """

    name: str
    model: str
    size: int
    segment_s: float
    bytes_an_hour: float
    speed: float
    peak_bytes: int
    figures: dict[str, Figure] = field(default_factory=dict)


def compare_extractors(
    audio: Path,
    labels: str,
    models: Sequence[str],
    folder: Path,
    *,
    label_column: str = "",
    fold: str | None = None,
    folds: int | None = None,
    share: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    report: Callable[[Extraction], None] = lambda run: None,
    track: Track = untracked,
) -> tuple[str, list[ExtractorRow]]:
    """Embed a labelled collection with each extractor, and score what its vectors are worth.

    Each has an embedding folder in `folder`; a run that was interrupted goes on. Only clips of
    which all have vectors are scored.

    Args:
        audio: folder of audio.
        labels: what `join_labels` takes.
        models: model folders, others' `extractor.toml`s, or names as `Extractor.load` takes them.
        folder: gets the embedding folders.
        label_column: the heading of the labels, where the table has none of the known headings.
        fold: the fold to hold out, as for `splits.choose`.
        folds: number of folds to draw, as for `splits.choose`.
        share: share to hold out, as for `splits.choose`.
        seed: seed of all draws.
        workers: number of processes.
        report: as for `extract`.
        track: shows the progress of the scoring.

    Returns:
        what is held out, in words, and a row for each extractor.

    Raises:
        UsageError: two models have the same name, or the labels have times.
        DatasetError: the labels cannot be joined or split.
    """
    named = _named(models)
    rows, tables = [], []
    for name, model in named.items():
        rows.append(_embed(audio, name, model, folder / name, workers, report))
        tables.append(EmbeddingTable.open(folder / name))
    joined = [join_labels(table, labels, label_column=label_column) for table in tables]
    if joined[0].seconds is not None:
        raise UsageError(
            f"{labels}: these labels are of stretches, and so of segments, and each extractor cuts"
            " its own; bring labels of whole clips"
        )
    data = _alike(joined)
    how, splits = choose(data[0], fold=fold, folds=folds, share=share, seed=seed)
    scored = [_score(each, splits, seed) for each in track(data, "Scoring", len(data))]
    held = np.concatenate([held for _, held in splits])
    _judge(rows, scored, np.array(data[0].groups)[held], data[0], held)
    return how, rows


def advise(rows: Sequence[ExtractorRow]) -> str:
    """The extractor with the fewest bytes among those that are not clearly worse than the best."""
    main = next(name for name in MAIN if name in rows[0].figures)
    best = max(rows, key=lambda row: row.figures[main].value)
    alike = [row for row in rows if not row.figures[main].is_worse]
    one = min(alike, key=lambda row: (row.bytes_an_hour, -row.speed))
    quality = f"{main} reaches {one.figures[main].value:.3f}"
    cost = f"{one.bytes_an_hour / 1e6:.1f} MB for an hour of audio"
    if one is best:
        others = "" if len(alike) > 1 else "; all others are clearly worse"
        return f"Take {one.name}: {quality}, the best, at {cost}{others}."
    return (
        f"Take {one.name}: {quality} at {cost}, no clear difference from the best, {best.name},"
        f" with {best.figures[main].value:.3f} at {best.bytes_an_hour / 1e6:.1f} MB"
        f" (p = {one.figures[main].p:.2f})."
    )


def _named(models: Sequence[str]) -> dict[str, Path]:
    """The path of each model by a name for its folder."""
    found: dict[str, Path] = {}
    for text in models:
        path = resolve(Path(text))
        name = re.sub(r"[^\w.-]", "-", name_of(path))
        if name in found:
            raise UsageError(
                f"two models are called {name!r}: {found[name]} and {path}; rename one"
            )
        found[name] = path
    if not found:
        raise UsageError("no model to compare; expected names such as default,yamnet.toml")
    return found


def _embed(
    audio: Path,
    name: str,
    model: Path,
    folder: Path,
    workers: int | None,
    report: Callable[[Extraction], None],
) -> ExtractorRow:
    """Bring its embedding folder up to date, and tell what that cost."""
    started = time.monotonic()
    done = extract(audio, model, folder, Settings(workers=workers), report)
    seconds = time.monotonic() - started
    # Of the last run that embedded anything.
    costs = folder.with_name(f"{folder.name}.costs.json")
    if done.audio_s:
        with atomic_write(costs) as file:
            found = {"speed": done.audio_s / seconds, "peak_bytes": done.peak_bytes}
            file.write(json.dumps(found).encode())
    known = json.loads(costs.read_bytes()) if costs.exists() else {}
    provenance = EmbeddingTable.open(folder).provenance
    return ExtractorRow(
        name=name,
        model=provenance.model_name,
        size=provenance.embedding_size,
        segment_s=provenance.segment_s,
        bytes_an_hour=4 * provenance.embedding_size * 3600 / provenance.hop_s,
        speed=float(known.get("speed", "nan")),
        peak_bytes=int(known.get("peak_bytes", 0)),
    )


def _alike(joined: Sequence[Labelled]) -> list[Labelled]:
    """The same clips for each, in one order."""
    common = set.intersection(*(set(data.clips) for data in joined))
    if not common:
        raise DatasetError("no labelled clip has vectors of all extractors")
    found = []
    for data in joined:
        kept = [place for place, clip in enumerate(data.clips) if clip in common]
        kept.sort(key=lambda place: data.clips[place])
        values = {
            name: [value[place] for place in kept]
            for name, value in vars(data).items()
            if name in {"clips", "folds", "splits", "groups"} and value is not None
        }
        arrays = {name: getattr(data, name)[kept] for name in ("vectors", "targets")}
        found.append(Labelled(**{**vars(data), **values, **arrays}))
    return found


# What is scored: values of the held-out clips, whose mean is the figure; or the labels that are
# known of them and the clusters that were found.
Scores = dict[str, NDArray[np.float64]]


def _score(data: Labelled, splits: Sequence[tuple[Indices, Indices]], seed: int) -> Scores:
    held = np.concatenate([rows for _, rows in splits])
    scores: Scores = {}
    for name in MAIN:
        settings = {"c": 0.1} if name == "logistic" else {}
        found = classify.evaluate(data, splits, find_method(name, **settings))
        scores[name] = _average_precisions(found) if data.several_labels else found.correct
    parts = [metrics.retrieved(data.vectors[rows], data.targets[rows]) for _, rows in splits]
    scores["retrieval"] = np.concatenate(parts)
    if data.several_labels:
        return scores
    for examples in EXAMPLES:
        shares = few_shot(data, splits, examples, seed)
        if shares is not None:
            scores[f"few-shot, {examples}"] = shares
    means = KMeans(len(data.labels), n_init=4, random_state=seed).fit(unit(data.vectors[held]))
    scores["clusters"] = means.labels_.astype(np.float64)
    return scores


def _average_precisions(found: classify.Evaluation) -> NDArray[np.float64]:
    """How well each clip's labels rank before all others; NaN for a clip without labels."""
    from sklearn.metrics import label_ranking_average_precision_score

    targets = np.nan_to_num(found.targets)
    return np.array(
        [
            label_ranking_average_precision_score(wanted[None], mine[None])
            if wanted.any()
            else np.nan
            for wanted, mine in zip(targets, found.scores, strict=True)
        ]
    )


def _judge(
    rows: Sequence[ExtractorRow],
    scored: Sequence[Scores],
    groups: NDArray[np.str_],
    data: Labelled,
    held: Indices,
) -> None:
    """Give each row its figures, each with an interval and a test against the best.

    Clips are drawn with all clips of their group (bootstrap); for shares the interval is Wilson's.
    All extractors have the same draws, so that the test is a paired one.
    """
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(0)
    draws = [
        np.concatenate([members[place] for place in rng.integers(len(members), size=len(members))])
        for _ in range(RESAMPLES)
    ]
    for name in scored[0]:
        if name == "clusters":
            continue
        values = np.array([scores[name] for scores in scored])
        drawn = np.array([np.nanmean(values[:, draw], axis=1) for draw in draws])
        _take_up(rows, name, np.nanmean(values, axis=1), drawn)
        for row, mine in zip(rows, values, strict=True):
            if set(np.unique(mine)) <= {0.0, 1.0}:
                low, high = metrics.share_interval(mine, groups.tolist())
                row.figures[name] = Figure(
                    **{**asdict(row.figures[name]), "low": low, "high": high}
                )
    if "clusters" not in scored[0]:
        return
    clusters = np.array([scores["clusters"] for scores in scored]).astype(np.int64)
    truth = [data.labels[label] for label in data.classes[held]]
    names = np.array(truth)
    for measure in ("ami", "ari"):
        whole = np.array([agreement(mine, truth)[measure] for mine in clusters])
        drawn = np.array(
            [
                [agreement(mine[draw], names[draw].tolist())[measure] for mine in clusters]
                for draw in draws[:OF_CLUSTERS]
            ]
        )
        _take_up(rows, f"clusters, {measure.upper()}", whole, drawn)


def _take_up(
    rows: Sequence[ExtractorRow],
    name: str,
    whole: NDArray[np.float64],
    drawn: NDArray[np.float64],
) -> None:
    """Figures [rows], and the same of draws [draws, rows]."""
    best = int(np.argmax(whole))
    lows, highs = np.quantile(drawn, [0.025, 0.975], axis=0)
    for place, row in enumerate(rows):
        ahead = drawn[:, best] - drawn[:, place]
        least = 1 / len(drawn)
        p = 1.0 if place == best else max(least, min(1.0, 2 * float(np.mean(ahead <= 0))))
        row.figures[name] = Figure(
            value=float(whole[place]), low=float(lows[place]), high=float(highs[place]), p=p
        )
