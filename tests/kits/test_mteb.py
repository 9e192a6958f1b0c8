"""An audio task of MTEB, run by MTEB itself on embedkit's encoder."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from embedkit.errors import UsageError
from embedkit.models.module import ExtractorModule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mteb = pytest.importorskip("mteb")
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import EncoderProtocol

    from embedkit.kits.mteb import EmbedkitEncoder

RATES = (16000, 22050)


def tone(number: int) -> dict[str, Any]:
    rate = RATES[number // 2 % 2]
    hertz = (300, 2500)[number % 2] * (1 + 0.01 * number)
    samples = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(1.5 * rate)) / rate)
    return {"array": samples, "sampling_rate": rate}


class Tones(AbsTaskClassification):  # type: ignore[misc]
    """Low and high tones at two sampling rates."""

    metadata = TaskMetadata(
        name="Tones", type="AudioClassification", main_score="accuracy", description="Tones.",
        reference=None, dataset={"path": "NA", "revision": "NA"}, category="a2c",
        eval_splits=["test"], eval_langs=["zxx-Zxxx"], date=("2026-01-01", "2026-01-01"),
        dialect=[], domains=[], task_subtypes=[], license="cc-by-4.0",
        annotations_creators="derived", modalities=["audio"], sample_creation="created",
        bibtex_citation="",
    )  # fmt: skip
    input_column_name = "audio"
    samples_per_label = 4
    n_experiments = 2

    def load_data(self, **_: Any) -> None:
        def split(numbers: range) -> Any:
            return datasets.Dataset.from_dict(
                {"audio": [tone(n) for n in numbers], "label": [n % 2 for n in numbers]}
            )

        self.dataset = datasets.DatasetDict(train=split(range(12)), test=split(range(12, 20)))
        self.data_loaded = True


@pytest.fixture(scope="module")
def encoder() -> EmbedkitEncoder:
    return EmbedkitEncoder(dim=64)


@pytest.mark.filterwarnings("ignore")
def test_mteb_runs_a_task_on_it(encoder: EmbedkitEncoder) -> None:
    assert isinstance(encoder, EncoderProtocol)
    found = mteb.evaluate(encoder, Tones(), cache=None, show_progress_bar=False)
    [scores] = found.task_results[0].scores["test"]
    assert scores["accuracy"] == 1.0
    assert found.model_name == "embedkit/default-64"


def test_other_weights_are_another_revision(save_model: Callable[[int], Path]) -> None:
    folders = [save_model(seed) for seed in (0, 1)]
    first, second = (EmbedkitEncoder(str(folder)).mteb_model_meta.revision for folder in folders)
    assert first != second
    weights = (folders[0] / "model.safetensors").read_bytes()
    assert first == hashlib.sha256(weights).hexdigest()[:12]
    assert EmbedkitEncoder("fast", dim=64).mteb_model_meta.name == "embedkit/fast-64"


def test_vectors_are_the_mean_of_the_segments_at_the_models_rate(encoder: EmbedkitEncoder) -> None:
    extractor = ExtractorModule.load(dim=64)
    stereo = {"array": np.stack([tone(0)["array"]] * 2), "sampling_rate": 16000}
    found = encoder.encode([{"audio": [tone(0), tone(2)]}, {"audio": [stereo]}])
    expected = []
    for item in (tone(0), tone(2)):
        samples = soxr.resample(item["array"].astype(np.float32), item["sampling_rate"], 16000)
        expected.append(np.average(extractor.embed(samples), axis=0, weights=[1, 0.5]))
    np.testing.assert_allclose(found, [*expected, expected[0]], atol=1e-5)


def test_a_task_of_text_is_refused(encoder: EmbedkitEncoder) -> None:
    with pytest.raises(UsageError, match="this model takes audio, but the task has text"):
        encoder.encode([{"text": ["a"]}])
