"""Distillation: joining targets to segments, the objective, and the whole way against oracles."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command import run as run_command
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.audio.features import front_end
from embedkit.audio.segments import cut, stack
from embedkit.checkpoint import CONFIG, WEIGHTS, load_config
from embedkit.config import (
    FeatureSpec,
    Loss,
    Sampling,
    Schedule,
    SegmentSpec,
    TargetSpec,
    TrainSpec,
)
from embedkit.datasets.targets import read_targets
from embedkit.errors import DatasetError, UsageError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.training import Trained, distil
from embedkit.training.evaluation import score_file
from embedkit.training.features import Features
from embedkit.training.objective import FAR, Distillation

pytestmark = pytest.mark.usefixtures("unexported")

RATE = 16000
SEGMENT_S = 0.4
SMALL: dict[str, Any] = {
    "model": resolve("gap-lite", dims=(64, 128), dropout=0.0),
    "features": FeatureSpec(bands=16, n_fft=512),
    "segments": SegmentSpec(duration_s=SEGMENT_S, hop_s=SEGMENT_S),
}
RECIPE = TrainSpec(
    epochs=3, batch_size=8, learning_rate=2e-3, schedule=Schedule.CONSTANT, validation=0.25,
    segment_hop_s=SEGMENT_S,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]) -> Path:
    """32 clips of 4 segments: each a sine of its own pitch and level, in two folders."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time = np.arange(round(SEGMENT_S * RATE)) / RATE
    for number in range(32):
        parts = [
            rng.uniform(0.05, 0.5) * np.sin(2 * np.pi * rng.uniform(200, 6000) * time)
            for _ in range(4)
        ]
        noise = 0.01 * rng.standard_normal(4 * len(time))
        path = folder / ("few" if number < 4 else "many") / f"{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        write_audio(path, (np.concatenate(parts) + noise).astype(np.float32))
    return folder


def names(sounds: Path) -> list[str]:
    return sorted(str(path.relative_to(sounds)) for path in sounds.rglob("*.wav"))


def write_targets(
    path: Path,
    clips: Sequence[str],
    start_s: Sequence[float] | NDArray[np.float64],
    vectors: NDArray[np.floating],
    **types: pa.DataType,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = types.get("embedding", pa.list_(pa.float32()))
    table = pa.table({
        "clip": pa.array(clips, types.get("clip", pa.string())),
        "start_s": pa.array(np.asarray(start_s, np.float64)),
        "embedding": pa.array(list(vectors), kind),
    })  # fmt: skip
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, sounds: Path) -> Path:
    """A linear map of the mean log-mel of each segment to 5 numbers, the rows in a random order."""
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((16, 5))
    rows = []
    for name in names(sounds):
        for number, features in enumerate(mean_features(sounds / name)):
            rows.append((name, number * SEGMENT_S, 100 + 7 * features @ matrix))
    rows = [rows[index] for index in rng.permutation(len(rows))]
    clips, start_s, vectors = zip(*rows, strict=True)
    path = tmp_path_factory.mktemp("teacher") / "linear.parquet"
    return write_targets(path, clips, start_s, np.array(vectors))


def target(name: str, size: int, weight: float = 1.0, loss: str = "mse") -> TargetSpec:
    return TargetSpec(name=name, size=size, weight=weight, loss=Loss(loss))


def mean_features(path: Path) -> NDArray[np.float32]:
    """Mean log-mel of a clip's segments [segments, bands]."""
    segments = list(cut(decode(path, RATE), SMALL["segments"], RATE))
    features = front_end(SMALL["features"])(stack(segments))
    return features.mean(axis=(1, 2))


def run(sounds: Path, targets: Sequence[Path], folder: Path, **changes: Any) -> Trained:
    own = {key: changes.pop(key) for key in tuple(changes) if key not in RECIPE.to_dict()}
    return distil(sounds, targets, folder, **SMALL | own, spec=replace(RECIPE, **changes))


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, sounds: Path, teacher: Path
) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("student")
    return folder, run(sounds, [teacher], folder, epochs=30)


def test_a_linear_function_of_the_features_is_learned(finished: tuple[Path, Trained]) -> None:
    folder, trained = finished
    best = trained.history[trained.best_epoch - 1]
    assert best["validation_r2_linear"] > 0.9
    # Standardised targets have variance 1: of a mean squared error, the rest is explained.
    assert best["validation_loss"] == pytest.approx(1 - best["validation_r2_linear"], abs=0.1)
    assert trained.clips == 32
    card = (folder / "README.md").read_text()
    assert "linear" in card
    assert "| validation r2 linear | 0.9" in card
    config = load_config(folder)
    assert config.targets == (target("linear", 5),)
    assert config.labels == ()


def test_the_model_embeds_as_any_other(
    finished: tuple[Path, Trained], sounds: Path, tmp_path: Path
) -> None:
    folder, _ = finished
    done = run_command(
        "extract", sounds, "--model", folder, "--out", tmp_path / "e", "--runtime", "torch"
    )
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "e" / "rows").to_pylist()
    assert len(rows) == 32 * 4
    extractor = ExtractorModule.load(folder)
    name = names(sounds)[5]
    found = np.array([row["embedding"] for row in rows if row["clip"] == name])
    waveform = np.concatenate(list(decode(sounds / name, RATE)))
    np.testing.assert_allclose(found, extractor.embed(waveform), atol=1e-5)


def test_a_distilled_model_has_no_labels_to_score(
    finished: tuple[Path, Trained], sounds: Path, tmp_path: Path
) -> None:
    folder, _ = finished
    with pytest.raises(UsageError, match="distilled and has no classes"):
        score_file(ExtractorModule.load(folder), sounds / names(sounds)[0])


def test_a_resumed_distillation_is_an_uninterrupted_one(
    tmp_path: Path, sounds: Path, teacher: Path
) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    once = run(sounds, [teacher], whole, sampling=Sampling.BALANCED, mixup=0.2)

    def track(items: Any, description: str, total: int | None = None) -> Any:
        for number, item in enumerate(items):
            if description.startswith("Epoch 2") and number == 1:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        run(sounds, [teacher], resumed, sampling=Sampling.BALANCED, mixup=0.2, track=track)
    again = run(sounds, [teacher], resumed, sampling=Sampling.BALANCED, mixup=0.2, resume=True)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in again.history]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in once.history]
    assert (whole / WEIGHTS).read_bytes() == (resumed / WEIGHTS).read_bytes()


def test_held_out_clips_are_those_of_the_patterns(
    tmp_path: Path, sounds: Path, teacher: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(sounds, [teacher], tmp_path / "m", epochs=1, hold_out=["few/*"])
    assert "28 training and 4 validation clips (112 and 16 segments)" in caplog.text
    with pytest.raises(DatasetError, match=r"nothing/\*: fits all clips with vectors, or none"):
        run(sounds, [teacher], tmp_path / "n", hold_out=["nothing/*"])


def test_two_targets_of_one_name_are_told_apart(
    tmp_path: Path, sounds: Path, teacher: Path
) -> None:
    trained = run(sounds, [teacher, teacher], tmp_path / "m", epochs=1, weights=(1, 0.5))
    assert {"validation_r2_linear", "validation_r2_linear-2"} < set(trained.history[0])
    targets = load_config(tmp_path / "m").targets
    assert [(target.name, target.weight) for target in targets] == [
        ("linear", 1.0),
        ("linear-2", 0.5),
    ]
    with pytest.raises(UsageError, match="1 weights for 2 targets"):
        run(sounds, [teacher, teacher], tmp_path / "n", weights=(1,))


def test_segments_without_a_vector_in_every_target_are_left_out(
    tmp_path: Path, sounds: Path, teacher: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = pq.read_table(teacher).to_pylist()
    half = [row for row in table if row["start_s"] < 0.5 and not row["clip"].endswith("00.wav")]
    other = write_targets(
        tmp_path / "half.parquet",
        [row["clip"] for row in half],
        [row["start_s"] for row in half],
        np.array([row["embedding"] for row in half]),
    )
    with caplog.at_level("INFO"):
        run(sounds, [teacher, other], tmp_path / "m", epochs=1, hold_out=["few/*"])
    assert "31 of 32 clips have vectors in all targets" in caplog.text
    assert "56 of 112 segments have no vector in some target" in caplog.text


def brute_force(
    rows: list[tuple[int, float]], wanted: list[tuple[int, float]], within_s: float
) -> list[float]:
    """Distance in time of the nearest row of the same clip, infinite beyond `within_s`."""
    found = []
    for clip, start_s in wanted:
        gaps = [abs(other - start_s) for owner, other in rows if owner == clip]
        nearest = min(gaps, default=np.inf)
        found.append(nearest if nearest <= within_s else np.inf)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_join_by_time_is_that_of_brute_force(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = [f"folder/{number}.wav" for number in range(7)]
    # Rows of clips that are not asked for, missing ones, and starts that are a little off.
    rows = [
        (int(clip), round(second + rng.uniform(-0.4, 0.4), 4))
        for clip in range(9)
        for second in range(int(rng.integers(0, 12)))
        if rng.random() < 0.8
    ]
    rng.shuffle(rows)
    rows = [(int(clip), float(start_s)) for clip, start_s in rows]
    for part in range(3):
        some = rows[part::3]
        write_targets(
            tmp_path / "t" / f"part-{part}.parquet",
            [f"folder/{clip}.wav" for clip, _ in some],
            [start_s for _, start_s in some],
            np.array([(clip, start_s) for clip, start_s in some]),
        )
    targets = read_targets(tmp_path / "t", clips)
    wanted = [(clip, second / 2) for clip in range(7) for second in range(24)]
    clip, start_s = (np.array(column) for column in zip(*wanted, strict=True))
    found = targets.find(clip, start_s.astype(np.float64), 0.25)
    gaps = brute_force([row for row in rows if row[0] < 7], wanted, 0.25)
    np.testing.assert_array_equal(found >= 0, np.isfinite(gaps))
    vectors = targets.vectors[found[found >= 0]]
    np.testing.assert_array_equal(vectors[:, 0], clip[found >= 0])  # of the right clip
    np.testing.assert_allclose(
        np.abs(vectors[:, 1] - start_s[found >= 0]), np.array(gaps)[found >= 0], atol=1e-6
    )


def make_features(clip: Sequence[int]) -> Features:
    owners = np.array(clip)
    zeros = np.zeros(len(owners), np.int64)
    return Features([], zeros, zeros, owners, np.ones(len(owners)), [])


def make_objective(
    vectors: Sequence[NDArray[np.floating]],
    validation: Sequence[NDArray[np.floating]],
    targets: Sequence[TargetSpec],
    clip: Sequence[int] = (),
    groups: Sequence[int] = (0,),
) -> Distillation:
    sets = make_features(clip or [0] * len(vectors[0])), make_features([0] * len(validation[0]))
    return Distillation(sets, (vectors, validation), targets, np.array(groups))


def test_targets_are_standardised_by_the_training_segments() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal([5, -3, 7], [2, 0.1, 0], (1000, 3)).astype(np.float16)
    outlier = vectors.copy()
    outlier[0, 0] = 1000
    specs = (target("a", 3),)
    wanted = make_objective([vectors], [vectors], specs).wanted(np.arange(1000))
    double = vectors.astype(np.float64)
    expected = (double[:, :2] - double[:, :2].mean(axis=0)) / double[:, :2].std(axis=0)
    np.testing.assert_allclose(wanted[:, :2], expected, atol=1e-3)
    np.testing.assert_allclose(wanted[:, 2], 0, atol=1e-3)  # a constant
    assert make_objective([outlier], [vectors], specs).wanted(np.arange(1))[0, 0] == FAR


@pytest.mark.parametrize("kinds", [("mse", "mse"), ("cosine", "mse"), ("cosine", "cosine")])
def test_the_loss_is_that_of_numpy(kinds: tuple[str, str]) -> None:
    rng = np.random.default_rng(3)
    specs = (
        target("a", 4, 2.0, Loss(kinds[0])),
        target("b", 3, 0.5, Loss(kinds[1])),
    )
    objective = make_objective([np.eye(4), np.eye(4)[:, :3]], [np.eye(4), np.eye(4)[:, :3]], specs)
    outputs, wanted = rng.standard_normal((2, 6, 7)).astype(np.float32)

    def alone(kind: str, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        if kind == "mse":
            return float(np.square(a - b).mean(axis=1).sum())
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return float((1 - (a * b).sum(axis=1) / norms).sum())

    expected = (
        2.0 * alone(kinds[0], outputs[:, :4], wanted[:, :4])
        + 0.5 * alone(kinds[1], outputs[:, 4:], wanted[:, 4:])
    ) / 2.5
    found = objective.loss(torch.from_numpy(outputs), torch.from_numpy(wanted))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(4)
    training = rng.standard_normal((50, 4)), 10 * rng.standard_normal((50, 2))
    validation = rng.standard_normal((30, 4)), 10 * rng.standard_normal((30, 2))
    specs = (target("a", 4), target("b", 2))
    objective = make_objective(training, validation, specs)
    outputs = rng.standard_normal((30, 6)).astype(np.float32)
    batches = [torch.from_numpy(outputs[start : start + 7]) for start in range(0, 30, 7)]
    figures = objective.figures(batches)
    scaled = [
        (there - here.mean(axis=0)) / here.std(axis=0)
        for here, there in zip(training, validation, strict=True)
    ]
    for name, part, wanted in (("a", slice(4), scaled[0]), ("b", slice(4, 6), scaled[1])):
        expected = r2_score(wanted, outputs[:, part], multioutput="variance_weighted")
        assert figures[f"validation_r2_{name}"] == pytest.approx(expected, rel=1e-4)
    errors = [np.square(outputs[:, :4] - scaled[0]), np.square(outputs[:, 4:] - scaled[1])]
    loss = np.mean([error.mean() for error in errors])
    assert figures["validation_loss"] == pytest.approx(loss, rel=1e-4)


def test_balanced_sampling_draws_every_folder_as_often() -> None:
    # Folder 0: clips of 1 and 3 segments; folder 1: one of 8.
    clip = [0, 1, 1, 1, *[2] * 8]
    objective = make_objective(
        [np.eye(12)], [np.eye(12)], (target("a", 12),), clip, groups=(0, 0, 1)
    )
    np.testing.assert_allclose(objective.chances(np.arange(3)), [1 / 4, 3 / 4, 1])


FLOATS = pa.list_(pa.float32())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.mkdir(), "no Parquet file in it"),
        (lambda p: p.write_bytes(b"no"), "cannot be read as vectors"),
        (lambda p: None, "cannot be read as vectors"),
        (
            lambda p: pq.write_table(pa.table({"clip": ["a.wav"], "start_s": [0.0]}), p),
            "has no column embedding",
        ),
        (
            lambda p: write_targets(p, ["b.wav"], [0], np.ones((1, 2))),
            "no vectors of any of the 1 clips; are they named there .* as in 'a.wav'",
        ),
        (
            lambda p: write_targets(p, ["a.wav"] * 2, [0, 1], np.array([[1.0], [np.nan]])),
            "hold NaN or infinity",
        ),
        (
            lambda p: pq.write_table(
                pa.table({
                    "clip": ["a.wav"] * 2,
                    "start_s": [0.0, 1.0],
                    "embedding": pa.array([[1.0], [1.0, 2.0]], FLOATS),
                }),
                p,
            ),
            "not of one size",
        ),
        (
            lambda p: pq.write_table(
                pa.table({"clip": ["a.wav"], "start_s": [0.0], "embedding": [1.0]}), p
            ),
            "holds double, not lists of numbers",
        ),
        (
            lambda p: write_targets(
                p, ["a.wav"], [0], np.ones((1, 2), np.int64), embedding=pa.list_(pa.int64())
            ),
            "are of int64, not floating point",
        ),
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "targets.parquet"
    make(path)
    with pytest.raises(DatasetError, match=message):
        read_targets(path, ["a.wav"])


def test_vectors_of_two_sizes_in_two_files_are_refused(tmp_path: Path) -> None:
    write_targets(tmp_path / "1.parquet", ["a.wav"], [0], np.ones((1, 2)))
    write_targets(tmp_path / "2.parquet", ["a.wav"], [1], np.ones((1, 3)))
    with pytest.raises(DatasetError, match="vectors of 2 and of 3 numbers"):
        read_targets(tmp_path, ["a.wav"])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float16(), 2), pa.large_list(pa.float64()), pa.list_(pa.float32())]
)
def test_lists_of_any_floating_point_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    vectors = np.array([[1, 2], [3, 4]], kind.value_type.to_pandas_dtype())
    path = write_targets(
        tmp_path / "t.parquet", ["b", "a"], [0, 0], vectors, embedding=kind, clip=pa.large_string()
    )
    found = read_targets(path, ["a", "b"])
    np.testing.assert_array_equal(found.vectors, [[3, 4], [1, 2]])


def test_own_embedding_folders_are_targets(
    tmp_path: Path, model_dir: Path, write_audio: Callable[..., Path], make_sound: Any
) -> None:
    sounds = tmp_path / "sounds"
    for number in range(8):
        path = sounds / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        write_audio(path, make_sound(2.0, seed=number))
    done = run_command("extract", sounds, "--model", model_dir, "--out", tmp_path / "emb")
    assert done.returncode == 0, done.stderr
    done = run_command(
        *("distil", sounds, "--targets", tmp_path / "emb", "--out", tmp_path / "student"),
        *("--dims", "64,96", "--epochs", "1", "--batch-size", "4", "--json"),
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {"validation_loss", "validation_r2_emb"} < set(answer)
    assert json.loads((tmp_path / "student" / CONFIG).read_text())["targets"] == [
        {"name": "emb", "size": 64, "weight": 1.0, "loss": "mse"}
    ]


def test_models_of_before_have_no_targets(model_dir: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in model_dir.iterdir():
        if path.is_file():
            (old / path.name).write_bytes(path.read_bytes())
    settings = json.loads((old / CONFIG).read_text())
    del settings["targets"]
    (old / CONFIG).write_text(json.dumps(settings))
    assert load_config(old).targets == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "a"), "--weights a: expected numbers"),
        (("--weights", "1,2"), "2 weights for 1 targets"),
        (("--dims", "big"), "--dims big: expected sizes"),
    ],
)
def test_usage_errors_of_the_command(
    sounds: Path, teacher: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run_command("distil", sounds, "--targets", teacher, "--out", tmp_path / "m", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "m").exists()
