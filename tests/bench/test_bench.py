"""The paper's tables on data of one's own: small networks on tones."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.audio.decode import decode
from embedkit.bench import paper, tables
from embedkit.bench.claims import CLAIMS, Claim, Verdict, examine, resampled_aucs
from embedkit.bench.extraction import measure_extraction
from embedkit.bench.speed import Speed
from embedkit.checkpoint import load_config
from embedkit.classifiers.method import Training
from embedkit.classifiers.plda import Plda
from embedkit.config import FrontEnd, Schedule, TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.errors import DatasetError, UsageError
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.table import MODELS
from embedkit.training.evaluation import evaluate

RATE = 16000
BUDGET = TrainSpec(
    epochs=1, batch_size=8, learning_rate=1e-3, schedule=Schedule.CONSTANT, hold_out_fold="1"
)


@pytest.fixture(scope="module")
def manifest(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]
) -> Manifest:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    clips = []
    for number in range(12):
        hertz = (300, 2500)[number % 2] * rng.uniform(0.9, 1.1)
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
        path = write_audio(folder / f"{number}.wav", tone)
        label = ("low", "high")[number % 2]
        clips.append(Clip(path=path, labels=(label,), fold=str(number // 2 % 3)))
    return Manifest(tuple(clips), several_labels=False)


def test_without_a_choice_every_model_and_front_end_has_a_row_the_cheapest_first() -> None:
    rows = paper.systems()
    assert {row.name for row in rows} == {*MODELS, "gap, mfcc", "gap, cqt"}
    assert rows[0].name == "mlp"
    assert [row.name for row in rows[-2:]] == ["lstm", "b-gru-att"]
    chosen = paper.systems(["fc-64", "mlp", "fc-64"], ["log-mel", "cqt"], "mlp")
    assert [row.name for row in chosen] == ["mlp", "mlp, cqt", "fc-64"]
    # What MFCC are compared with is there, asked for or not.
    alone = paper.systems(["mlp"], ["mfcc"], "gap-lite")
    assert [row.name for row in alone] == ["mlp", "gap-lite", "gap-lite, mfcc"]
    assert [row.name for row in paper.systems(["mlp"], ["log-mel"])] == ["mlp"]


@pytest.mark.parametrize(
    ("models", "front_ends", "message"),
    [
        (["mpl"], [], "no model 'mpl'; did you mean mlp"),
        ([], ["plp"], "no front-end 'plp'; there are: log-mel, mfcc, cqt"),
    ],
)
def test_a_name_that_is_none_is_refused(
    models: list[str], front_ends: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        paper.systems(models, front_ends)


def test_rows_are_trained_once_with_the_papers_weight_decay_and_scored_on_the_fold(
    tmp_path: Path, manifest: Manifest, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = paper.systems(["mlp", "lstm"], ["mfcc"], "mlp")
    budget = replace(BUDGET, epochs=2)
    targets, found = paper.run(manifest, tmp_path, rows, budget, recurrent_epochs=1)
    assert [(row.system.name, row.epochs) for row in found] == [
        *(("mlp", 2), ("mlp, mfcc", 2), ("lstm", 1))
    ]
    held = manifest.fold("1")
    for row, folder, decay, kind in zip(
        found,
        ("mlp", "mlp-mfcc", "lstm"),
        (0.0015, 0.0015, 0),
        (FrontEnd.LOG_MEL, FrontEnd.MFCC, FrontEnd.LOG_MEL),
        strict=True,
    ):
        extractor = ExtractorModule.load(tmp_path / "rows" / folder / "model")
        assert extractor.config.training.weight_decay == decay
        assert extractor.config.training.hold_out_fold == "1"
        assert extractor.config.features.kind is kind
        again = evaluate(extractor, held)
        np.testing.assert_allclose(row.scores, again.scores, atol=1e-6)
        np.testing.assert_array_equal(targets, again.targets)
        assert row.figures["weighted_auc"] == metrics.weighted_auc(targets, row.scores)
        assert row.parameters == sum(p.numel() for p in extractor.network.parameters())
    monkeypatch.setattr(paper, "train", lambda *_, **__: pytest.fail("trained again"))
    _, again_found = paper.run(manifest, tmp_path, rows, budget, recurrent_epochs=1)
    assert [row.figures for row in again_found] == [row.figures for row in found]
    with pytest.raises(UsageError, match=r"another budget: training\.epochs is 2 there, 3 was"):
        paper.run(manifest, tmp_path, rows, replace(budget, epochs=3))

    speeds = paper.measure_speeds(found, tmp_path, batch_size=4)
    assert all(speed.training > 0 and speed.inference > 0 for speed in speeds.values())
    assert paper.measure_speeds(found, tmp_path, batch_size=4) == speeds


def test_without_a_fold_the_split_test_is_scored(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    budget = replace(BUDGET, hold_out_fold="")
    rows = paper.systems(["mlp"], ["log-mel"])
    with pytest.raises(DatasetError, match="nothing to score on: name a fold"):
        paper.run(manifest, tmp_path / "none", rows, budget)
    split = Manifest(
        tuple(
            replace(clip, split="test" if clip.fold == "1" else "train") for clip in manifest.clips
        ),
        several_labels=False,
    )
    targets, _ = paper.run(split, tmp_path / "split", rows, budget)
    assert len(targets) == 4


def test_several_labels_and_a_damaged_held_out_clip_have_a_table(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    clips = [replace(clip, labels=(*clip.labels, "tone")) for clip in manifest.clips]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound" * 99)
    several = Manifest((*clips, replace(clips[2], path=bad)), several_labels=True)
    rows = paper.systems(["mlp", "gap-lite"], ["log-mel"])
    with pytest.warns(UserWarning, match="1 of 3 classes have no positive or no negative"):
        targets, found = paper.run(several, tmp_path / "out", rows, BUDGET)
    assert targets.tolist() == [[0, 1, 1], [1, 0, 1]] * 2  # high, low, tone
    for each in found:
        assert each.scores.shape == (4, 3)
        assert "accuracy" not in each.figures
        assert 0 <= each.figures["weighted_auc"] <= 1
    speeds = {each.system.name: Speed(training=1, inference=1) for each in found}
    assert "| MLP |" in tables.as_markdown(found, speeds, [])
    moved = Manifest((*clips[::-1], replace(clips[2], path=bad)), several_labels=True)
    with pytest.raises(UsageError, match=r"another budget: data\.clips is '"):
        paper.run(moved, tmp_path / "out", rows, BUDGET)


def test_plda_is_fitted_on_what_the_network_was_trained_and_chosen_with(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    gap = paper.System(model="gap-lite")
    paper.run(manifest, tmp_path, [gap], BUDGET)
    found = paper.plda_scores(manifest, tmp_path, gap, BUDGET)
    extractor = ExtractorModule.load(tmp_path / "rows" / "gap-lite" / "model")
    held = [clip.fold == "1" for clip in manifest.clips]
    sounds = [np.concatenate(list(decode(clip.path, RATE))) for clip in manifest.clips]
    vectors = np.array([extractor.embed(sound)[0] for sound in sounds])
    classes = np.array([("high", "low").index(clip.labels[0]) for clip in manifest.clips])
    train = ~np.array(held)
    known = Training(
        vectors=vectors[train],
        targets=np.eye(2, dtype=np.float32)[classes[train]],
        several_labels=False,
        groups=np.flatnonzero(train).astype(object),
    )
    expected = Plda().fit(known).scores(vectors[held])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def noisy(truth: NDArray[np.float64], noise: float, seed: int) -> NDArray[np.float64]:
    return truth + noise * np.random.default_rng(seed).standard_normal(truth.shape)


TRUTH = np.eye(3)[np.arange(150) % 3]
SYSTEMS = {
    "good": noisy(TRUTH, 0.3, 0),
    "twin": noisy(TRUTH, 0.3, 0) * 2,
    "bad": noisy(TRUTH, 3.0, 1),
    "poor": noisy(TRUTH, 3.0, 2),
}
AUCS = {name: metrics.weighted_auc(TRUTH, scores) for name, scores in SYSTEMS.items()}


@pytest.fixture(scope="module")
def samples() -> dict[str, NDArray[np.float64]]:
    return resampled_aucs(TRUTH, SYSTEMS)


@pytest.mark.parametrize(
    ("pairs", "near", "verdict"),
    [
        ([("good", "bad")], False, Verdict.SUPPORTED),
        ([("bad", "good")], False, Verdict.CONTRADICTED),
        ([("bad", "poor")], False, Verdict.UNDECIDED),
        ([("good", "bad"), ("bad", "poor")], False, Verdict.UNDECIDED),
        ([("good", "bad"), ("bad", "good")], False, Verdict.CONTRADICTED),
        ([("good", "bad"), ("good", "absent")], False, Verdict.NOT_RUN),
        ([("bad", "good"), ("good", "absent")], False, Verdict.CONTRADICTED),
        ([("good", "twin")], False, Verdict.UNDECIDED),
        ([("good", "twin")], True, Verdict.SUPPORTED),
        ([("good", "bad")], True, Verdict.SUPPORTED),
        ([("bad", "good")], True, Verdict.CONTRADICTED),
        ([("bad", "poor")], True, Verdict.UNDECIDED),
    ],
)
def test_a_verdict_is_that_of_all_pairs(
    samples: dict[str, NDArray[np.float64]],
    pairs: list[tuple[str, str]],
    near: bool,
    verdict: Verdict,
) -> None:
    found, compared = examine(Claim("x", tuple(pairs), near), AUCS, samples)
    assert found is verdict
    for each in compared:
        by_hand = [metrics.weighted_auc(TRUTH, SYSTEMS[name]) for name in each.pair]
        assert each.difference == pytest.approx(by_hand[0] - by_hand[1])
        assert each.low <= each.difference <= each.high


def test_claims_are_about_rows_that_there_are() -> None:
    names = {row.name for row in paper.systems()} | {"gap, plda"}
    assert {name for claim in CLAIMS for pair in claim.pairs for name in pair} <= names


def row(name: str, auc: float, front_end: FrontEnd = FrontEnd.LOG_MEL) -> paper.Row:
    figures = {"weighted_auc": auc, "map": auc - 0.1, "accuracy": auc - 0.2}
    return paper.Row(
        system=paper.System(model=name, front_end=front_end),
        parameters=1, embedding_size=7, macs=1, epochs=3, minutes=1.0, figures=figures,
        scores=np.zeros((80, 2)),
    )  # fmt: skip


def test_the_tables_have_the_papers_figures_beside_ours(
    samples: dict[str, NDArray[np.float64]],
) -> None:
    rows = [row("mlp", 0.9), row("gap", 0.95), row("gap", 0.93, FrontEnd.CQT), row("fc-64", 0.91)]
    speeds = {each.system.name: Speed(training=12.4, inference=99.6) for each in rows}
    claim = Claim("good > bad", (("good", "bad"),))
    verdicts = [(claim.text, *examine(claim, AUCS, samples))]
    text = tables.as_markdown(rows, speeds, verdicts)
    for line in (
        "| MLP | 3 x 1000, BN | 9.00M | 9.48M | 0.900 | 0.845 | 0.800 | 0.700 | 3 | 12 | 100 | 7 |",
        "| FC-64 | AlexNet(BN), both FC small | 3.07M | 3.07M | 0.910 | 0.841 |",
        "| Global-avg-pool | 0.750 (0.645 to 0.832) | 0.859 |",
        "| cqt | gap | 0.930 | 0.830 | 0.730 | 3 |",
        "| good > bad | supported | good - bad: +0.",
        "1/9.5 of ResNet-50's, 1/21.7 of AlexNet(BN)'s, 1/3.5 of MLP's",
        "13.7% fewer than AlexNet(BN)",
        "Epochs: 3: mlp, gap, gap, cqt, fc-64.",
    ):
        assert line in text
    assert "| ResNet-50" not in text
    values = json.loads(json.dumps(tables.as_values(rows, speeds, verdicts)))
    assert [entry["name"] for entry in values["rows"]] == ["mlp", "gap", "gap, cqt", "fc-64"]
    assert values["rows"][1]["parameters_at_527_classes"] == 2_589_135
    assert values["claims"][0]["verdict"] == "supported"
    points = tables.picture(rows).axes[0].collections
    found = [tuple(point.get_offsets()[0]) for point in points]
    assert found == [(9_000_527, 0.9), (2_589_135, 0.95), (2_589_135, 0.93), (3_065_871, 0.91)]


def test_extraction_is_measured_stage_by_stage_and_nothing_is_kept(
    tmp_path: Path, chirps: Manifest, model_dir: Path
) -> None:
    root = chirps.clips[0].path.parent
    before = sorted(root.iterdir())
    found = measure_extraction(root, model_dir, workers=1, seconds=0.05, repeats=1)
    assert sorted(root.iterdir()) == before
    assert list(found.stages) == ["decode", "features", "network", "write"]
    assert found.ideal == pytest.approx(1 / sum(1 / rate for rate in found.stages.values()))
    assert 0 < found.end_to_end < 10 * found.ideal
    config = load_config(model_dir)
    macs = count_macs(config.model, config.feature_shape)
    gflops = 2 * macs * found.stages["network"] / 1e9
    assert found.network_gflops == pytest.approx(gflops)
    assert (found.workers, found.runtime) == (1, "onnx")
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no audio"):
        measure_extraction(tmp_path / "none", model_dir, seconds=0.05, repeats=1)
