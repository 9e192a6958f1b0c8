"""Events found and false detections: closed forms, and what another library counts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import run, succeed
from made import fit, labelled, write_table_of
from sklearn.metrics import precision_recall_fscore_support

from embedkit.classifiers.detect import Criteria, detect
from embedkit.classifiers.evaluate import Evaluation, Predictions, predict
from embedkit.classifiers.events import Outcome, detect_in, outcomes, summarise
from embedkit.classifiers.tracks import Span
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.labels.join import Unit


def event(start_s: float, end_s: float, sign: str = "+", clip: str = "a") -> Stretch:
    return Stretch(clip=clip, start_s=start_s, end_s=end_s, label="x", sign=Sign(sign))


def heard(*spans: tuple[float, float], clip: str = "a") -> list[Span]:
    return [Span(clip, start, end, "x", 0.9) for start, end in spans]


@pytest.mark.parametrize(
    ("stretches", "spans", "counts"),  # events, found, detections, false
    [
        ([], [], (0, 0, 0, 0)),
        ([event(1, 2)], [], (1, 0, 0, 0)),
        ([], [(1, 2)], (0, 0, 1, 1)),
        ([event(1, 2)], [(1.9, 3)], (1, 1, 1, 0)),
        ([event(1, 2)], [(2, 3)], (1, 0, 1, 1)),  # touching is not overlapping
        ([event(1, 2)], [(0, 5)], (1, 1, 1, 0)),
        ([event(1, 2), event(3, 4)], [(0, 5)], (2, 2, 1, 0)),
        ([event(1, 5)], [(0, 2), (3, 4), (4.5, 9), (9.5, 10)], (1, 1, 4, 1)),
        ([event(1, 2), event(1.5, 3), event(3, 4)], [(3.5, 3.6)], (1, 1, 1, 0)),  # one, united
        ([event(1, 2, "-")], [(1, 2)], (0, 0, 1, 1)),
        ([event(1, 2, "?")], [(1, 2), (3, 4)], (0, 0, 1, 1)),  # nobody knows of the first
        ([event(1, 2, "?"), event(2, 3)], [(1, 2.5)], (1, 1, 1, 0)),
        ([event(2, 2)], [(1, 3)], (1, 1, 1, 0)),  # a moment
        ([event(2, 2)], [(2, 3)], (1, 1, 1, 1)),
        ([event(2, 2)], [(3, 4)], (1, 0, 1, 1)),
        ([event(0, np.inf)], [(3, 4), (8, 9)], (1, 1, 2, 0)),  # the whole recording
        ([event(1, 2, clip="b")], [(1, 2)], (0, 0, 1, 1)),  # elsewhere
    ],
)
def test_events_and_detections_are_counted(
    stretches: list[Stretch], spans: list[tuple[float, float]], counts: tuple[int, ...]
) -> None:
    (found,) = outcomes(stretches, heard(*spans), {"a": 60.0}, ["x"])
    assert (found.events, found.found, found.detections, found.false) == counts


def test_recordings_and_labels_are_counted_each_for_itself() -> None:
    stretches = [event(1, 2), event(1, 2, clip="b"), event(1, 2, clip="elsewhere")]
    spans = [*heard((1, 2)), Span("a", 5, 6, "y", 0.9), Span("elsewhere", 1, 2, "x", 0.9)]
    found = outcomes(stretches, spans, {"b": 10.0, "a": 20.0}, ["y", "x"])
    assert found == [
        Outcome(clip="a", label="x", seconds=20.0, events=1, found=1, detections=1, false=0),
        Outcome(clip="a", label="y", seconds=20.0, events=0, found=0, detections=1, false=1),
        Outcome(clip="b", label="x", seconds=10.0, events=1, found=0, detections=0, false=0),
        Outcome(clip="b", label="y", seconds=10.0, events=0, found=0, detections=0, false=0),
    ]


def outcome(clip: str, events: int, found: int, detections: int, false: int) -> Outcome:
    return Outcome(
        clip=clip, label="x", seconds=1800.0, events=events, found=found, detections=detections,
        false=false,
    )  # fmt: skip


def test_figures_are_of_all_together() -> None:
    done = summarise([outcome("a", 4, 1, 3, 2), outcome("b", 6, 4, 5, 0)])
    assert (done.recordings, done.hours, done.events, done.found) == (2, 1.0, 10, 5)
    assert (done.recall.value, done.precision.value) == (0.5, 0.75)
    assert done.false_an_hour.value == 2.0
    # Drawn with replacement, two recordings are a and a in a quarter of the cases, and so b and b.
    assert done.recall[1:] == pytest.approx((1 / 4, 4 / 6))
    assert done.false_an_hour[1:] == pytest.approx((0, 4))


def test_the_interval_is_that_of_recordings() -> None:
    # Each has 10 events, all found or none: their share has the deviation of as many coins as there
    # are recordings, not as there are events.
    rng = np.random.default_rng(0)
    coins = rng.integers(0, 2, 100)
    done = summarise([outcome(f"{n}", 10, 10 * int(c), 0, 0) for n, c in enumerate(coins)])
    share = coins.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 100)
    assert done.recall.value == share
    assert done.recall[1:] == pytest.approx((share - half, share + half), abs=0.02)


def test_figures_without_events_or_detections_are_not_defined() -> None:
    done = summarise([outcome("a", 0, 0, 0, 0)])
    assert np.isnan([*done.recall, *done.precision, *done.false_an_hour[1:]]).all()
    assert done.false_an_hour.value == 0


def test_held_out_recordings_are_heard_as_all_are(tmp_path: Path) -> None:
    data = labelled(3)
    clips = {f"{n}.wav": data.vectors[3 * n : 3 * n + 3] for n in range(8)}
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(data)
    criteria = Criteria(thresholds=dict.fromkeys("abc", 0.4))
    everything = detect(predict(table, fitted, Unit.SEGMENT), fitted.labels, criteria)
    some = {"1.wav", "2.wav", "6.wav"}
    expected = [span for span in everything if span.clip in some]
    assert len(expected) > 4
    assert list(detect_in(table, fitted, some, criteria)) == expected


@pytest.mark.parametrize("hop", [0.25, 1.0])
def test_sed_scores_eval_counts_the_same(hop: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sed = pytest.importorskip("sed_scores_eval")
    statistics = sed.base_modules.statistics
    curves = statistics.onset_offset_curves
    # Its Cython takes no arrays that may not be written, as pandas gives them.
    monkeypatch.setattr(
        statistics, "onset_offset_curves", lambda scores, *more: curves(scores.copy(), *more)
    )
    rng = np.random.default_rng(0)
    edges = np.arange(round(60 / hop) + 1) * hop
    scores, truth = {}, {}
    batches, stretches = [], []
    for clip in ("a", "b", "c"):
        values = rng.random(len(edges) - 1)
        values = (values + np.roll(values, 1) + np.roll(values, 2)) / 3
        begins = np.sort(rng.choice(29, 8, replace=False)) * 2.0
        spans = [(begin, begin + 1 + number % 4 / 4) for number, begin in enumerate(begins)]
        truth[clip] = [(*span, "x") for span in spans]
        stretches += [event(*span, clip=clip) for span in spans]
        scores[clip] = pd.DataFrame({"onset": edges[:-1], "offset": edges[1:], "x": values})
        batches.append(
            Predictions(
                clips=[clip] * len(values),
                start_s=edges[:-1],
                end_s=edges[1:],
                scores=values[:, None],
            )
        )
    _, _, limits, counts = sed.intersection_based.precision_recall_curve(
        scores, truth, dtc_threshold=1e-3, gtc_threshold=1e-3
    )["x"]
    order = np.argsort(limits)
    looked_at = 0
    for least in np.linspace(0.1, 0.9, 37):
        # Its counts are those of a threshold that has just fallen below a limit.
        at = int(np.searchsorted(limits[order], least))
        if at == len(limits):
            continue
        found = detect(batches, ("x",), Criteria(thresholds={"x": float(least)}))
        done = summarise(outcomes(stretches, found, dict.fromkeys("abc", 60.0), ["x"]))
        assert done.events == counts["n_ref"]
        assert done.found == counts["tps"][order][at]
        assert done.false == counts["fps"][order][at]
        looked_at += 1
    assert looked_at > 30


def made_collection(tmp_path: Path) -> Path:
    """Recordings of 30 s of which some seconds hold a sound; in each one such is not marked."""
    rng = np.random.default_rng(0)
    rows = ["path,start_s,end_s,label,split"]
    clips = {}
    for number in range(6):
        vectors = rng.normal(0, 0.1, (30, 4))
        for start, end in ((3, 5), (9, 10), (20, 24)):
            vectors[start:end, 0] += 3
            rows.append(f"{number}.wav,{start},{end},x,{'train' if number < 3 else 'test'}")
        if number >= 3:
            vectors[14 : 11 + number, 0] += 3
        clips[f"{number}.wav"] = vectors.astype(np.float32)
    write_table_of(tmp_path / "emb", clips, root=tmp_path, last_s=1.0)
    (tmp_path / "marks.csv").write_text("\n".join(rows))
    return tmp_path / "emb"


def test_evaluate_hears_held_out_recordings_from_end_to_end(tmp_path: Path) -> None:
    emb = made_collection(tmp_path)
    evaluate = ("classify", "evaluate", emb, "--labels", tmp_path / "marks.csv", "-C", 0.1)
    found = json.loads(
        succeed(*evaluate, "--marked", "all", "--json", "--picture", tmp_path / "curves.png")
    )
    events = found["events"]
    # In 4.wav a second is heard that is not marked, and in 5.wav two; together 90 s.
    assert [events[name] for name in ("events", "found", "detections", "false")] == [9, 9, 11, 2]
    assert events["recall"] == 1
    assert events["recall_interval"] == [1, 1]
    assert events["false_an_hour"] == pytest.approx(80)
    assert events["false_an_hour_interval"] == [0, pytest.approx(120)]
    assert found["events_per_label"] == {"x": events}
    false = {name: row["false"] for name, row in found["events_per_recording"].items()}
    assert false == {"3.wav": 0, "4.wav": 1, "5.wav": 1}
    done = run(*evaluate)
    assert done.returncode == 0
    assert ["x", "9", "9", "11", "2", "1.000", "1.000", "to", "1.000"] in [
        line.split()[:9] for line in done.stdout.splitlines()
    ]
    assert "if all are marked, say --marked all" in done.stderr
    assert (tmp_path / "curves.png").read_bytes()[1:4] == b"PNG"
    # Nothing is heard above every score.
    found = json.loads(succeed(*evaluate, "--threshold", 1, "--json"))
    assert [found["events"][name] for name in ("found", "detections")] == [0, 0]


def test_curves_over_thresholds_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 2)) < 0.3).astype(np.float32)
    targets[rng.random((300, 2)) < 0.2] = np.nan
    scores = np.round(
        np.clip(0.5 * np.nan_to_num(targets) + rng.normal(0.3, 0.2, (300, 2)), 0, 1), 2
    )
    done = Evaluation(
        clips=[""] * 300, labels=("a", "b"), several_labels=True, targets=targets, scores=scores
    )
    curves = done.over_thresholds()
    known = ~np.isnan(targets)
    for number, least in enumerate(curves.thresholds):
        said = scores[known] >= least
        precision, recall, f1, _ = precision_recall_fscore_support(
            targets[known], said, average="binary", zero_division=np.nan
        )
        found = [curves.precision[number], curves.recall[number]]
        np.testing.assert_allclose(found, [precision, recall])
        if said.any():
            assert curves.f1[number] == pytest.approx(f1)
