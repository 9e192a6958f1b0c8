"""How `classify evaluate` tells what was found of marked events."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ._output import message, print_table

if TYPE_CHECKING:
    from embedkit.classifiers.events import EventFigures, Listener, Outcome
    from embedkit.datasets import Clip
    from embedkit.labels.join import Labelled
    from embedkit.labels.stretches import Rule
    from embedkit.metrics import Measured
    from embedkit.store import EmbeddingTable

SHOWN = 20  # recordings
COUNTS = ("events", "found", "detections", "false")


def make_listener(
    table: "EmbeddingTable", data: "Labelled", known: "Mapping[str, Clip]", threshold: float
) -> "Listener":
    """Make what hears the recordings that are held out, and counts events.

    Args:
        table: the vectors of the recordings.
        data: the labels, joined to the segments of `table`.
        known: the labelled clips by their names in `table`.
        threshold: the score from which on a segment is a detection.

    Returns:
        the listener, which collects one outcome for each recording and label.
    """
    from embedkit.classifiers.detect import Criteria
    from embedkit.classifiers.events import Listener

    stretches = [replace(each, clip=name) for name in known for each in known[name].stretches]
    criteria = Criteria(thresholds=dict.fromkeys(data.labels, threshold))
    return Listener(table=table, clips=data.clips, stretches=stretches, criteria=criteria)


def event_figures(listener: "Listener") -> dict[str, Any]:
    """The figures for JSON: of all recordings, by label and by recording."""
    return {
        "events": _plain(listener.outcomes),
        "events_per_label": {name: _plain(some) for name, some in _by("label", listener).items()},
        "events_per_recording": {
            name: _plain(some) for name, some in _by("clip", listener).items()
        },
    }


def print_events(listener: "Listener", rule: "Rule") -> None:
    """Print the figures for a person; of many recordings only those with most false detections.

    Args:
        listener: holds the outcomes.
        rule: says whether all events were marked.
    """
    from embedkit.classifiers.events import summarise
    from embedkit.labels.stretches import Marked

    done = summarise(listener.outcomes)
    labels = _by("label", listener)
    if len(labels) > 1:
        labels["all together"] = listener.outcomes
    print()
    print_table(
        ["label", *COUNTS, "recall", "95 %", "precision", "95 %", "false/h", "95 %"],
        [_row(name, summarise(some)) for name, some in labels.items()],
    )
    print()
    recordings = {name: summarise(some) for name, some in _by("clip", listener).items()}
    most = sorted(recordings, key=lambda name: (-recordings[name].false, name))[:SHOWN]
    print_table(
        ["hours", *COUNTS, "recording"],
        [
            [f"{each.hours:.2f}", *(getattr(each, count) for count in COUNTS), name]
            for name, each in sorted((name, recordings[name]) for name in most)
        ],
    )
    if len(recordings) > SHOWN:
        message(f"of {len(recordings)} recordings, those with most false detections are listed")
    if rule.marked is Marked.SOME and done.false:
        message(
            "a detection counts as false where nothing is marked: if some events are not marked,"
            " fewer are false; if all are marked, say --marked all"
        )


def _by(what: str, listener: "Listener") -> "dict[str, list[Outcome]]":
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in listener.outcomes:
        found[getattr(outcome, what)].append(outcome)
    return dict(sorted(found.items()))


def _row(name: str, done: "EventFigures") -> list[object]:
    figures = (done.recall, done.precision, done.false_an_hour)
    cells = [cell for figure in figures for cell in _cells(figure)]
    return [name, *(getattr(done, count) for count in COUNTS), *cells]


def _cells(figure: "Measured") -> Iterable[str]:
    yield "-" if math.isnan(figure.value) else f"{figure.value:.3f}"
    yield "-" if math.isnan(figure.low) else f"{figure.low:.3f} to {figure.high:.3f}"


def _plain(some: "list[Outcome]") -> dict[str, Any]:
    from embedkit.classifiers.events import summarise

    values = asdict(summarise(some))
    for name in ("recall", "precision", "false_an_hour"):
        values[name], *values[f"{name}_interval"] = values[name]
    return values
