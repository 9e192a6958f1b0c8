import json
import math
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from embedkit.audio.features import LogMel
from embedkit.checkpoint import CALIBRATION, CONFIG, NETWORK, WEIGHTS, load_config
from embedkit.config import Activation, FeatureSpec, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Clip, Manifest, split_validation
from embedkit.datasets.manifest import targets
from embedkit.errors import DatasetError, EmbedkitError, UsageError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.progress import Track, untracked
from embedkit.training import Trained, objective, train
from embedkit.training import features as features_module
from embedkit.training.augment import mix, spec_augment
from embedkit.training.card import CARD
from embedkit.training.evaluation import evaluate, score_file
from embedkit.training.features import Features, compute_features
from embedkit.training.folder import CURVES, METRICS, SCRATCH
from embedkit.training.loop import LEFT_OUT
from embedkit.training.objective import validation_figures
from embedkit.training.trainer import make_schedule

pytestmark = pytest.mark.usefixtures("unexported")

RATE = 16000
PITCH = {"low": 300, "high": 2500}

# Short segments of few bands: a fourteenth of the usual work.
SMALL: dict[str, Any] = {
    "model": resolve("gap", dim=64, dropout=0.1),
    "features": FeatureSpec(bands=16, n_fft=512),
    "segments": SegmentSpec(duration_s=0.4, hop_s=0.4),
}
RECIPE = TrainSpec(
    epochs=3, batch_size=4, learning_rate=1e-3, schedule=Schedule.CONSTANT, validation=0.25,
    segment_hop_s=0.4,
)  # fmt: skip
AUGMENTED = {"mixup": 0.3, "time_mask": 8, "band_mask": 4, "halve_every": 1}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on so small tensors wait for each other, for long where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tone(label: str, seconds: float, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sine = np.sin(2 * np.pi * PITCH[label] * rng.uniform(0.9, 1.1) * time)
    return (0.3 * sine + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def write_clips(write_audio: Callable[..., Path]) -> Callable[..., Manifest]:
    """Tones of 0.8 s, two segments each, low and high by turns, in folds 0, 0, 1, 1, 2, 2, ..."""

    def write(folder: Path, count: int, *, seed: int = 0) -> Manifest:
        clips = []
        for number in range(count):
            label = ("low", "high")[number % 2]
            path = folder / f"{number:02d}.wav"
            write_audio(path, tone(label, 0.8, seed + number))
            clips.append(Clip(path=path, labels=(label,), fold=str(number // 2 % 3)))
        return Manifest(tuple(clips), several_labels=False)

    return write


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, write_clips: Any) -> Manifest:
    return write_clips(tmp_path_factory.mktemp("clips"), 12)


def run(
    manifest: Manifest,
    folder: Path,
    *,
    resume: bool = False,
    track: Track = untracked,
    **recipe: Any,
) -> Trained:
    spec = replace(RECIPE, **recipe)
    return train(manifest, folder, **SMALL, spec=spec, resume=resume, track=track)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, manifest: Manifest
) -> Callable[[str], tuple[Path, Trained]]:
    """A model folder and what its training of 3 epochs by a schedule returned."""
    done: dict[str, tuple[Path, Trained]] = {}

    def get(schedule: str) -> tuple[Path, Trained]:
        if schedule not in done:
            folder = tmp_path_factory.mktemp(schedule)
            done[schedule] = folder, run(manifest, folder, schedule=schedule, **AUGMENTED)
        return done[schedule]

    return get


def stop_at(prefix: str, item: int, stop: Callable[[], object]) -> Track:
    """A track that stops at an item of the work whose description begins with a prefix."""

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        for number, each in enumerate(items):
            if description.startswith(prefix) and number == item:
                stop()
            yield each

    return track


def interrupt() -> None:
    raise KeyboardInterrupt


def everything(features: Features) -> NDArray[np.float32]:
    return features.rows(np.arange(len(features)))


def without_seconds(history: Iterable[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in record.items() if name != "seconds"} for record in history
    ]


def assert_same_model(found: Path, expected: Path) -> None:
    """Equal bytes of config and weights, equal metrics but the seconds, and nothing else there."""
    for name in (CALIBRATION, CONFIG, WEIGHTS):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    histories = [
        without_seconds(map(json.loads, (folder / METRICS).read_text().splitlines()))
        for folder in (found, expected)
    ]
    assert histories[0] == histories[1]
    names = {CALIBRATION, CARD, CONFIG, CURVES, METRICS, NETWORK, WEIGHTS}
    assert {path.name for path in found.iterdir()} == names


def test_learns_two_classes_that_anybody_could_tell_apart(
    tmp_path: Path, manifest: Manifest, write_clips: Any
) -> None:
    done = run(manifest, tmp_path / "model")
    losses = [record["train_loss"] for record in done.history]
    assert losses[-1] < losses[0] / 3
    assert done.failures == []
    extractor = ExtractorModule.load(tmp_path / "model")
    figures = evaluate(extractor, write_clips(tmp_path / "new", 6, seed=100)).figures
    assert (figures["accuracy"], figures["weighted_auc"]) == (1, 1)


def test_the_saved_model_gives_the_figures_of_its_epoch_on_the_validation_clips(
    tmp_path: Path, manifest: Manifest
) -> None:
    done = run(manifest, tmp_path, seed=5, epochs=1, learning_rate=1e-4)
    _, validation = split_validation(manifest, RECIPE.validation, seed=5)
    extractor = ExtractorModule.load(tmp_path)
    losses, right = [], []
    for clip in validation.clips:
        scores = score_file(extractor, clip.path).clip
        truth = extractor.config.labels.index(clip.labels[0])
        losses.append(-np.log(scores[truth]))
        right.append(scores.argmax() == truth)
    assert len(losses) == 3
    assert done.history[0]["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert done.history[0]["validation_accuracy"] == np.mean(right)


@pytest.mark.parametrize(
    ("schedule", "description", "item", "left"),
    [
        ("halving", "Epoch 2/3", 0, ["Epoch 2/3", "Epoch 3/3"]),
        ("cosine", "Epoch 3/3", 1, ["Epoch 3/3"]),
        ("one-cycle", "Epoch 2/3", 4, ["Epoch 2/3", "Epoch 3/3"]),
        (
            "one-cycle",
            "Features",
            2,
            # Of 9 and 3 clips in shards of 2, three are there already.
            ["Features: 2", "Features: 2", *(f"Epoch {n}/3" for n in (1, 2, 3))],
        ),
    ],
)
def test_interrupted_and_resumed_gives_the_uninterrupted_model_bit_for_bit(
    tmp_path: Path,
    manifest: Manifest,
    finished: Any,
    schedule: str,
    description: str,
    item: int,
    left: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features_module, "SHARD", 2)
    expected, trained = finished(schedule)
    settings = {"schedule": schedule, **AUGMENTED}
    with pytest.raises(KeyboardInterrupt):
        run(manifest, tmp_path, track=stop_at(description, item, interrupt), **settings)
    work: list[str] = []

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        work.append(f"{description}: {total}" if description == "Features" else description)
        return items

    resumed = run(manifest, tmp_path, resume=True, track=track, **settings)
    assert work == left
    assert_same_model(tmp_path, expected)
    assert (resumed.best_epoch, resumed.failures) == (trained.best_epoch, trained.failures)
    assert without_seconds(resumed.history) == without_seconds(trained.history)


KILLED = """
import os, pickle, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_training as t
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
manifest, folder, settings = pickle.load(sys.stdin.buffer)
t.run(manifest, folder, track=t.stop_at("Epoch 2/3", 2, kill), **settings)
"""


def test_killed_and_resumed_gives_the_uninterrupted_model_bit_for_bit(
    tmp_path: Path, manifest: Manifest, finished: Any
) -> None:
    settings = {"schedule": "one-cycle", **AUGMENTED}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, Path(__file__).parent],
        input=pickle.dumps((manifest, tmp_path, settings)),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len((tmp_path / METRICS).read_text().splitlines()) == 1
    run(manifest, tmp_path, resume=True, **settings)
    assert_same_model(tmp_path, finished("one-cycle")[0])


def test_resuming_a_finished_training_returns_its_history_without_work(
    manifest: Manifest, finished: Any
) -> None:
    folder, trained = finished("halving")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def no_work(items: object, description: str, total: int | None = None) -> Any:
        pytest.fail(f"worked on {description}")

    again = run(
        manifest, folder, resume=True, track=no_work, schedule=Schedule.HALVING, **AUGMENTED
    )
    assert again == trained
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"epochs": 5}}, r"cannot resume: training\.epochs is 3 there, 5 was asked for"),
        ({"spec": {"seed": 1}}, r"training\.seed is 0 there, 1 was"),
        ({"spec": {"schedule": "cosine"}}, r"training\.schedule is 'halving' there, 'cosine' was"),
        ({"model": resolve("gap", dim=65)}, r"model\.dim is 64 there, 65 was"),
        ({"features": FeatureSpec(bands=17)}, r"features\.n_fft is 512 there, 2048 was"),
        ({"segments": SegmentSpec(hop_s=0.4)}, r"segments\.duration_s is 0\.4 there, 1\.0 was"),
        ({"manifest": "renamed"}, "cannot resume: other labels there"),
    ],
)
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_resuming_with_another_setting_is_refused_by_its_name(
    tmp_path: Path, manifest: Manifest, finished: Any, state: str, change: Any, message: str
) -> None:
    folder = finished("halving")[0]
    if state == "unfinished":  # as it stands when the features are being computed
        shutil.copytree(folder, tmp_path / SCRATCH)
        folder = tmp_path
    spec = replace(RECIPE, schedule=Schedule.HALVING, **AUGMENTED)
    spec = replace(spec, **change.get("spec", {}))
    if "manifest" in change:
        manifest = replace(
            manifest, clips=tuple(replace(c, labels=(f"{c.labels[0]}!",)) for c in manifest.clips)
        )
    settings = SMALL | {key: change[key] for key in SMALL.keys() & change}
    with pytest.raises(UsageError, match=message):
        train(manifest, folder, **settings, spec=spec, resume=True)


def test_resuming_with_other_clips_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(manifest, tmp_path, track=stop_at("Epoch 1", 0, interrupt))
    with pytest.raises(UsageError, match="the training there began with other clips"):
        run(replace(manifest, clips=manifest.clips[:-1]), tmp_path, resume=True)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_a_folder_in_use_is_refused_without_resume(
    tmp_path: Path, manifest: Manifest, finished: Any, state: str
) -> None:
    folder = finished("halving")[0]
    if state == "unfinished":
        shutil.copytree(folder, tmp_path / SCRATCH)
        folder = tmp_path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UsageError, match="holds a model or an unfinished training; resume it or"):
        run(manifest, folder, schedule=Schedule.HALVING, **AUGMENTED)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_seed_fixes_everything(tmp_path: Path, manifest: Manifest, finished: Any) -> None:
    expected, trained = finished("halving")
    settings = {"schedule": Schedule.HALVING, **AUGMENTED}
    run(manifest, tmp_path / "same", **settings)
    assert_same_model(tmp_path / "same", expected)
    other = run(manifest, tmp_path / "other", seed=1, **settings)
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (expected / WEIGHTS).read_bytes()
    losses = zip(other.history, trained.history, strict=True)
    assert all(mine["train_loss"] != theirs["train_loss"] for mine, theirs in losses)


def test_every_epoch_draws_all_segments_anew_in_nearly_equal_batches(
    tmp_path: Path, manifest: Manifest
) -> None:
    def orders(seed: int) -> list[list[list[int]]]:
        epochs = []

        def track(items: Iterable[Any], description: str, total: int | None = None) -> Any:
            if description.startswith("Epoch"):
                steps = list(items)
                epochs.append([batch.tolist() for batch, _ in steps])
                return steps
            return items

        run(manifest, tmp_path / str(seed), track=track, epochs=2, batch_size=17, seed=seed)
        return epochs

    first, second, other = *orders(0), orders(1)[0]
    for batches in (first, second, other):  # 18 segments: not 17 and 1, which has no variance
        assert [len(batch) for batch in batches] == [9, 9]
        assert sorted(batches[0] + batches[1]) == list(range(18))
    assert first != second
    assert first != other


def test_the_held_out_fold_is_never_read(
    tmp_path: Path, manifest: Manifest, write_clips: Any
) -> None:
    copy = write_clips(tmp_path / "clips", 12)
    for clip in copy.fold("1").clips:
        clip.path.unlink()
    done = run(copy, tmp_path / "held-out", epochs=1, hold_out_fold="1")
    assert done.failures == []
    run(manifest.without_fold("1"), tmp_path / "others", epochs=1)
    first, second = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("held-out", "others"))
    assert first == second


def test_the_saved_model_is_that_of_the_lowest_validation_loss(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_with(*losses: float) -> tuple[bytes, int]:
        values = iter(losses)
        monkeypatch.setattr(
            objective,
            "validation_figures",
            lambda *_: {"validation_loss": next(values), "validation_accuracy": 0.0},
        )
        folder = tmp_path / "-".join(map(str, losses))
        done = run(manifest, folder, epochs=len(losses))
        return (folder / WEIGHTS).read_bytes(), done.best_epoch

    first, second = train_with(0.5), train_with(0.5, 0.2)
    assert train_with(0.5, 0.2, 0.4) == second == (second[0], 2)
    assert train_with(0.5, 0.9, 0.6) == first == (first[0], 1)
    assert first[0] != second[0]


def test_features_are_those_of_the_clips_cut_by_hand_and_so_are_their_statistics(
    tmp_path: Path, write_audio: Callable[..., Path]
) -> None:
    # (seconds, starts of the segments)
    cases = [(0.9, [0, 0.4, 0.8]), (1.05, [0, 0.4, 0.8]), (0.1, [0]), (0.8, [0, 0.4])]
    clips, wanted, owners, lengths = [], [], [], []
    for number, (seconds, starts) in enumerate(cases):
        sound = tone("low", seconds, number)
        path = write_audio(tmp_path / f"{number}.wav", sound, subtype="FLOAT")
        clips.append(Clip(path=path, labels=("x",)))
        for start in starts:
            piece = sound[round(start * RATE) :][: round(0.4 * RATE)]
            wanted.append(np.pad(piece, (0, round(0.4 * RATE) - len(piece))))
            owners.append(number)
            lengths.append(len(piece) / RATE)
    spec, segments = SMALL["features"], SMALL["segments"]
    found = compute_features(clips, tmp_path / "cache", spec, segments)
    by_hand = LogMel(spec)(np.stack(wanted))
    assert found.clip.tolist() == owners
    np.testing.assert_allclose(found.seconds, lengths)
    np.testing.assert_allclose(everything(found), by_hand, atol=1e-5)
    # A tail below half a segment is nothing to learn from, but in first place.
    taught = found.mostly_sound(0.4)
    whole = np.arange(9) != 2
    np.testing.assert_array_equal(everything(taught), everything(found)[whole])
    np.testing.assert_array_equal(taught.clip, found.clip[whole])
    np.testing.assert_array_equal(taught.seconds, found.seconds[whole])
    mean, std = found.mean_and_std()
    np.testing.assert_allclose(mean, by_hand.mean(axis=(0, 1, 2), dtype=np.float64), atol=1e-5)
    np.testing.assert_allclose(std, by_hand.std(axis=(0, 1, 2), dtype=np.float64), atol=1e-5)


def test_training_segments_may_overlap(tmp_path: Path, manifest: Manifest) -> None:
    overlapping = replace(SMALL["segments"], hop_s=0.1)
    found = compute_features(manifest.clips[:2], tmp_path / "cache", SMALL["features"], overlapping)
    assert found.clip.tolist() == [0] * 5 + [1] * 5  # from 0, 0.1, ..., 0.4 s to the end at 0.8 s


def test_a_band_that_never_varies_has_no_deviation_of_zero(
    tmp_path: Path, write_audio: Any
) -> None:
    silence = write_audio(tmp_path / "silence.wav", np.zeros(RATE, np.float32))
    found = compute_features(
        [Clip(path=silence, labels=("x",))],
        tmp_path / "cache",
        SMALL["features"],
        SMALL["segments"],
    )
    mean, std = found.mean_and_std()
    np.testing.assert_allclose(mean, math.log(1e-5), rtol=1e-6)
    np.testing.assert_allclose(std, 1e-4)


def test_normalisation_is_over_the_training_clips_alone(tmp_path: Path, manifest: Manifest) -> None:
    run(manifest, tmp_path / "model", epochs=1)
    extractor = ExtractorModule.load(tmp_path / "model")
    training, _ = split_validation(manifest, RECIPE.validation, RECIPE.seed)
    statistics = []
    for part in (training, manifest):
        name = tmp_path / str(len(part.clips))
        found = compute_features(part.clips, name, SMALL["features"], SMALL["segments"])
        values = everything(found)
        axes = (0, 1, 2)
        statistics.append((values.mean(axes, np.float64), values.std(axes, np.float64)))
    (mean, std), (all_mean, _) = statistics
    np.testing.assert_allclose(extractor.mean, mean, atol=1e-5)
    np.testing.assert_allclose(extractor.std, std, atol=1e-5)
    assert np.abs(all_mean - mean).max() > 1e-3


def test_damaged_clips_are_reported_and_training_goes_on(
    tmp_path: Path, manifest: Manifest, write_audio: Callable[..., Path]
) -> None:
    garbage, cut = tmp_path / "garbage.wav", tmp_path / "cut.wav"
    garbage.write_bytes(b"no sound at all" * 99)
    write_audio(cut, tone("low", 0.9, 7))
    cut.write_bytes(cut.read_bytes()[: 44 + 2 * round(0.5 * RATE)])
    bad = [Clip(path=path, labels=("low",)) for path in (garbage, cut, tmp_path / "missing.wav")]
    clips = (*manifest.clips, *bad)
    done = run(Manifest(clips, several_labels=False), tmp_path / "model", epochs=1, seed=2)
    assert {(Path(path), kind) for path, kind, _ in done.failures} == {
        (garbage, "unreadable"),
        (cut, "truncated"),
        (tmp_path / "missing.wav", "unreadable"),
    }
    assert len(done.history) == 1
    # What stands before the damage is used: a whole segment and a tail too short to learn from.
    found = compute_features([bad[1]], tmp_path / "cache", SMALL["features"], SMALL["segments"])
    assert found.clip.tolist() == [0, 0]
    assert found.mostly_sound(0.4).clip.tolist() == [0]


def test_without_one_good_clip_training_says_why_and_goes_on_once_they_are_repaired(
    tmp_path: Path, write_clips: Any
) -> None:
    copy = write_clips(tmp_path / "clips", 4)
    sounds = {clip.path: clip.path.read_bytes() for clip in copy.clips}
    for path in sounds:
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of 3 clips can be decoded; .*\.wav: empty: "):
        run(copy, tmp_path / "model", epochs=1)
    for path, sound in sounds.items():
        path.write_bytes(sound)
    done = run(copy, tmp_path / "model", epochs=1, resume=True)
    assert (len(done.history), done.failures) == (1, [])


@pytest.mark.parametrize(
    ("clips", "recipe", "message"),
    [
        (slice(0, 12, 2), {}, "training needs at least 2 labels, found: low"),
        (slice(0, 2), {"hold_out_fold": "9"}, "no clip with fold '9'; there are: 0"),
        (slice(0, 12), {"segment_hop_s": 0.5}, "a hop of 0.5 s"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_folder(
    tmp_path: Path, manifest: Manifest, clips: slice, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises((DatasetError, UsageError), match=message):
        run(replace(manifest, clips=manifest.clips[clips]), tmp_path / "model", **recipe)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("several", [False, True])
def test_one_label_a_clip_gives_softmax_and_several_give_sigmoid(
    tmp_path: Path, manifest: Manifest, several: bool
) -> None:
    # One validation clip: with several labels no class has both a positive and a negative one.
    few = Manifest(manifest.clips[:4], several_labels=several)
    done = run(few, tmp_path, epochs=1)
    activation = Activation.SIGMOID if several else Activation.SOFTMAX
    assert load_config(tmp_path).activation is activation
    assert ("validation_accuracy" in done.history[0]) == (not several)
    scores = score_file(ExtractorModule.load(tmp_path), few.clips[0].path).segments
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6) == (not several)


@pytest.mark.parametrize("several", [False, True])
def test_steps_are_adams_with_l2_on_the_cross_entropy_of_the_whole_batch(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    clips = tuple(  # every other clip has the second label too
        replace(clip, labels=(*clip.labels, "more")) if several and number % 4 < 2 else clip
        for number, clip in enumerate(manifest.clips[:8])
    )
    manifest = Manifest(clips, several_labels=several)
    settings = SMALL | {"model": replace(SMALL["model"], dropout=0)}
    spec = replace(RECIPE, epochs=2, batch_size=99, weight_decay=0.1, beta1=0.8, beta2=0.5)
    falling = iter([2.0, 1.0])  # so that the second epoch's weights are kept
    monkeypatch.setattr(
        objective, "validation_figures", lambda *_: {"validation_loss": next(falling)}
    )
    done = train(manifest, tmp_path / "model", **settings, spec=spec)
    config = load_config(tmp_path / "model")

    training, _ = split_validation(manifest, spec.validation, spec.seed)
    found = compute_features(
        training.clips, tmp_path / "cache", settings["features"], settings["segments"]
    )
    wanted = torch.from_numpy(targets(training.clips, config.labels)[found.clip])
    torch.manual_seed(spec.seed)
    extractor = ExtractorModule(config, *map(torch.from_numpy, found.mean_and_std())).train()
    features = extractor.normalise(torch.from_numpy(everything(found)))
    weights = dict(extractor.network.named_parameters())
    mean, square, clear = (dict.fromkeys(weights, 0) for _ in range(3))
    for step in (1, 2):
        (logits,) = extractor.network(features)
        if several:
            loss = -(wanted * F.logsigmoid(logits) + (1 - wanted) * F.logsigmoid(-logits)).mean()
        else:
            loss = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
        assert done.history[step - 1]["train_loss"] == pytest.approx(loss.item(), rel=1e-3)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                slope = gradient + 0.1 * weight
                mean[name] = 0.8 * mean[name] + 0.2 * slope
                square[name] = 0.5 * square[name] + 0.5 * slope**2
                clear[name] = clear[name] + (slope.abs() > 1e-3)  # where it is more than noise
                scale = (square[name] / (1 - 0.5**step)).sqrt() + 1e-8
                weight.sub_(1e-3 * mean[name] / (1 - 0.8**step) / scale)
    trained = ExtractorModule.load(tmp_path / "model").network.state_dict()
    compared = 0
    for name, weight in weights.items():
        kept = clear[name] == 2
        compared += int(kept.sum())
        torch.testing.assert_close(trained[name][kept], weight[kept], rtol=0, atol=2e-5, msg=name)
    assert compared > sum(weight.numel() for weight in weights.values()) / 2


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mix_is_a_convex_sum_of_each_item_and_another_targets_alike(alpha: float) -> None:
    torch.manual_seed(0)
    count = 600
    features = torch.randn(count, 1, 3, 2)
    mixed, labels = mix(features, torch.eye(count), alpha)  # the labels tell who was mixed
    share = labels.diagonal()
    other = (labels - torch.diag(share)).argmax(dim=1)
    alone = share == 1  # drawn with itself
    other[alone] = torch.arange(count)[alone]
    assert sorted(other.tolist()) == list(range(count))
    assert (share >= 0).all()
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(count))
    wide = share.view(-1, 1, 1, 1)
    torch.testing.assert_close(mixed, wide * features + (1 - wide) * features[other])
    # Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)).
    assert share[~alone].mean() == pytest.approx(0.5, abs=0.05)
    assert share[~alone].var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_mix_draws_from_torchs_seed() -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(mix(torch.eye(8).view(8, 1, 8, 1), torch.eye(8), 0.3)[1])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def runs(masked: NDArray[np.bool_]) -> int:
    """How many runs of True there are."""
    return int((np.diff(np.concatenate([[0], masked.astype(int)])) == 1).sum())


@pytest.mark.parametrize(
    ("masks", "axis"), [({"time_mask": 10}, 0), ({"band_mask": 6}, 1)], ids=["frames", "bands"]
)
def test_spec_augment_writes_zeros_over_one_run_of_whole_frames_or_bands(
    masks: dict[str, int], axis: int
) -> None:
    torch.manual_seed(0)
    features = torch.rand(100, 1, 40, 20) + 1
    augmented = spec_augment(replace(RECIPE, **masks))(features)
    zero = (augmented == 0).numpy()[:, 0]
    np.testing.assert_array_equal(augmented.numpy()[:, 0][~zero], features.numpy()[:, 0][~zero])
    whole = zero.all(axis=2 - axis)  # [items, frames] or [items, bands]
    np.testing.assert_array_equal(
        zero, np.broadcast_to(np.expand_dims(whole, 2 - axis), zero.shape)
    )
    assert max(map(runs, whole)) == 1
    lengths = whole.sum(axis=1)
    (longest,) = masks.values()
    assert lengths.max() <= longest
    assert lengths.mean() == pytest.approx(longest / 2, abs=1)  # each item draws its own
    assert len({tuple(item) for item in whole}) > 30


def test_spec_augment_masks_both_axes_or_none() -> None:
    torch.manual_seed(0)
    features = torch.ones(50, 1, 40, 20)
    zero = (spec_augment(replace(RECIPE, time_mask=9, band_mask=9))(features) == 0)[:, 0]
    assert zero.all(dim=2).any()
    assert zero.all(dim=1).any()
    assert torch.equal(spec_augment(RECIPE)(features), features)


STEPS, EPOCHS = 5, 6
TOTAL = STEPS * EPOCHS
RISE = 0.3 * (TOTAL + 1) - 1  # steps of the one-cycle schedule until its peak


def half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule.CONSTANT, lambda step: 0.1),
        (Schedule.HALVING, lambda step: 0.1 * 0.5 ** (step // STEPS // 2)),
        (Schedule.COSINE, lambda step: half_cosine(0.1, 0, step / TOTAL)),
        (
            Schedule.ONE_CYCLE,
            lambda step: (
                half_cosine(0.1 / 25, 0.1, step / RISE)
                if step <= RISE
                else half_cosine(0.1, 0.1 / 25 / 1e4, (step - RISE) / (TOTAL - RISE))
            ),
        ),
    ],
)
def test_learning_rates_follow_the_closed_form_step_by_step(
    schedule: Schedule, expected: Callable[[int], float]
) -> None:
    spec = replace(RECIPE, schedule=schedule, epochs=EPOCHS, halve_every=2, learning_rate=0.1)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1, betas=(0.8, 0.9))
    scheduler = make_schedule(optimizer, spec, STEPS)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([expected(step) for step in range(TOTAL)], rel=1e-9)
    if schedule is Schedule.ONE_CYCLE:
        assert max(rates) == pytest.approx(0.1, rel=0.01)
        assert rates[0] == pytest.approx(0.004)
        assert rates[-1] < rates[0]


@pytest.mark.parametrize("schedule", list(Schedule))
def test_a_schedule_of_a_single_step_can_be_stepped(schedule: Schedule) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make_schedule(optimizer, replace(RECIPE, schedule=schedule, epochs=1), 1)
    optimizer.step()
    scheduler.step()
    assert 0 <= optimizer.param_groups[0]["lr"] <= 0.1


def test_validation_figures_of_one_label_a_clip() -> None:
    wanted = np.eye(3, dtype=np.float32)[[0, 0, 1]]  # the third class has no clip
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25]])
    figures = validation_figures(wanted, scores, Activation.SOFTMAX)
    assert figures == {
        "validation_loss": pytest.approx(-np.log([0.7, 0.1, 0.5]).mean()),
        "validation_accuracy": pytest.approx(2 / 3),
        # Ranks of class 0: 1 and 3 of 3; of class 1: 1.
        "validation_map": pytest.approx(((1 + 2 / 3) / 2 + 1) / 2),
    }


def test_validation_figures_of_several_labels_a_clip() -> None:
    wanted = np.array([[1, 1], [0, 1]], np.float32)  # the second class has no negative clip
    scores = np.array([[0.9, 0.2], [0.4, 0.8]])
    assert validation_figures(wanted, scores, Activation.SIGMOID) == {
        "validation_loss": pytest.approx(-np.log([0.9, 0.2, 0.6, 0.8]).mean()),
        "validation_map": 1,
    }


def test_validation_loss_of_certain_and_wrong_scores_is_finite() -> None:
    wanted, scores = np.eye(2, dtype=np.float32), 1 - np.eye(2)
    for activation in Activation:
        loss = validation_figures(wanted, scores, activation)["validation_loss"]
        assert loss == pytest.approx(-math.log(1e-7), rel=1e-4)


def test_a_training_that_diverges_says_so(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(EmbedkitError, match="lower learning rate than 1e\\+30"):
        run(manifest, tmp_path / "model", epochs=3, learning_rate=1e30)


def test_a_cache_serves_trainings_on_other_folds_without_new_work(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "cache": tmp_path / "cache"}
    train(manifest, tmp_path / "a", spec=replace(RECIPE, epochs=1), **settings)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.f32")}
    assert kept
    monkeypatch.setattr(features_module, "decode", lambda *_: pytest.fail("decoded again"))
    spec = replace(RECIPE, epochs=1, hold_out_fold="1", seed=3)
    train(manifest, tmp_path / "b", spec=spec, **settings)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    monkeypatch.undo()
    train(manifest, tmp_path / "c", spec=spec, **SMALL)
    assert_same_model(tmp_path / "b", tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": FeatureSpec(bands=17, n_fft=512)}, r"features\.bands is 16 there, 17 was"),
        (
            {"segments": SegmentSpec(duration_s=0.5, hop_s=0.5)},
            r"segments\.duration_s is 0\.4 there",
        ),
    ],
)
def test_a_cache_with_other_settings_is_refused(
    tmp_path: Path, manifest: Manifest, change: dict[str, Any], message: str
) -> None:
    settings = {key: SMALL[key] for key in ("features", "segments")}
    compute_features(manifest.clips[:2], tmp_path, **settings)
    with pytest.raises(UsageError, match=f"feature cache with other settings: {message}"):
        compute_features(manifest.clips[:2], tmp_path, **settings | change)


def test_a_cache_of_another_format_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    settings = {key: SMALL[key] for key in ("features", "segments")}
    compute_features(manifest.clips[:2], tmp_path, **settings)
    place = tmp_path / "settings.json"
    noted = json.loads(place.read_text())
    assert noted["format"]["number"] == 3  # 2 left slivers out, and no lengths
    place.write_text(json.dumps({**noted, "format": {"number": 2}}))
    with pytest.raises(UsageError, match=r"format.number is 2 there.*name another folder"):
        compute_features(manifest.clips[:2], tmp_path, **settings)


def test_features_do_not_depend_on_shards_or_processes(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {key: SMALL[key] for key in ("features", "segments")}
    whole = compute_features(manifest.clips, tmp_path / "whole", **settings)
    monkeypatch.setattr(features_module, "SHARD", 5)
    split = compute_features(manifest.clips, tmp_path / "split", **settings, workers=2)
    assert len(list((tmp_path / "split").rglob("*.f32"))) == 3
    np.testing.assert_array_equal(split.clip, whole.clip)
    np.testing.assert_array_equal(everything(split), everything(whole))
    for segments in ([3], [23, 0, 11, 11], []):
        order = np.array(segments, np.int64)
        np.testing.assert_array_equal(split.rows(order), everything(whole)[order])
    # In another order and with clips that are not there yet.
    clips = manifest.clips[::-1]
    grown = compute_features(clips[:4], tmp_path / "grown", **settings)
    assert len(grown) == 8
    grown = compute_features(clips, tmp_path / "grown", **settings)
    by_clip = everything(whole).reshape(12, 2, 1, *everything(whole).shape[2:])
    np.testing.assert_array_equal(everything(grown), by_clip[::-1].reshape(everything(whole).shape))


def test_a_file_that_changed_and_a_shard_that_was_cut_are_computed_again(
    tmp_path: Path, write_clips: Any
) -> None:
    settings = {key: SMALL[key] for key in ("features", "segments")}
    clips = write_clips(tmp_path / "clips", 3).clips
    first = everything(compute_features(clips, tmp_path / "cache", **settings))
    write_clips(tmp_path / "clips", 1, seed=50)  # the first file anew
    second = everything(compute_features(clips, tmp_path / "cache", **settings))
    assert (second[:2] != first[:2]).any()
    np.testing.assert_array_equal(second[2:], first[2:])
    for shard in (tmp_path / "cache").rglob("*.f32"):
        shard.write_bytes(shard.read_bytes()[:-4])
    third = everything(compute_features(clips, tmp_path / "cache", **settings))
    np.testing.assert_array_equal(third, second)


def test_balanced_sampling_draws_labels_evenly_and_again_the_same(
    tmp_path: Path, write_clips: Any
) -> None:
    full = write_clips(tmp_path / "clips", 40).clips
    rare = Manifest((*full[::2], *full[1:8:2]), several_labels=False)  # 20 low, 4 high
    drawn: list[list[int]] = []

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Any:
        if description.startswith("Epoch"):
            steps = list(items)
            drawn.append([number for batch, _ in steps for number in batch.tolist()])
            return steps
        return items

    for name in ("a", "b"):
        run(rare, tmp_path / name, track=track, epochs=2, sampling="balanced", batch_size=60)
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]
    training, _ = split_validation(rare, RECIPE.validation, 0)
    labels = [clip.labels[0] for clip in training.clips for _ in range(2)]
    assert len(drawn[0]) == len(labels)
    high = sum(labels[number] == "high" for epoch in drawn[:2] for number in epoch)
    count = 2 * len(labels)
    # Three standard deviations of a fair coin; evenly over segments it would be a sixth.
    assert abs(high - count / 2) < 3 * math.sqrt(count) / 2
    assert labels.count("high") / len(labels) < 0.25


def test_bfloat16_trains_almost_the_same_and_keeps_float32_weights(
    tmp_path: Path, manifest: Manifest
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        done = run(manifest, tmp_path / precision, precision=precision, epochs=1)
        losses[precision] = done.history[0]["train_loss"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]
    weights = ExtractorModule.load(tmp_path / "bfloat16").state_dict().values()
    assert {value.dtype for value in weights} <= {torch.float32, torch.int64}


def test_the_model_card_says_what_the_model_is_and_what_it_was_made_of(
    tmp_path: Path, manifest: Manifest
) -> None:
    nasty = replace(manifest, source="a|b <script>", left_out=(("x.wav", "missing"),))
    done = run(nasty, tmp_path, epochs=2, mixup=0.25)
    card = (tmp_path / CARD).read_text()
    assert card.startswith("---\nlibrary_name: embedkit\n")
    extractor = ExtractorModule.load(tmp_path)
    best = done.history[done.best_epoch - 1]
    for row in (
        f"| parameters | {sum(p.numel() for p in extractor.network.parameters()):,} |",
        "| training clips | 9 |",
        "| training segments | 18 |",
        "| validation clips | 3 |",
        "| clips left out | 1 |",
        "| source | a\\|b \\<script\\> |",
        f"| validation loss | {best['validation_loss']:.4g} |",
        "| training.mixup | 0.25 |",
        "| features.bands | 16 |",
        "Labels: high, low",
    ):
        assert row in card
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")
    listed = (tmp_path / LEFT_OUT).read_text().splitlines()
    assert listed == ["clip,reason", "x.wav,missing"]


def test_tensorboard_gets_the_figures_of_every_epoch_once(
    tmp_path: Path, manifest: Manifest
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = {**SMALL, "spec": RECIPE, "tensorboard": True}
    with pytest.raises(KeyboardInterrupt):
        train(manifest, tmp_path, track=stop_at("Epoch 2/3", 1, interrupt), **settings)
    done = train(manifest, tmp_path, resume=True, **settings)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("train_loss", "validation_loss", "validation_accuracy", "learning_rate"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [
            (record["epoch"], pytest.approx(record[name], rel=1e-6)) for record in done.history
        ]


def test_tensorboard_that_is_not_installed_is_said_before_the_work(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'embedkit\[tensorboard\]'"):
        train(manifest, tmp_path / "model", spec=RECIPE, tensorboard=True, **SMALL)
    assert not (tmp_path / "model").exists()


def test_three_segments_in_batches_of_two_are_one_batch(tmp_path: Path, write_clips: Any) -> None:
    clips = write_clips(tmp_path / "clips", 4).clips
    short = Manifest(clips[:2] + clips[2:], several_labels=False)
    spec = replace(RECIPE, epochs=1, batch_size=2, validation=0.5, segment_hop_s=0.2)
    done = train(short, tmp_path / "model", spec=spec, **SMALL)  # 2 clips of 3 segments
    assert len(done.history) == 1
