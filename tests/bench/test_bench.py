"""The paper's tables on data of one's own: small networks on tones."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from embedkit import metrics
from embedkit.audio.decode import decode
from embedkit.bench import extraction, paper, pictures, tables
from embedkit.bench.claims import CLAIMS, Claim, Scored, Verdict, examine
from embedkit.bench.extraction import measure_extraction
from embedkit.bench.speed import Speed
from embedkit.bench.systems import System, systems
from embedkit.checkpoint import load_config
from embedkit.classifiers.classifier import find_method
from embedkit.classifiers.method import Training
from embedkit.classifiers.plda import Plda
from embedkit.config import FeatureSpec, FrontEnd, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.errors import DatasetError, UsageError
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.table import MODELS
from embedkit.training import Trained, features, train
from embedkit.training.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("unexported")

RATE = 16000
BUDGET = TrainSpec(epochs=1, batch_size=8, learning_rate=1e-3, schedule=Schedule.CONSTANT)


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
    rows = systems()
    assert {row.name for row in rows} == {*MODELS, "gap, mfcc", "gap, cqt"}
    assert rows[0].name == "mlp"
    assert [row.name for row in rows[-2:]] == ["lstm", "b-gru-att"]
    chosen = systems(["fc-64", "mlp", "fc-64"], ["log-mel", "cqt"], "mlp")
    assert [row.name for row in chosen] == ["mlp", "mlp, cqt", "fc-64"]
    # What MFCC are compared with is there, asked for or not.
    alone = systems(["mlp"], ["mfcc"], "gap-lite")
    assert [row.name for row in alone] == ["mlp", "gap-lite", "gap-lite, mfcc"]
    assert [row.name for row in systems(["mlp"], ["log-mel"])] == ["mlp"]


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
        systems(models, front_ends)


def test_trials_are_trained_once_with_the_papers_weight_decay_and_scored_on_their_folds(
    tmp_path: Path, manifest: Manifest, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = systems(["mlp", "lstm"], ["mfcc"], "mlp")
    budget = replace(BUDGET, epochs=2)
    found = paper.run(
        manifest, tmp_path, asked, budget, folds=["1"], recurrent_epochs=1, keep_models=True
    )
    assert [(row.system.name, row.epochs, row.clips) for row in found] == [
        *(("mlp", 2, 4), ("mlp, mfcc", 2, 4), ("lstm", 1, 4))
    ]
    for row, folder, decay, kind in zip(
        found,
        ("mlp", "mlp-mfcc", "lstm"),
        (0.0015, 0.0015, 0),
        (FrontEnd.LOG_MEL, FrontEnd.MFCC, FrontEnd.LOG_MEL),
        strict=True,
    ):
        extractor = ExtractorModule.load(tmp_path / "rows" / folder / "fold-1-seed-0" / "model")
        training = extractor.config.training
        assert isinstance(training, TrainSpec)
        assert (training.weight_decay, training.hold_out_fold) == (decay, "1")
        assert extractor.config.features.kind is kind
        again = evaluate(extractor, manifest.fold("1"))
        trial = row.trials[paper.Key("1", 0)]
        np.testing.assert_allclose(trial.scores, again.scores, atol=1e-6)
        np.testing.assert_array_equal(trial.targets, again.targets)
        assert row.figures["weighted_auc"] == metrics.weighted_auc(again.targets, trial.scores)
        assert row.parameters == sum(p.numel() for p in extractor.network.parameters())

    # Other folds and seeds are trained beside them, and what is there already is not trained again.
    trained = []

    def watched(manifest: Manifest, folder: Path, **options: Any) -> Trained:
        trained.append((folder.parent.name, options["spec"].hold_out_fold, options["spec"].seed))
        return train(manifest, folder, **options)

    monkeypatch.setattr(paper, "train", watched)
    monkeypatch.setattr("embedkit.training.folder.write_network", None)  # what nobody keeps
    alone = systems(["mlp"], ["log-mel"])
    paper.run(manifest, tmp_path, alone, budget, folds=["1"], seeds=[0, 1])
    more = paper.run(manifest, tmp_path, alone, budget, folds=["1", "2"])
    assert trained == [("fold-1-seed-1", "1", 1), ("fold-2-seed-0", "2", 0)]
    places = [
        tmp_path / "rows" / "mlp" / f"fold-{name}" / "model" for name in ("1-seed-0", "2-seed-0")
    ]
    kept, forgotten = ({path.name for path in place.iterdir()} for place in places)
    assert {"model.safetensors", "network.onnx"} < kept
    assert forgotten == {"config.json", "metrics.jsonl"}
    assert [(row.system.name, row.clips) for row in more] == [
        *(("mlp", 8), ("mlp, mfcc", 4), ("lstm", 4))
    ]
    trials = more[0].trials
    right = [trial.scores.argmax(1) == trial.targets.argmax(1) for trial in trials.values()]
    assert more[0].figures["accuracy"] == pytest.approx(np.concatenate(right).mean())
    aucs = {key: trial.figures["weighted_auc"] for key, trial in trials.items()}
    by_seed = [(aucs[paper.Key("1", 0)] + aucs[paper.Key("2", 0)]) / 2, aucs[paper.Key("1", 1)]]
    assert more[0].deviation("weighted_auc") == pytest.approx(np.std(by_seed, ddof=1))
    with pytest.raises(UsageError, match=r"another budget: training\.epochs is 2 there, 3 was"):
        paper.run(manifest, tmp_path, asked, replace(budget, epochs=3), folds=["1"])

    speeds = paper.measure_speeds(found, tmp_path, replace(budget, batch_size=4))
    assert all(speed.training > 0 and speed.inference > 0 for speed in speeds.values())
    assert paper.measure_speeds(found, tmp_path, budget) == speeds


def test_without_a_fold_the_split_test_is_scored(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    rows = systems(["mlp"], ["log-mel"])
    with pytest.raises(DatasetError, match="nothing to score on: name a fold"):
        paper.run(manifest, tmp_path / "none", rows, BUDGET)
    with pytest.raises(DatasetError, match="no folds to hold out"):
        paper.run(manifest, tmp_path / "none", rows, BUDGET, folds=[])
    split = Manifest(
        tuple(
            replace(clip, split="test" if clip.fold == "1" else "train") for clip in manifest.clips
        ),
        several_labels=False,
    )
    [row] = paper.run(split, tmp_path / "split", rows, BUDGET)
    assert row.clips == 4
    assert (tmp_path / "split" / "rows" / "mlp" / "test-seed-0" / "trial.json").exists()


def test_parts_that_run_at_the_same_time_have_one_table_and_compute_features_once(
    tmp_path: Path, manifest: Manifest, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, computed, write = threading.Barrier(2), [], features._write_shard

    def slow(folder: Path, spec: FeatureSpec, segments: SegmentSpec, keys: list[Any]) -> None:
        computed.extend(key[0] for key in keys)
        time.sleep(0.3)  # the other part wants the same meanwhile
        write(folder, spec, segments, keys)

    def part(name: str) -> None:
        together.wait()
        rows = systems([name], ["log-mel"])
        paper.run(manifest, tmp_path, rows, BUDGET, folds=["1"])

    monkeypatch.setattr(features, "_write_shard", slow)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(part, ["mlp", "fc-64"]))
    rows = paper.read_rows(tmp_path)
    assert [(row.system.name, row.clips) for row in rows] == [("mlp", 4), ("fc-64", 4)]
    assert sorted(computed) == sorted(str(clip.path) for clip in manifest.clips)


def test_several_labels_and_a_damaged_held_out_clip_have_a_table(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    clips = [replace(clip, labels=(*clip.labels, "tone")) for clip in manifest.clips]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound" * 99)
    several = Manifest((*clips, replace(clips[2], path=bad)), several_labels=True)
    asked = systems(["mlp", "gap-lite"], ["log-mel"])
    with pytest.warns(UserWarning, match="1 of 3 classes have no positive or no negative"):
        found = paper.run(several, tmp_path / "out", asked, BUDGET, folds=["1"])
    for each in found:
        [trial] = each.trials.values()
        assert trial.targets.tolist() == [[0, 1, 1], [1, 0, 1]] * 2  # high, low, tone
        assert trial.scores.shape == (4, 3)
        assert trial.plda is None
        assert "accuracy" not in each.figures
        assert each.products.keys() == {"logistic", "knn", "retrieval"}
    speeds = {each.system.name: Speed(training=1, inference=1) for each in found}
    text = tables.as_markdown(found, speeds, [])
    assert "| MLP |" in text
    assert "| logistic regression, mAP | kNN, mAP | retrieval, mAP |" in text
    assert pictures.over_bytes(found).axes[0].get_ylabel().startswith("mAP")
    moved = Manifest((*clips[::-1], replace(clips[2], path=bad)), several_labels=True)
    with pytest.raises(UsageError, match=r"another budget: data\.clips is '"):
        paper.run(moved, tmp_path / "out", asked, BUDGET, folds=["1"])


def test_vectors_are_judged_with_what_the_network_was_trained_and_chosen_with(
    tmp_path: Path, manifest: Manifest, narrow: None
) -> None:
    [row] = paper.run(
        manifest, tmp_path, [System(model="gap-lite")], BUDGET, folds=["1"], keep_models=True
    )
    [trial] = row.trials.values()
    place = tmp_path / "rows" / "gap-lite" / "fold-1-seed-0" / "model"
    extractor = ExtractorModule.load(place)
    held = np.array([clip.fold == "1" for clip in manifest.clips])
    sounds = [np.concatenate(list(decode(clip.path, RATE))) for clip in manifest.clips]
    vectors = np.array([extractor.embed(sound)[0] for sound in sounds])
    classes = np.array([("high", "low").index(clip.labels[0]) for clip in manifest.clips])
    eye = np.eye(2, dtype=np.float32)
    known = Training(
        vectors=vectors[~held],
        targets=eye[classes[~held]],
        several_labels=False,
        groups=np.flatnonzero(~held).astype(object),
    )
    plda = Plda().fit(known).scores(vectors[held])
    assert trial.plda is not None
    np.testing.assert_allclose(trial.plda, plda, atol=1e-3)
    assert trial.products["plda"] == np.mean(plda.argmax(axis=1) == classes[held])
    for method, settings in (("logistic", {"c": 0.1}), ("knn", {})):
        scores = find_method(method, **settings).fit(known).scores(vectors[held])
        assert trial.products[method] == np.mean(scores.argmax(axis=1) == classes[held])
    found = metrics.retrieval(vectors[held], eye[classes[held]])[0]
    assert trial.products["retrieval"] == pytest.approx(found)
    assert row.bytes_an_hour == 3600 * 4 * 256


def noisy(truth: NDArray[np.float32], noise: float, seed: int) -> NDArray[np.float64]:
    return truth + noise * np.random.default_rng(seed).standard_normal(truth.shape)


TRUTH = np.eye(3, dtype=np.float32)[np.arange(150) % 3]
SYSTEMS = {
    "good": noisy(TRUTH, 0.3, 0),
    "twin": noisy(TRUTH, 0.3, 0) * 2,
    "bad": noisy(TRUTH, 3.0, 1),
    "poor": noisy(TRUTH, 3.0, 2),
}
TRIALS = {
    name: {("1", 0): Scored(TRUTH, scores), ("2", 0): Scored(TRUTH[:90], scores[:90])}
    for name, scores in SYSTEMS.items()
}


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
    pairs: list[tuple[str, str]], near: bool, verdict: Verdict
) -> None:
    [(_, found, compared)] = examine([Claim("x", tuple(pairs), near)], TRIALS)
    assert found is verdict
    for each in compared:
        by_fold = [
            metrics.weighted_auc(TRUTH[:clips], SYSTEMS[each.pair[0]][:clips])
            - metrics.weighted_auc(TRUTH[:clips], SYSTEMS[each.pair[1]][:clips])
            for clips in (150, 90)
        ]
        assert each.difference == pytest.approx(np.mean(by_fold))
        assert each.low <= each.difference <= each.high
        assert each.clips == 240


def test_one_pair_alone_has_the_interval_of_a_paired_bootstrap() -> None:
    trials = {name: {("1", 0): Scored(TRUTH, SYSTEMS[name])} for name in ("bad", "poor")}
    [(_, _, [found])] = examine([Claim("x", (("bad", "poor"),))], trials)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        clips = rng.integers(150, size=150)
        aucs = [
            roc_auc_score(TRUTH[clips], SYSTEMS[name][clips], average="weighted")
            for name in ("bad", "poor")
        ]
        drawn.append(aucs[0] - aucs[1])
    half = np.quantile(np.abs(np.array(drawn) - found.difference), 0.95)
    assert (found.low, found.high) == pytest.approx(
        (found.difference - half, found.difference + half)
    )


def test_the_more_claims_the_wider_the_intervals_and_few_are_wrong_together() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(20):  # data in which no system is better than another
        trials = {
            name: {("1", 0): Scored(TRUTH[:60], TRUTH[:60] + 2 * rng.standard_normal((60, 3)))}
            for name in "abcdef"
        }
        claims = [Claim(first, ((first, second),)) for first, second in pairwise("abcdef")]
        wrong += any(v is not Verdict.UNDECIDED for _, v, _ in examine(claims, trials))
    assert wrong <= 3  # one is expected; more than three with a probability of 0.016
    alone = examine(claims[:1], trials)[0][2][0]
    together = examine(claims, trials)[0][2][0]
    assert together.high - together.low > alone.high - alone.low


def test_systems_are_compared_on_the_folds_that_both_have() -> None:
    fold = {("2", 0): TRIALS["bad"]["2", 0]}
    [(_, _, [found])] = examine([Claim("x", (("good", "bad"),))], {**TRIALS, "bad": fold})
    assert found.clips == 90
    other = {("3", 0): TRIALS["bad"]["2", 0]}
    [(_, verdict, none)] = examine([Claim("x", (("good", "bad"),))], {**TRIALS, "bad": other})
    assert (verdict, none) == (Verdict.NOT_RUN, [])


def test_claims_are_about_rows_that_there_are() -> None:
    names = {row.name for row in systems()} | {"gap, plda"}
    assert {name for claim in CLAIMS for pair in claim.pairs for name in pair} <= names


def row(name: str, auc: float, front_end: FrontEnd = FrontEnd.LOG_MEL) -> paper.Row:
    figures = {"weighted_auc": auc, "map": auc - 0.1, "accuracy": auc - 0.2}
    products = {"logistic": auc - 0.05, "knn": 0.5, "plda": 0.6, "retrieval": 0.4}
    trials = {
        paper.Key("1", seed): paper.Trial(
            epochs=3, minutes=1.0, made=f"a machine, day {seed}", products=products,
            figures={**figures, "weighted_auc": auc + (seed - 0.5) / 50},
            targets=np.zeros((80, 2), np.float32), scores=np.zeros((80, 2)), plda=None,
        )
        for seed in (0, 1)
    }  # fmt: skip
    return paper.Row(
        system=System(model=name, front_end=front_end),
        parameters=1, embedding_size=7, macs=1, trials=trials,
    )  # fmt: skip


def test_the_tables_have_the_papers_figures_beside_ours() -> None:
    rows = [row("mlp", 0.9), row("gap", 0.95), row("gap", 0.93, FrontEnd.CQT), row("fc-64", 0.91)]
    speeds = {each.system.name: Speed(training=12.4, inference=99.6) for each in rows}
    verdicts = examine([Claim("good > bad", (("good", "bad"),))], TRIALS)
    text = tables.as_markdown(rows, speeds, verdicts)
    [comparison] = verdicts[0][2]
    for line in (
        "| MLP | 3 x 1000, BN | 9.00M | 9.48M | 0.900 ± 0.014 | 0.845 | 0.800 | 0.700 | 80 | 12 |",
        "| FC-64 | AlexNet(BN), both FC small | 3.07M | 3.07M | 0.910 ± 0.014 | 0.841 |",
        "| Global-avg-pool | 0.750 (0.645 to 0.832) | 0.859 |",
        "| cqt | gap | 0.930 ± 0.014 | 0.830 | 0.730 | 80 |",
        "| gap, cqt | 7 | 0.1 | 0.880 | 0.500 | 0.600 | 0.400 | 80 |",
        "| good > bad | supported | good - bad: +0.",
        f"of 1 differences together: half of them are wider than ± "
        f"{(comparison.high - comparison.low) / 2:.3f}",
        "1/9.5 of ResNet-50's, 1/21.7 of AlexNet(BN)'s, 1/3.5 of MLP's",
        "13.7% fewer than AlexNet(BN)",
        "- 3 epochs, 2 seeds, a machine, day 1: mlp; gap; gap, cqt; fc-64.",
    ):
        assert line in text
    assert "| ResNet-50" not in text
    values = json.loads(json.dumps(tables.as_values(rows, speeds, verdicts)))
    assert [entry["name"] for entry in values["rows"]] == ["mlp", "gap", "gap, cqt", "fc-64"]
    assert values["rows"][1]["parameters_at_527_classes"] == 2_589_135
    assert values["claims"][0]["verdict"] == "supported"
    across = {
        pictures.over_parameters: [
            (9_000_527, 0.9), (2_589_135, 0.95), (2_589_135, 0.93), (3_065_871, 0.91)
        ],
        pictures.over_bytes: [(100_800, 0.85), (100_800, 0.9), (100_800, 0.88), (100_800, 0.86)],
    }  # fmt: skip
    for draw, expected in across.items():
        points = draw(rows).axes[0].collections
        found = [np.asarray(point.get_offsets())[0] for point in points]
        np.testing.assert_allclose(found, expected)


def test_extraction_is_measured_stage_by_stage_and_nothing_is_kept(
    tmp_path: Path, chirps: Manifest, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "SEGMENTS", 128)
    monkeypatch.setattr(extraction, "SIDE", 256)
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
