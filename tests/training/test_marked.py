"""Training on parts of recordings."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedkit.config import FeatureSpec, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest, read_dataset
from embedkit.errors import UsageError
from embedkit.labels.stretches import Marked, Rule, segment_targets
from embedkit.metrics import mean_average_precision
from embedkit.models.table import resolve
from embedkit.training import train
from embedkit.training.features import compute_features
from embedkit.training.marked import MarkedClassification

pytestmark = pytest.mark.usefixtures("unexported")

RATE = 16000
SECONDS = 4.0  # of a recording: low, noise, high, noise, of a second each
SMALL: dict[str, Any] = {
    "model": resolve("gap", dim=64, dropout=0.1),
    "features": FeatureSpec(bands=16, n_fft=512),
    "segments": SegmentSpec(duration_s=0.4, hop_s=0.4),
}
RECIPE = TrainSpec(
    epochs=4, batch_size=8, learning_rate=3e-3, schedule=Schedule.CONSTANT, validation=0.25,
    segment_hop_s=0.2,
)  # fmt: skip
LABELS = ("high", "low")
ALL = Rule(marked=Marked.ALL)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recording(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    low, high = (np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * time) for pitch in (300, 2500))
    samples = 0.02 * rng.standard_normal(len(time))
    samples += 0.3 * np.where(time < 1, low, np.where((time >= 2) & (time < 3), high, 0))
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def manifest(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]
) -> Manifest:
    """Eight recordings, each with both labels; three of them say where there is nothing."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = ["path,start_s,end_s,label,sign"]
    for number in range(8):
        write_audio(folder / f"{number}.wav", recording(number))
        rows += [f"{number}.wav,0,1,low,", f"{number}.wav,2,3,high,"]
        if number < 3:
            rows += [f"{number}.wav,{start},{start + 1},{label},-" for start in (1, 3)
                     for label in LABELS]  # fmt: skip
    (folder / "labels.csv").write_text("\n".join(rows))
    return read_dataset(folder / "labels.csv")


def classification(
    manifest: Manifest, cache: Path, rule: Rule, labels: tuple[str, ...] = LABELS
) -> MarkedClassification:
    sets = [
        compute_features(
            manifest.clips, cache, SMALL["features"], SegmentSpec(duration_s=0.4, hop_s=hop)
        )
        for hop in (0.2, 0.4)
    ]
    return MarkedClassification(sets, [manifest] * 2, labels, rule, (0.2, 0.4))


def test_a_segment_learns_what_is_known_of_it(manifest: Manifest, tmp_path: Path) -> None:
    for rule in (Rule(), ALL):
        found = classification(manifest, tmp_path, rule)
        start = 0.2 * np.arange(19)
        one = [
            segment_targets(start, start + 0.4, clip.stretches, LABELS, rule)
            for clip in manifest.clips
        ]
        kept = [~np.isnan(wanted).all(axis=1) for wanted in one]
        assert found.training.clip.tolist() == [
            n for n, some in enumerate(kept) for _ in some[some]
        ]
        expected = np.concatenate([wanted[some] for wanted, some in zip(one, kept, strict=True)])
        rows = np.arange(len(expected))
        np.testing.assert_array_equal(found.wanted(rows), expected)
    assert len(found.training) == 8 * 19  # of each everything is known, at least for one label


def test_what_is_unknown_costs_nothing(manifest: Manifest, tmp_path: Path) -> None:
    found = classification(manifest, tmp_path, Rule())
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([[1.0, 0.0], [torch.nan, 1.0], [0.0, torch.nan], [torch.nan, torch.nan]])
    likely = torch.sigmoid(logits).double().numpy()
    terms = np.where(wanted == 1, np.log(likely), np.log(1 - likely))[~np.isnan(wanted.numpy())]
    assert found.loss(logits, wanted).item() == pytest.approx(-terms.sum() / 2, rel=1e-5)
    # Balanced sampling draws both labels as often, from whichever recordings have them.
    assert found.chances(np.arange(8)).sum() == pytest.approx(2)
    scores = torch.rand(
        len(found.validation), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    figures = found.figures(iter(scores.split(5)))
    truth = classification(manifest, tmp_path, Rule())._validation_wanted
    known = ~np.isnan(truth)
    likely = scores.numpy()
    losses = np.where(truth == 1, -np.log(likely), -np.log(1 - likely))[known]
    assert figures["validation_loss"] == pytest.approx(losses.mean())
    assert figures["validation_map"] == pytest.approx(mean_average_precision(truth, likely))


def test_a_network_learns_parts_of_recordings_that_all_have_the_same_labels(
    manifest: Manifest, tmp_path: Path
) -> None:
    done = train(manifest, tmp_path / "model", **SMALL, spec=RECIPE, rule=ALL)
    best = done.history[done.best_epoch - 1]
    assert best["validation_map"] > 0.95
    assert "validation_accuracy" not in best


def test_a_training_goes_on_with_the_same_labels_and_rule_alone(
    manifest: Manifest, tmp_path: Path
) -> None:
    def stop(items: Any, description: str, total: int | None = None) -> Iterator[Any]:
        if description.startswith("Epoch 2"):
            raise KeyboardInterrupt
        yield from items

    def run(rule: Rule, **more: Any) -> None:
        train(manifest, tmp_path / "model", **SMALL, spec=RECIPE, rule=rule, **more)

    with pytest.raises(KeyboardInterrupt):
        run(ALL, track=stop)
    with pytest.raises(UsageError, match="began with other clips, or labels"):
        run(Rule(cover=0.4, marked=Marked.ALL), resume=True)
