"""Which size to choose: each way to make vectors small against numpy, and the advice by hand."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import metrics
from embedkit.audio.decode import decode
from embedkit.bench.sizes import train_sizes
from embedkit.classifiers import sizes
from embedkit.classifiers.sizes import How, SizeRow, advise, compare_sizes
from embedkit.classifiers.splits import published_folds
from embedkit.config import TrainSpec
from embedkit.datasets import read_dataset
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import Labelled
from embedkit.models.module import ExtractorModule
from embedkit.store import EmbeddingWriter, FileRecord, Provenance
from embedkit.training import trainer

pytestmark = pytest.mark.usefixtures("unexported")

SIZES = (4, 8)


@pytest.fixture(scope="module", autouse=True)
def _search_among_few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "ROWS", 1000)
        patch.setattr(sizes, "QUERIES", 5)
        yield


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
        maps = [metrics.retrieval(data.vectors[h, :size], data.targets[h])[0] for h in held]
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


def test_clips_have_no_more_components_than_they_are(data: Labelled) -> None:
    few = [(fitted[:6], held) for fitted, held in published_folds(data)]
    rows = list(compare_sizes(data, few, ["knn"], sizes=SIZES))
    assert [row.size for row in rows if row.how is How.PCA] == [4]
    assert [row.size for row in rows if row.how is How.PREFIX] == list(SIZES)


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
    assert all(set(row.figures) == {"logistic", "knn", "retrieval"} for row in rows)
    assert all(0.3 < row.figures["logistic"] <= 1 for row in rows)
    best = max(rows[:2], key=lambda row: row.figures["logistic"])
    assert advise(rows, "logistic").startswith(
        f"{best.size} numbers: {best.figures['logistic']:.3f} by logistic is the best; with several"
    )


def test_small_vectors_are_refused(data: Labelled) -> None:
    with pytest.raises(DatasetError, match="vectors of 24 numbers: no size of"):
        list(compare_sizes(data, list(published_folds(data))))


def make_row(how: How, size: int, right: int, network: str = "") -> SizeRow:
    correct = (np.arange(200) < right).astype(float)
    return SizeRow(
        how=how, size=size, bytes_an_hour=4 * 3600 * size, correct={"knn": correct},
        figures={"knn": right / 200}, search_ms=1.0, network=network,
    )  # fmt: skip


def test_the_advice_is_the_smallest_size_that_is_not_clearly_worse() -> None:
    rows = [
        make_row(How.WHOLE, 1024, 180),
        make_row(How.PREFIX, 64, 150),
        make_row(How.PREFIX, 128, 179),
        make_row(How.PREFIX, 256, 180),
        make_row(How.PCA, 64, 190),  # no network gives it
    ]
    text = advise(rows, "knn")
    assert text.startswith(
        "128 numbers: knn names 179 of 200 clips right, with the best, 1024 numbers, 180"
    )
    assert "180; 1 that it alone names right against 0 are no clear difference" in text
    assert "(McNemar's exact test, p = 1.00)" in text
    assert "1.8 MB for an hour of audio instead of 14.7" in text
    text = advise(rows[:2], "knn")
    assert text == "1024 numbers: everything smaller is clearly worse by knn on these 200 clips."
    # Among networks too, and the best need not be the largest.
    rows = [
        make_row(How.TRAINED, 64, 170, "gap"),
        make_row(How.TRAINED, 256, 190, "gap"),
        make_row(How.WHOLE, 256, 160, "fc"),
        make_row(How.PREFIX, 128, 189, "fc"),
    ]
    assert advise(rows, "knn").startswith(
        "fc 128 numbers: knn names 189 of 200 clips right, with the best, gap 256 numbers"
        " (trained), 190"
    )


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]) -> Path:
    """Low and high tones in two folds, and the manifest that names them."""
    folder = tmp_path_factory.mktemp("tones")
    rng, lines = np.random.default_rng(0), ["path,label,fold"]
    for number in range(16):
        label = ("low", "high")[number % 2]
        hertz = {"low": 300, "high": 2500}[label] * rng.uniform(0.9, 1.1)
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)
        write_audio(folder / f"{number}.wav", tone)
        lines.append(f"{number}.wav,{label},{number // 2 % 2}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def test_networks_are_trained_for_each_size_and_one_for_all(
    tmp_path: Path, tones: Path, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_dataset(tones)
    spec = TrainSpec(epochs=1, batch_size=4, hold_out_fold="1")
    arguments = (manifest, tmp_path / "out", ["gap-lite", "fc"], spec)
    wanted = {"sizes": (64, 128), "methods": ("logistic",)}
    rows = list(train_sizes(*arguments, **wanted))
    assert [(row.network, row.how, row.size) for row in rows] == [
        ("gap-lite", "trained", 64), ("gap-lite", "trained", 128), ("gap-lite", "whole", 128),
        ("gap-lite", "prefix", 64), ("gap-lite", "random projection", 64),
        ("gap-lite", "prefix, int8", 64), ("gap-lite", "prefix, int8", 128),
        ("fc", "trained", 64), ("fc", "trained", 128),
        ("fc", "prefix", 64), ("fc", "random projection", 64),
        ("fc", "prefix, int8", 64), ("fc", "prefix, int8", 128),
    ]  # fmt: skip

    def network(place: str, size: int) -> tuple[float, int]:
        """Accuracy by vectors embedded anew from the audio; parameters as torch counts them."""
        extractor = ExtractorModule.load(tmp_path / "out" / place, dim=size)
        assert extractor.config.training.hold_out_fold == "1"
        vectors = np.concatenate(
            [extractor.embed(np.concatenate(list(decode(clip.path, 16000))))
             for clip in manifest.clips]
        )  # fmt: skip
        truth = np.array([clip.labels[0] == "low" for clip in manifest.clips])
        held = np.array([clip.fold == "1" for clip in manifest.clips])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(vectors[~held].astype(float), truth[~held])
        right = model.predict(vectors[held].astype(float)) == truth[held]
        return right.mean(), sum(p.numel() for p in extractor.network.parameters())

    for row, place in ((rows[0], "gap-lite-64"), (rows[1], "gap-lite-128"), (rows[7], "fc-64")):
        assert (row.figures["logistic"], row.parameters) == network(place, row.size)
    for row in rows[2:4]:
        assert row.figures["logistic"] == network("gap-lite-matryoshka", row.size)[0]
    # A prefix costs what a network of its size does; a projection comes on top of the largest.
    assert (rows[3].parameters, rows[3].macs) == (rows[0].parameters, rows[0].macs)
    for part in ("parameters", "macs"):
        assert getattr(rows[4], part) == getattr(rows[1], part) + 128 * 64

    monkeypatch.setattr(trainer.Trainer, "run_epoch", lambda *_: pytest.fail("trained again"))
    again = list(train_sizes(*arguments, **wanted))
    assert [row.figures for row in again] == [row.figures for row in rows]
    with pytest.raises(UsageError, match=r"training\.epochs is 1 there, 2 was asked for"):
        list(train_sizes(*arguments[:3], replace(spec, epochs=2), **wanted))
    command = ("bench", "sizes", "--data", tones, "--out", tmp_path / "out", "--sizes", "64,128")
    command += ("--family", "gap-lite", "--family", "fc", "--hold-out-fold", "1", "--epochs", "1")
    found = json.loads(succeed(*command, "--batch-size", "4", "--json"))
    assert [row["figures"]["logistic"] for row in found["rows"]] == [
        row.figures["logistic"] for row in rows
    ]
    assert found["rows"][0]["macs"] == rows[0].macs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name --embeddings and --labels, or --data and --out"),
        (("--embeddings", "e"), "--embeddings goes with --labels"),
        (("--data", "x", "--out", "o", "--k-folds", "3"), "--data goes without --labels"),
        (("--data", "TONES", "--out", "o", "--family", "mlp"), "no family 'mlp' of networks of"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tones: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("bench", "sizes", *(str(tones) if each == "TONES" else each for each in options))
    assert done.returncode == 2
    assert message in done.stderr


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
        ("whole", 100), ("prefix", 64), ("random projection", 64),
        ("prefix, int8", 64), ("prefix, int8", 100),
    ]  # fmt: skip
    assert (tmp_path / "sizes.png").stat().st_size > 5000
    text = succeed(*command)
    assert text.splitlines()[-1] == found["advice"]
