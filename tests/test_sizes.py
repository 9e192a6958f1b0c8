"""Which size to choose: each way to make vectors small against numpy, and the advice by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import succeed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import metrics
from embedkit.backends.labels import Labelled
from embedkit.backends.sizes import How, SizeRow, advise, compare_sizes
from embedkit.backends.splits import published_folds
from embedkit.errors import DatasetError
from embedkit.store import EmbeddingWriter, FileRecord, Provenance

SIZES = (4, 8)


@pytest.fixture(scope="module")
def data() -> Labelled:
    """Three classes that differ in the first 8 of 24 numbers, in three folds."""
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    vectors = rng.standard_normal((90, 24)) + 2
    vectors[:, :8] += 1.2 * rng.standard_normal((3, 8))[truth]
    return Labelled(
        clips=[f"{'abc'[label]}/{n:02d}.wav" for n, label in enumerate(truth)],
        vectors=vectors.astype(np.float32),
        targets=np.eye(3, dtype=np.float32)[truth],
        labels=("a", "b", "c"),
        several_labels=False,
        folds=[str(n // 3 % 3) for n in range(90)],
        splits=None,
        groups=[str(n) for n in range(90)],
    )


@pytest.fixture(scope="module")
def rows(data: Labelled) -> dict[tuple[How, int], SizeRow]:
    found = compare_sizes(data, list(published_folds(data)), sizes=SIZES)
    return {(row.how, row.size): row for row in found}


def accuracy(vectors: list[NDArray[np.floating]], data: Labelled) -> float:
    """Of logistic regression, fold by fold on the vectors made for that fold."""
    right = 0
    for made, (fitted, held) in zip(vectors, published_folds(data), strict=True):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(made[fitted].astype(float), data.classes[fitted])
        right += int((model.predict(made[held].astype(float)) == data.classes[held]).sum())
    return right / len(data.clips)


def test_prefixes_are_the_first_numbers(
    data: Labelled, rows: dict[tuple[How, int], SizeRow]
) -> None:
    for how, size in ((How.PREFIX, 4), (How.PREFIX, 8), (How.WHOLE, 24)):
        row = rows[how, size]
        expected = accuracy([data.vectors[:, :size]] * 3, data)
        assert row.figures["logistic"] == pytest.approx(expected)
        assert row.bytes_an_hour == 4 * size * 3600
        held = [held for _, held in published_folds(data)]
        maps = [metrics.retrieval(data.vectors[h, :size], data.classes[h])[0] for h in held]
        assert row.figures["retrieval"] == pytest.approx(np.mean(maps))
        assert row.search_ms > 0
    # The figures can tell sizes apart.
    assert rows[How.PREFIX, 8].figures["logistic"] > rows[How.PREFIX, 4].figures["logistic"]


def test_principal_components_are_those_of_the_training_clips(
    data: Labelled, rows: dict[tuple[How, int], SizeRow]
) -> None:
    made = []
    for fitted, _ in published_folds(data):
        mean = data.vectors[fitted].mean(axis=0)
        _, _, axes = np.linalg.svd(data.vectors[fitted] - mean, full_matrices=False)
        made.append((data.vectors - mean) @ axes[:8].T)
    assert rows[How.PCA, 8].figures["logistic"] == pytest.approx(accuracy(made, data))


def test_a_random_projection_is_by_normal_numbers_of_the_seed(
    data: Labelled, rows: dict[tuple[How, int], SizeRow]
) -> None:
    matrix = np.random.RandomState(0).normal(0, 1 / np.sqrt(8), (8, 24))
    expected = accuracy([data.vectors @ matrix.T] * 3, data)
    assert rows[How.RANDOM, 8].figures["logistic"] == pytest.approx(expected)


def test_eight_bits_are_a_step_of_the_training_clips_range(
    data: Labelled, rows: dict[tuple[How, int], SizeRow]
) -> None:
    made = []
    for fitted, _ in published_folds(data):
        part = data.vectors.astype(float)
        low, high = part[fitted].min(axis=0), part[fitted].max(axis=0)
        made.append(np.clip(np.round((part - low) / (high - low) * 255), 0, 255))
    row = rows[How.INT8, 24]
    assert row.figures["logistic"] == pytest.approx(accuracy(made, data))
    assert row.bytes_an_hour == 24 * 3600


def test_several_labels_are_scored_by_map_and_without_plda(data: Labelled) -> None:
    several = replace(
        data,
        several_labels=True,
        targets=np.maximum(
            data.targets, np.roll(data.targets, 1, axis=1) * (np.arange(90) % 2)[:, None]
        ),
    )
    rows = list(compare_sizes(several, list(published_folds(several)), sizes=(8,)))
    assert all(set(row.figures) == {"logistic", "knn"} for row in rows)
    assert all(0.3 < row.figures["logistic"] <= 1 for row in rows)
    assert advise(rows, "logistic").startswith("24 numbers: with several labels")


def test_small_vectors_are_refused(data: Labelled) -> None:
    with pytest.raises(DatasetError, match="vectors of 24 numbers: no size of"):
        list(compare_sizes(data, list(published_folds(data))))


def make_row(how: How, size: int, right: int) -> SizeRow:
    correct = (np.arange(200) < right).astype(float)
    return SizeRow(
        how=how, size=size, bytes_an_hour=4 * 3600 * size, correct={"knn": correct},
        figures={}, search_ms=1.0,
    )  # fmt: skip


def test_the_advice_is_the_smallest_size_that_is_not_clearly_worse() -> None:
    rows = [
        make_row(How.WHOLE, 1024, 180),
        make_row(How.PREFIX, 64, 150),
        make_row(How.PREFIX, 128, 179),
        make_row(How.PREFIX, 256, 180),
        make_row(How.PCA, 64, 180),
    ]
    text = advise(rows, "knn")
    assert text.startswith(
        "128 numbers: knn names 179 of 200 clips right, with all 1024 numbers 180"
    )
    assert "0.5 points (0.0 to 1.5 with 95 % confidence), is not clear" in text
    assert "1.8 MB for an hour of audio instead of 14.7" in text
    text = advise(rows[:2], "knn")
    assert text.startswith(
        "1024 numbers: every smaller prefix is clearly worse by knn on these 200"
    )


def test_the_command_prints_a_row_for_each_size_and_the_advice(
    data: Labelled, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([data.vectors, rng.standard_normal((90, 76))], axis=1)
    provenance = Provenance(
        audio_root="/audio", model="model", fingerprint="f" * 64, embedding_size=100,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="torch",
    )  # fmt: skip
    with EmbeddingWriter(tmp_path / "emb", provenance) as writer:
        for clip, vector in zip(data.clips, vectors, strict=True):
            index = np.zeros(1, np.int32)
            row = vector[None].astype(np.float32)
            writer.add_rows(clip, index, index.astype(float), index + 1.0, row)
            facts = {"size": 1, "mtime_ns": 1, "duration_s": 1.0, "kind": "", "message": ""}
            writer.finish_file(FileRecord(clip=clip, rows=1, **facts))
    command = (
        *("bench", "sizes", "--embeddings", tmp_path / "emb", "--labels", "folders"),
        *("--k-folds", 3, "--picture", tmp_path / "sizes.png"),
    )
    found = json.loads(succeed(*command, "--json"))
    assert [(row["how"], row["size"]) for row in found["rows"]] == [
        ("whole", 100), ("prefix", 64), ("pca", 64), ("random projection", 64),
        ("prefix, int8", 64), ("prefix, int8", 100),
    ]  # fmt: skip
    assert (tmp_path / "sizes.png").stat().st_size > 5000
    text = succeed(*command)
    assert text.splitlines()[-1] == found["advice"]
