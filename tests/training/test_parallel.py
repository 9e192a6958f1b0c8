"""Training by two processes: torchrun runs this file."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import narrowed
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from patience import PATIENCE

from embedkit import training
from embedkit.checkpoint import ModelConfig
from embedkit.config import Activation, FeatureSpec, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest
from embedkit.datasets.manifest import targets
from embedkit.errors import UsageError
from embedkit.models.module import ExtractorModule
from embedkit.models.table import MODELS, resolve
from embedkit.training import train
from embedkit.training.features import compute_features
from embedkit.training.folder import METRICS, SCRATCH
from embedkit.training.objective import Classification
from embedkit.training.parallel import Processes, join
from embedkit.training.trainer import Trainer

FEATURES = FeatureSpec(bands=32, n_fft=512)
SEGMENTS = SegmentSpec(duration_s=0.5, hop_s=0.5)
RECIPE = TrainSpec(
    epochs=2, batch_size=8, learning_rate=1e-3, schedule=Schedule.CONSTANT, validation=0.25,
    segment_hop_s=0.5, mixup=0.2, time_mask=4,
)  # fmt: skip
# Networks of a family differ in a width alone.
ONE_EACH = list({spec.name: name for name, spec in reversed(MODELS.items())}.values())
BATCHES = [[0, 5, 3, 8, 2], [1, 4, 6, 7]]  # shares of 3 and 2, and of 2 and 2


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, chirps: Manifest
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What two processes wrote into a folder, and how they ended."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "manifest.pickle").write_bytes(pickle.dumps(chirps))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", __file__, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def gradients(
    chirps: Manifest, folder: Path, ranks: Processes, *, several: bool
) -> list[NDArray[np.float64]]:
    """Of each parameter after each batch, in float64, of a network without BN and dropout."""
    config = ModelConfig(
        model=resolve("alexnet", classes=2, dropout=0),
        features=FEATURES,
        segments=SEGMENTS,
        training=replace(RECIPE, mixup=0, time_mask=0),
        activation=Activation.SIGMOID if several else Activation.SOFTMAX,
        labels=("a", "b"),
    )
    sets = [compute_features(chirps.clips, folder / "cache", FEATURES, SEGMENTS)] * 2
    torch.manual_seed(0)
    mean, std = map(torch.from_numpy, sets[0].mean_and_std())
    extractor = ExtractorModule(config, mean, std).double()
    wanted = targets(chirps.clips, config.labels)
    trainer = Trainer(
        extractor, Classification(sets, [wanted, wanted], config.activation), folder, ranks
    )
    found = []
    for batch in BATCHES:
        trainer.step(torch.tensor(batch))
        found += [weight.grad.numpy().copy() for weight in extractor.network.parameters()]
    return found


@pytest.mark.parametrize("several", [False, True])
def test_the_averaged_gradient_is_that_of_one_process(
    tmp_path: Path, chirps: Manifest, two: Any, narrow: None, several: bool
) -> None:
    one = gradients(chirps, tmp_path, Processes(), several=several)
    for rank in (0, 1):
        both = np.load(two[0] / f"gradients-{several}-{rank}.npz")
        assert len(both) == len(one)
        for name, expected in zip(both, one, strict=True):
            np.testing.assert_allclose(both[name], expected, rtol=0, atol=1e-10)
    assert max(np.abs(gradient).max() for gradient in one) > 1e-3


@pytest.mark.parametrize("name", ONE_EACH)
def test_both_processes_end_with_equal_weights(two: Any, name: str) -> None:
    first, second = (np.load(two[0] / f"{name}-{rank}.npz") for rank in (0, 1))
    assert set(first) == set(second)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    start = np.load(two[0] / f"{name}-start.npz")
    assert any((start[key] != first[key]).any() for key in first)


def test_one_process_writes_one_model_folder(two: Any) -> None:
    folder = two[0] / "gap-lite"
    history = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [record["epoch"] for record in history] == [1, 2]
    assert ExtractorModule.load(folder).embedding_size == 256
    assert not (folder / SCRATCH).exists()
    assert {path.name for path in two[0].glob("exported-gap-lite-*")} == {"exported-gap-lite-0"}
    ends = [json.loads((two[0] / f"history-{rank}.json").read_text()) for rank in (0, 1)]
    assert ends == [history, history]


def test_two_processes_resume_to_the_same_weights(two: Any) -> None:
    whole, resumed = (ExtractorModule.load(two[0] / name) for name in ("gap-lite", "resumed"))
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_a_batch_that_gives_a_process_one_segment_is_refused(two: Any) -> None:
    for rank in (0, 1):
        refused = (two[0] / f"refused-{rank}").read_text()
        assert refused == "batches of 3 for 2 processes: must be at least 2 segments for each"


def main(folder: Path) -> None:
    """What each of the two processes does."""
    narrowed.narrow(pytest.MonkeyPatch())
    manifest = pickle.loads((folder / "manifest.pickle").read_bytes())
    rank = int(os.environ["RANK"])
    last: dict[str, Any] = {}
    initialise, restore = Trainer.__init__, Trainer.restore

    def remember(trainer: Trainer, *args: Any, **options: Any) -> None:
        initialise(trainer, *args, **options)
        last["trainer"] = trainer

    def start(trainer: Trainer) -> None:
        restore(trainer)
        last["start"] = weights(trainer)

    def weights(trainer: Trainer) -> dict[str, NDArray[np.float32]]:
        named = trainer.extractor.network.named_parameters()
        return {name: weight.detach().numpy().copy() for name, weight in named}

    def export(_: ExtractorModule, place: Path) -> None:  # which takes seconds
        (folder / f"exported-{place.name}-{rank}").touch()

    Trainer.__init__, Trainer.restore = remember, start  # type: ignore[method-assign]
    training.folder.write_network = export  # type: ignore[attr-defined]
    settings: dict[str, Any] = {"features": FEATURES, "segments": SEGMENTS, "spec": RECIPE}
    for name in ONE_EACH:
        trained = train(
            manifest, folder / name, model=resolve(name), cache=folder / "cache", **settings
        )
        np.savez(folder / f"{name}-{rank}.npz", **weights(last["trainer"]))
        if rank == 0:
            np.savez(folder / f"{name}-start.npz", **last["start"])
        if name == "gap-lite":
            (folder / f"history-{rank}.json").write_text(json.dumps(trained.history))

    def stop(items: Any, description: str, total: int | None = None) -> Any:
        if description == "Epoch 2/2":
            raise KeyboardInterrupt
        return items

    resume = {"model": resolve("gap-lite"), "cache": folder / "cache", **settings}
    with suppress(KeyboardInterrupt):
        train(manifest, folder / "resumed", track=stop, **resume)
    for _ in range(2):  # the second time there is nothing left to do
        train(manifest, folder / "resumed", resume=True, **resume)
    try:
        spec = replace(RECIPE, batch_size=3)
        train(manifest, folder / "refused", model=resolve("gap"), **settings | {"spec": spec})
    except UsageError as error:
        (folder / f"refused-{rank}").write_text(str(error))
    ranks, _ = join("cpu")
    for several in (False, True):
        found = gradients(manifest, folder, ranks, several=several)
        np.savez(folder / f"gradients-{several}-{rank}.npz", *found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
