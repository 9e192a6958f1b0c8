"""A GPU gives what a CPU gives, within bounds that the docs state: `pytest -m cuda`."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from foreign import write_extractor
from numpy.typing import NDArray
from patience import PATIENCE
from torch import Tensor

from embedkit import Extractor
from embedkit.checkpoint import ModelConfig
from embedkit.config import (
    Activation,
    FeatureSpec,
    FrontEnd,
    Precision,
    Schedule,
    SegmentSpec,
    TargetSpec,
    TrainSpec,
)
from embedkit.datasets import Manifest
from embedkit.extraction import Settings, extract
from embedkit.models.features import front_end
from embedkit.models.module import ExtractorModule
from embedkit.models.precision import PLACES, full_float32
from embedkit.models.table import resolve
from embedkit.recipe import DistilSpec, Heads
from embedkit.runtime import Runtime, prepare
from embedkit.store import EmbeddingTable
from embedkit.training import train
from embedkit.training.evaluation import evaluate
from embedkit.training.features import Features
from embedkit.training.folder import METRICS
from embedkit.training.fresh import FreshScenes
from embedkit.training.goals import Goals, Target
from embedkit.training.learner import Learner
from embedkit.training.lessons import Lesson, Lessons
from embedkit.training.objective import Classification
from embedkit.training.parallel import Processes
from embedkit.training.teachers import open_teachers
from embedkit.training.trainer import Trainer

pytestmark = pytest.mark.cuda

GPU = "cuda"
Vectors = NDArray[np.float32]

FLOAT32 = 1e-5  # of the largest number of a vector
COSINE = {Runtime.TORCH_BF16: 0.999, Runtime.TORCH_FP16: 0.99999}
# Two ways of a CPU to sum differ by 2e-6 and, since pools and ReLU choose, 0.007; in bfloat16 by
# 0.0015 and 0.4.
LOSS = {Precision.FLOAT32: 3e-5, Precision.BFLOAT16: 0.02}  # relative
GRADIENT = {Precision.FLOAT32: 0.03, Precision.BFLOAT16: 0.8}  # of its norm
BATCH = 16

needs_onnx = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="onnxruntime computes on the CPU alone; embedkit[gpu] brings the other",
)
EXACT = [Runtime.TORCH, pytest.param(Runtime.ONNX, marks=needs_onnx)]


@pytest.fixture(autouse=True)
def _less_is_allowed() -> Iterator[None]:
    """A user allows TF32 where he can: what is exact is so all the same."""
    places = PLACES[:3]  # those of CUDA
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32"
    yield
    for place, precision in zip(places, before, strict=True):
        place.fp32_precision = precision


def segments(count: int) -> Vectors:
    """Noise at levels from faint to loud."""
    noise = np.random.default_rng(0).standard_normal((count, 16000))
    return (noise * np.geomspace(1e-4, 0.3, count)[:, None]).astype(np.float32)


def check_near(found: Vectors, expected: Vectors) -> None:
    largest = np.abs(expected).max()
    assert largest > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT32 * largest)


def check_cosine(found: Vectors, expected: Vectors, least: float) -> None:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > least


@pytest.mark.parametrize("runtime", EXACT)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_float32_gives_the_vectors_of_a_cpu(model_dir: Path, runtime: Runtime, batch: int) -> None:
    for model in (model_dir, None):  # gap, and gap-lite in the box
        folder = () if model is None else (model,)
        expected = Extractor.load(*folder).embed_segments(segments(batch))
        found = Extractor.load(*folder, device=GPU, runtime=runtime).embed_segments(segments(batch))
        check_near(found, expected)


@pytest.mark.parametrize("runtime", list(COSINE))
def test_short_numbers_give_nearly_the_vectors_of_a_cpu(runtime: Runtime) -> None:
    expected = Extractor.load().embed_segments(segments(64))
    found = Extractor.load(device=GPU, runtime=runtime).embed_segments(segments(64))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() > 1e-4  # it did compute in short numbers
    check_cosine(found, expected, COSINE[runtime])


@pytest.mark.parametrize("kind", list(FrontEnd))
def test_features_are_those_of_a_cpu(kind: FrontEnd) -> None:
    module = front_end(FeatureSpec(kind=kind))
    waveforms = torch.from_numpy(segments(8))
    with torch.inference_mode(), full_float32():
        expected = module(waveforms).numpy()
        found = module.to(GPU)(waveforms.to(GPU)).cpu().numpy()
    check_near(found, expected)


@pytest.mark.parametrize("runtime", [*EXACT, *COSINE])
def test_extract_writes_the_rows_of_a_cpu(
    tmp_path: Path, chirps: Manifest, model_dir: Path, runtime: Runtime
) -> None:
    root = chirps.clips[0].path.parent
    tables = []
    for name, settings in (
        ("cpu", Settings()),
        ("gpu", Settings(device=GPU, runtime=runtime, workers=2, batch_size=3)),
    ):
        extract(root, model_dir, tmp_path / name, settings)
        tables.append(EmbeddingTable.open(tmp_path / name))
    expected, found = (table.rows() for table in tables)
    assert found.clips.tolist() == expected.clips.tolist()
    assert found.segments.tolist() == expected.segments.tolist()
    if runtime in COSINE:
        check_cosine(found.embeddings, expected.embeddings, COSINE[runtime])
    else:
        check_near(found.embeddings, expected.embeddings)


def learn_once(device: str, name: str, precision: Precision, folder: Path) -> tuple[float, Tensor]:
    """The loss of a batch, and its gradient, without dropout: a device draws its own."""
    values = np.random.default_rng(0).standard_normal((BATCH, 1, 101, 64), np.float32)
    rows = np.arange(BATCH)
    features = Features(
        shards=[values], shard=0 * rows, row=rows, clip=rows, seconds=np.ones(BATCH), failures=[]
    )
    config = ModelConfig(
        model=resolve(name, dropout=0, classes=4),
        features=FeatureSpec(),
        segments=SegmentSpec(),
        training=TrainSpec(batch_size=BATCH, precision=precision),
        activation=Activation.SOFTMAX,
        labels=tuple("abcd"),
    )
    torch.manual_seed(0)
    module = ExtractorModule(config, torch.zeros(64), torch.ones(64)).to(device)
    wanted = [np.eye(4, dtype=np.float32)[rows % 4]] * 2
    goal = Classification([features, features], wanted, Activation.SOFTMAX)
    with full_float32():
        loss = Trainer(module, goal, folder, Processes()).step(torch.arange(BATCH))
    gradients = [weights.grad for weights in module.network.parameters()]
    return loss, torch.cat([own.flatten().cpu() for own in gradients if own is not None])


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("name", ["gap", "gap-lite", "alexnet-bn"])
def test_a_step_of_training_has_the_loss_and_the_gradient_of_a_cpu(
    tmp_path: Path, narrow: None, precision: Precision, name: str
) -> None:
    expected, wanted = learn_once("cpu", name, Precision.FLOAT32, tmp_path)
    loss, found = learn_once(GPU, name, precision, tmp_path)
    assert loss == pytest.approx(expected, rel=LOSS[precision])
    assert torch.linalg.norm(found - wanted) < GRADIENT[precision] * torch.linalg.norm(wanted)


def test_train_learns(tmp_path: Path, chirps: Manifest) -> None:
    """Step by step its losses leave those of a CPU: on two CPUs they do, by 1 % in two epochs."""
    trained = train(
        chirps,
        tmp_path / "model",
        model=resolve("gap-lite", dropout=0),
        features=FeatureSpec(),
        segments=SegmentSpec(),
        spec=TrainSpec(
            epochs=4, batch_size=4, learning_rate=1e-4, schedule=Schedule.CONSTANT, validation=0.25
        ),
        device=GPU,
    )
    losses = [epoch["train_loss"] for epoch in trained.history]
    assert losses[-1] < 0.5 * losses[0]


class SameScenes(FreshScenes):
    """Scenes that are the same on every device, which draws its own numbers."""

    def __init__(self, device: str) -> None:
        self.device, self.heard = torch.device(device), slice(0, 16000)

    def draw(self, seed: int, count: int) -> Tensor:
        return torch.from_numpy(segments(count)).to(self.device)


def learn(device: str, teacher: Path, folder: Path) -> tuple[Lesson, float, float]:
    """A lesson, and the losses before and after it."""
    features = FeatureSpec()
    teachers = open_teachers([teacher], 16000, 16000, device)
    module = front_end(features).to(device)
    lesson = Lessons(SameScenes(device), teachers, module, seed=0, mfcc=True).make(0, 16)
    sizes = [vectors.shape[1] for vectors in lesson.vectors]
    specs = [TargetSpec(name=str(number), size=size) for number, size in enumerate(sizes)]
    spec = DistilSpec(segments=1600, batch_size=16, learning_rate=1e-3)
    config = ModelConfig(
        model=resolve("gap-lite", dims=(64, 128), classes=sum(sizes), dropout=0),
        features=features,
        segments=SegmentSpec(),
        training=spec,
        activation=Activation.NONE,
        targets=tuple(specs),
    )
    torch.manual_seed(0)
    extractor = ExtractorModule(config, torch.zeros(64), torch.ones(64))
    targets = [Target(own, names=own is specs[1]) for own in specs]  # the teacher's logits
    goals = Goals(targets, extractor.network.sizes, Heads.LINEAR, 1.0)
    learner = Learner(extractor.to(device), goals.to(device), spec, folder)
    learner.begin([lesson])
    return lesson, learner.learn(lesson), learner.learn(lesson)


def test_distil_makes_the_lesson_of_a_cpu_and_learns_the_same_of_it(tmp_path: Path) -> None:
    teacher = write_extractor(tmp_path / "teacher")
    with full_float32():
        expected, *losses = learn("cpu", teacher, tmp_path)
        found, *own_losses = learn(GPU, teacher, tmp_path)
    for own, vectors in zip(
        (found.features, *found.vectors), (expected.features, *expected.vectors), strict=True
    ):
        assert own.device.type == torch.device(GPU).type
        check_near(own.cpu().numpy(), vectors.numpy())
    assert own_losses == pytest.approx(losses, rel=LOSS[Precision.FLOAT32])


@pytest.mark.filterwarnings("ignore:1 of 3 classes")  # the model knows one more
def test_evaluate_gives_the_scores_of_a_cpu(
    tmp_path: Path, chirps: Manifest, save_model: Callable[[int], Path]
) -> None:
    model = save_model(0)
    known = replace(chirps, clips=tuple(replace(c, labels=(c.labels[0],)) for c in chirps.clips))
    expected, found = (
        evaluate(ExtractorModule.load(model, device), known) for device in ("cpu", GPU)
    )
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=FLOAT32)
    assert found.figures["correct"] == expected.figures["correct"]


def test_a_batch_that_does_not_fit_gives_the_same_vectors(
    model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In an eighth of what the batch would take beside the network.

    A convolution takes half as well, and then computes with less memory of its own.
    """
    expected = Extractor.load(model_dir).embed_segments(segments(256))
    embedder = prepare(model_dir, device=GPU).start()
    embedder.embed_segments(segments(16))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    embedder.embed_segments(segments(256))
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + needed / 8) / total)
    try:
        found = embedder.embed_segments(segments(256))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "256 segments at a time do not fit into memory" in caplog.text
    check_near(found, expected)


def test_each_process_of_torchrun_trains_on_a_card_of_its_own(
    tmp_path: Path, chirps: Manifest
) -> None:
    rows = [f"{clip.path},{clip.labels[0]}" for clip in chirps.clips]
    (tmp_path / "meta.csv").write_text("\n".join(["path,label", *rows]))
    count = str(min(2, torch.cuda.device_count()))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    command = [
        Path(sys.executable).with_name("embedkit"), "train", tmp_path / "meta.csv",
        "--out", tmp_path / "model", "--model", "gap-lite", "--epochs", "2", "--batch-size", "4",
        "--device", GPU,
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, "--nproc-per-node", count, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = (tmp_path / "model" / METRICS).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in written] == [1, 2]
