import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import narrowed
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from unexported import unexport

from embedkit.checkpoint import ModelConfig
from embedkit.config import Activation, FeatureSpec, SegmentSpec, TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.models.table import resolve

Samples = NDArray[np.float32]

# Folders whose files take longest, since they train, export, start browsers or wait.
LONG = ("bench", "extraction", "models", "runtime", "training", "web")

# Tests of what works without torch run without it too: it is imported where it is needed.


def pytest_configure(config: pytest.Config) -> None:
    """Of processes that share the cores, each computes on one, as does what it starts."""
    # A shell that starts the tests in the background lets them, and what they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins, so that in the end no process has a long file left."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch finds no CUDA device here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed goes to another process as UTF-8, and names of files may be none."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Two, or one in each of the processes that share the cores."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of few units."""
    narrowed.narrow(monkeypatch)


@pytest.fixture(scope="module")
def unexported() -> Iterator[None]:
    """No training of this module exports a network, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        unexport(patch)
        yield


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Make a model folder with random weights from a seed."""
    torch = pytest.importorskip("torch")

    from embedkit.export import write_network
    from embedkit.models.module import ExtractorModule

    made: dict[int, Path] = {}  # to export a network takes seconds

    def save(seed: int) -> Path:
        if seed not in made:
            config = ModelConfig(
                model=resolve("gap", dim=64, classes=3),
                features=FeatureSpec(),
                segments=SegmentSpec(),
                training=TrainSpec(),
                activation=Activation.SOFTMAX,
                labels=("a", "b", "c"),
            )
            torch.manual_seed(seed)
            bands = config.features.bands
            made[seed] = tmp_path_factory.mktemp(f"model-{seed}-")
            module = ExtractorModule(config, torch.zeros(bands), torch.ones(bands)).eval()
            module.save(made[seed])
            write_network(module, made[seed])
        folder = tmp_path_factory.mktemp(f"model-{seed}-")
        return Path(shutil.copytree(made[seed], folder, dirs_exist_ok=True))

    return save


@pytest.fixture(scope="session")
def model_dir(save_model: Callable[[int], Path]) -> Path:
    return save_model(0)


@pytest.fixture(scope="session")
def make_sound() -> Callable[..., Samples]:
    """A chirp in noise, different for each seed: [samples], or [samples, channels]."""

    def make(
        seconds: float, rate: int = 16000, *, seed: int = 0, channels: int | None = None
    ) -> Samples:
        rng = np.random.default_rng(seed)
        time = np.arange(round(seconds * rate)) / rate
        low, slope = rng.uniform(200, 1000), rng.uniform(100, 500)
        sound = 0.5 * np.sin(2 * np.pi * (low + slope * time) * time)
        if channels is not None:
            sound = sound[:, None] * rng.uniform(0.2, 1, channels)
        return np.clip(sound + 0.05 * rng.standard_normal(sound.shape), -0.99, 0.99).astype("f4")

    return make


@pytest.fixture(scope="session")
def write_audio() -> Callable[..., Path]:
    """Write samples [n] or [n, channels]; the suffix does not have to fit `format`."""

    def write(path: Path, samples: NDArray[Any], rate: int = 16000, **options: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            name = options.pop("format", path.suffix.lstrip(".").upper())
            soundfile.write(file, samples, rate, format=name, **options)
        return path

    return write


@pytest.fixture(scope="session")
def chirps(
    tmp_path_factory: pytest.TempPathFactory,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., Samples],
) -> Manifest:
    """Eight clips of 1.2 s, a and b by turns."""
    folder = tmp_path_factory.mktemp("chirps")
    clips = []
    for number in range(8):
        path = write_audio(folder / f"{number}.wav", make_sound(1.2, seed=number))
        clips.append(Clip(path=path, labels=("ab"[number % 2],)))
    return Manifest(tuple(clips), several_labels=False)
