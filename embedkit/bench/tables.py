"""The tables of the paper with our figures in them: as Markdown, as JSON values, as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from embedkit.bench.claims import Comparison, Verdict
from embedkit.bench.paper import Row
from embedkit.bench.speed import Speed
from embedkit.metrics import wilson
from embedkit.models.build import build_model
from embedkit.models.network import count_parameters
from embedkit.models.table import FAMILIES, resolve
from embedkit.pages.plots import mark_points

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

Verdicts = Sequence[tuple[str, Verdict, list[Comparison]]]


def as_values(rows: Sequence[Row], speeds: Mapping[str, Speed], verdicts: Verdicts) -> Any:
    """Everything in the tables, for JSON."""
    return {
        "rows": [
            {
                "name": row.system.name,
                "model": row.system.model,
                "front_end": str(row.system.front_end),
                "parameters": row.parameters,
                "parameters_at_527_classes": _parameters(row.system.model),
                "embedding_size": row.embedding_size,
                "macs": row.macs,
                "epochs": row.epochs,
                "training_minutes": row.minutes,
                **row.figures,
                "training_segments_a_second": speeds[row.system.name].training,
                "inference_segments_a_second": speeds[row.system.name].inference,
            }
            for row in rows
        ],
        "claims": [
            {
                "claim": text,
                "verdict": str(verdict),
                "comparisons": [asdict(comparison) for comparison in comparisons],
            }
            for text, verdict, comparisons in verdicts
        ],
    }


def as_markdown(rows: Sequence[Row], speeds: Mapping[str, Speed], verdicts: Verdicts) -> str:
    """The tables for a person: those that have a row."""
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
    parts += ["### The paper's claims on this data", _claims(verdicts), _counts(), _epochs(rows)]
    return "\n\n".join(parts)


def picture(rows: Sequence[Row]) -> Figure:
    """Weighted AUC over parameters, one point a system."""
    figure = Figure(figsize=(9, 5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    points = np.array(
        [(_parameters(row.system.model), row.figures["weighted_auc"]) for row in rows], np.float64
    )
    for number, (row, (x, y)) in enumerate(zip(rows, points, strict=True), start=1):
        axes.scatter(x, y, color="#0072b2", s=24, label=f"{number}  {row.system.name}")
    axes.set_xscale("log")
    axes.set(xlabel="parameters at 527 classes", ylabel="weighted AUC of held-out clips")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5, handlelength=0)
    mark_points(figure, axes, [str(number) for number in range(1, len(rows) + 1)], points)
    words = (f"{row.system.name} {row.figures['weighted_auc']:.3f}" for row in rows)
    figure.set_label(f"Weighted AUC over parameters: {', '.join(words)}.")
    return figure


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
                f"{_parameters(row.system.model) / 1e6:.2f}M",
                parameters,
                f"{figures['weighted_auc']:.3f}",
                "" if auc is None else f"{auc:.3f}",
                f"{figures['map']:.3f}",
                f"{figures['accuracy']:.3f}" if "accuracy" in figures else "",
                row.epochs,
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
        "epochs",
        "training segments/s",
        "embedding segments/s",
        "embedding size",
    ]
    return _table(header, lines)


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
    low, high = wilson(accuracy, len(row.scores))
    return f"{accuracy:.3f} ({low:.3f} to {high:.3f})"


def _front_ends(rows: Iterable[Row]) -> str:
    return _table(
        ["front-end", "model", "AUC", "mAP", "accuracy", "epochs"],
        [
            [
                row.system.front_end,
                row.system.model,
                f"{row.figures['weighted_auc']:.3f}",
                f"{row.figures['map']:.3f}",
                f"{row.figures['accuracy']:.3f}" if "accuracy" in row.figures else "",
                row.epochs,
            ]
            for row in rows
        ],
    )


def _claims(verdicts: Verdicts) -> str:
    return _table(
        ["claim", "verdict", "difference of AUC (95 % interval)"],
        [
            [
                text,
                verdict,
                "; ".join(
                    f"{each.pair[0]} - {each.pair[1]}: {each.difference:+.3f}"
                    f" ({each.low:+.3f} to {each.high:+.3f})"
                    for each in comparisons
                ),
            ]
            for text, verdict, comparisons in verdicts
        ],
    )


def _counts() -> str:
    """What the paper says of parameters, by our counts at 527 outputs."""
    gap, mid = _parameters("gap"), _parameters("bneck-mid-1024")
    shares = ", ".join(
        f"1/{_parameters(other) / gap:.1f} of {name}'s"
        for name, other in (
            ("ResNet-50", "resnet-50"),
            ("AlexNet(BN)", "alexnet-bn"),
            ("MLP", "mlp"),
        )
    )
    less = 1 - mid / _parameters("alexnet-bn")
    return (
        f"Parameters, counted at 527 outputs: Global-avg-pool has {shares}; Bneck-Mid-1024 has"
        f" {less:.1%} fewer than AlexNet(BN)."
    )


def _epochs(rows: Sequence[Row]) -> str:
    """How long the rows were trained: a claim about unequal ones compares budgets too."""
    by_epochs: dict[int, list[str]] = {}
    for row in rows:
        by_epochs.setdefault(row.epochs, []).append(row.system.name)
    parts = "; ".join(f"{epochs}: {', '.join(names)}" for epochs, names in by_epochs.items())
    return f"Epochs: {parts}."


def _parameters(model: str) -> int:
    """Parameters with the paper's 527 outputs, so that they compare with its tables."""
    with torch.device("meta"):
        return count_parameters(build_model(resolve(model)))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
