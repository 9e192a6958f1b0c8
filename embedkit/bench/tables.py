"""The tables of the paper with our figures in them, as Markdown and as JSON values."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from embedkit.bench.claims import Claim, Comparison, Verdict
from embedkit.bench.paper import Row
from embedkit.bench.speed import Speed
from embedkit.bench.systems import parameters_at_527
from embedkit.metrics import wilson
from embedkit.models.table import FAMILIES, resolve

# Names, parameters and AUC on AudioSet as the paper prints them (Tables 1 and 2).
TABLE_1 = {
    "mlp": ("MLP", "9.48M", 0.845),
    "lstm": ("LSTM", "85.54M", 0.866),
    "b-gru-att": ("B-GRU-ATT", "107.85M", 0.870),
    "alexnet": ("AlexNet", "56.09M", 0.895),
    "alexnet-bn": ("AlexNet(BN)", "56.11M", 0.927),
    "resnet-50": ("ResNet-50", "24.58M", 0.914),
}
TABLE_2 = {
    "alexnet-bn": TABLE_1["alexnet-bn"],
    "bneck-final-64": ("Bneck-Final-64", "54.30M", 0.889),
    "bneck-final-256": ("Bneck-Final-256", "55.17M", 0.917),
    "bneck-final-1024": ("Bneck-Final-1024", "58.63M", 0.925),
    "bneck-mid-64": ("Bneck-Mid-64", "40.77M", 0.915),
    "bneck-mid-256": ("Bneck-Mid-256", "42.29M", 0.924),
    "bneck-mid-1024": ("Bneck-Mid-1024", "48.41M", 0.927),
    "fc-64": ("FC-64", "3.07M", 0.841),
    "fc-256": ("FC-256", "4.95M", 0.905),
    "fc-1024": ("FC-1024", "13.22M", 0.924),
    "gap": ("Global-avg-pool", "2.59M", 0.916),
    "gap-lite": ("gap-lite (not in the paper)", "", None),
}
# Accuracy on the evaluation set of TUT Acoustic Scenes 2016 (the paper's last section).
SCENES = {"alexnet-bn": 0.874, "gap": 0.859, "lstm": 0.828, "mlp": 0.782}

Verdicts = Sequence[tuple[Claim, Verdict, list[Comparison]]]


def as_values(rows: Sequence[Row], speeds: Mapping[str, Speed], verdicts: Verdicts) -> Any:
    """Everything in the tables, for JSON.

    Args:
        rows: the systems.
        speeds: speeds by the name of the row.
        verdicts: the claims with their verdicts.

    Returns:
        JSON values.
    """
    return {
        "rows": [
            {
                "name": row.system.name,
                "model": row.system.model,
                "front_end": str(row.system.front_end),
                "parameters": row.parameters,
                "parameters_at_527_classes": parameters_at_527(row.system.model),
                "embedding_size": row.embedding_size,
                "bytes_an_hour": row.bytes_an_hour,
                "macs": row.macs,
                "epochs": row.epochs,
                "clips": row.clips,
                **row.figures,
                "deviation_over_seeds": _number(row.deviation("weighted_auc")),
                "products": {name: _number(value) for name, value in row.products.items()},
                "trials": [
                    {
                        "fold": key.fold,
                        "seed": key.seed,
                        "training_minutes": trial.minutes,
                        "made": trial.made,
                        **trial.figures,
                    }
                    for key, trial in row.trials.items()
                ],
                "training_segments_a_second": speeds[row.system.name].training,
                "inference_segments_a_second": speeds[row.system.name].inference,
            }
            for row in rows
        ],
        "claims": [
            {
                "claim": claim.text,
                "verdict": str(verdict),
                "comparisons": [asdict(comparison) for comparison in comparisons],
            }
            for claim, verdict, comparisons in verdicts
        ],
    }


def as_markdown(rows: Sequence[Row], speeds: Mapping[str, Speed], verdicts: Verdicts) -> str:
    """The tables for a person; those without a row are left out.

    Args:
        rows: the systems.
        speeds: speeds by the name of the row.
        verdicts: the claims with their verdicts.

    Returns:
        the text.
    """
    log_mel = {row.system.model: row for row in rows if row.system.name == row.system.model}
    parts = []
    for title, published in (("Table 1: systems", TABLE_1), ("Table 2: strategies", TABLE_2)):
        found = [(entry, log_mel[name]) for name, entry in published.items() if name in log_mel]
        if found:
            parts += [f"### {title}", _systems(found, speeds)]
    scenes = [(name, accuracy) for name, accuracy in SCENES.items() if name in log_mel]
    if scenes and "accuracy" in rows[0].figures:
        parts += ["### Accuracy of the four systems of the scene section", _scenes(scenes, log_mel)]
    compared = {row.system.model for row in rows if row.system.name != row.system.model}
    if compared:
        found_rows = [row for row in rows if row.system.model in compared]
        parts += ["### Front-ends", _front_ends(found_rows)]
    parts += ["### What the vectors are worth", _products(rows)]
    parts += ["### The paper's claims on this data", _claims(verdicts), _resolution(verdicts)]
    parts += [_counts(), _budgets(rows)]
    return "\n\n".join(parts)


def _systems(
    found: Iterable[tuple[tuple[str, str, float | None], Row]], speeds: Mapping[str, Speed]
) -> str:
    lines = []
    for (name, parameters, auc), row in found:
        figures, speed = row.figures, speeds[row.system.name]
        lines.append(
            [
                name,
                FAMILIES[resolve(row.system.model).name].structure,
                f"{parameters_at_527(row.system.model) / 1e6:.2f}M",
                parameters,
                _auc(row),
                "" if auc is None else f"{auc:.3f}",
                f"{figures['map']:.3f}",
                f"{figures['accuracy']:.3f}" if "accuracy" in figures else "",
                row.clips,
                f"{speed.training:.0f}",
                f"{speed.inference:.0f}",
                row.embedding_size,
            ]
        )
    header = [
        "model",
        "structure",
        "parameters",
        "the paper's",
        "AUC",
        "the paper's, on AudioSet",
        "mAP",
        "accuracy",
        "clips scored",
        "training segments/s",
        "embedding segments/s",
        "embedding size",
    ]
    return _table(header, lines)


def _auc(row: Row) -> str:
    """Weighted AUC, with its deviation where there are several seeds."""
    deviation = row.deviation("weighted_auc")
    spread = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    return f"{row.figures['weighted_auc']:.3f}{spread}"


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _number(value: float) -> float | None:
    """The value, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def _scenes(scenes: Iterable[tuple[str, float]], rows: Mapping[str, Row]) -> str:
    names = TABLE_1 | TABLE_2
    return _table(
        ["model", "accuracy (95 % interval)", "the paper's, on TUT 2016"],
        [
            [
                names[name][0],
                _accuracy(rows[name]),
                f"{its:.3f}",
            ]
            for name, its in scenes
        ],
    )


def _accuracy(row: Row) -> str:
    accuracy = row.figures["accuracy"]
    low, high = wilson(accuracy, row.clips)
    return f"{accuracy:.3f} ({low:.3f} to {high:.3f})"


def _front_ends(rows: Iterable[Row]) -> str:
    return _table(
        ["front-end", "model", "AUC", "mAP", "accuracy", "clips scored"],
        [
            [
                row.system.front_end,
                row.system.model,
                _auc(row),
                f"{row.figures['map']:.3f}",
                f"{row.figures['accuracy']:.3f}" if "accuracy" in row.figures else "",
                row.clips,
            ]
            for row in rows
        ],
    )


def _products(rows: Sequence[Row]) -> str:
    """The embedding as a product: back-ends on its vectors, beside its bytes."""
    names = {"logistic": "logistic regression", "knn": "kNN", "plda": "PLDA"}
    there = [name for name in names if name in rows[0].products]
    figure = "accuracy" if "accuracy" in rows[0].figures else "mAP"
    return _table(
        [
            "vectors of",
            "numbers",
            "MB an hour",
            *(f"{names[name]}, {figure}" for name in there),
            "retrieval, mAP",
            "clips scored",
        ],
        [
            [
                row.system.name,
                row.embedding_size,
                f"{row.bytes_an_hour / 1e6:.1f}",
                *(_figure(row.products[name]) for name in [*there, "retrieval"]),
                row.clips,
            ]
            for row in rows
        ],
    )


def _claims(verdicts: Verdicts) -> str:
    return _table(
        ["claim", "verdict", "difference of AUC (simultaneous 95 % interval)"],
        [
            [
                claim.text,
                verdict,
                "; ".join(
                    f"{each.pair[0]} - {each.pair[1]}: {each.difference:+.3f}"
                    f" ({each.low:+.3f} to {each.high:+.3f}, {each.clips} clips)"
                    for each in comparisons
                ),
            ]
            for claim, verdict, comparisons in verdicts
        ],
    )


def _resolution(verdicts: Verdicts) -> str:
    """What data of this size can say about systems that differ little."""
    halves = [(each.high - each.low) / 2 for _, _, found in verdicts for each in found]
    if not halves:
        return "No two systems of a claim have been run."
    return (
        f"The intervals are of {len(halves)} differences together: half of them are wider than"
        f" ± {statistics.median(halves):.3f}, and a smaller difference of AUC can mostly not be"
        " told from none with so many clips. They do not cover what another training, from another"
        " seed, would give."
    )


def _counts() -> str:
    """What the paper says about parameters, by our counts at 527 outputs."""
    gap, mid = parameters_at_527("gap"), parameters_at_527("bneck-mid-1024")
    shares = ", ".join(
        f"1/{parameters_at_527(other) / gap:.1f} of {name}'s"
        for name, other in (
            ("ResNet-50", "resnet-50"),
            ("AlexNet(BN)", "alexnet-bn"),
            ("MLP", "mlp"),
        )
    )
    less = 1 - mid / parameters_at_527("alexnet-bn")
    return (
        f"Parameters, counted at 527 outputs: Global-avg-pool has {shares}; Bneck-Mid-1024 has"
        f" {less:.1%} fewer than AlexNet(BN)."
    )


def _budgets(rows: Sequence[Row]) -> str:
    """How long, from which seeds, when and on what the rows were trained."""
    alike: dict[tuple[int, int, str], list[str]] = {}
    for row in rows:
        seeds = len({key.seed for key in row.trials})
        for made in sorted({trial.made for trial in row.trials.values()}):
            alike.setdefault((row.epochs, seeds, made), []).append(row.system.name)
    return "\n".join(
        f"- {epochs} epoch{'s' * (epochs > 1)}, {seeds} seed{'s' * (seeds > 1)}, {made}:"
        f" {'; '.join(names)}."
        for (epochs, seeds, made), names in alike.items()
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
