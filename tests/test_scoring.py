"""A clip has one score and one vector, wherever they are asked for: against a closed form."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from command import succeed
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.bench.vectors import clip_vectors
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.knn import Neighbours
from embedkit.classifiers.scene import Decision, compare_decisions
from embedkit.config import FeatureSpec, SegmentSpec, TrainSpec
from embedkit.datasets import Clip, Manifest
from embedkit.export import write_network
from embedkit.extraction import Settings, extract
from embedkit.extractor import Extractor
from embedkit.labels.join import Unit, join_labels
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.training import train
from embedkit.training.evaluation import evaluate, score_file
from embedkit.training.scenes import network_decisions
from embedkit.web.collection import Collection

RATE = 16000
SEGMENT_S = 0.4
LENGTHS = (0.9, 1.1, 0.45, 0.15, 0.8)  # a sliver behind whole segments, more than half, alone, none
SMALL: dict[str, Any] = {
    "model": resolve("gap", dim=64),
    "features": FeatureSpec(bands=16, n_fft=512),
    "segments": SegmentSpec(duration_s=SEGMENT_S, hop_s=SEGMENT_S),
}
RECIPE = TrainSpec(epochs=2, batch_size=4, learning_rate=1e-3, segment_hop_s=SEGMENT_S)


class Work(NamedTuple):
    """A trained network, a collection, and what the closed form says of its clips."""

    model: Path
    cache: Path
    extractor: ExtractorModule
    history: list[dict[str, float]]
    validation: Manifest
    table: EmbeddingTable
    labels: Path
    vectors: NDArray[np.float64]
    scores: NDArray[np.float64]


def cut_by_hand(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Whole segments and the rest, padded with zeros; and their real seconds."""
    size = round(SEGMENT_S * RATE)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    padded = np.stack([np.pad(piece, (0, size - len(piece))) for piece in pieces])
    return padded, np.array([len(piece) / RATE for piece in pieces])


def weighted(values: NDArray[np.floating], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The contract: sum of s_i x_i over sum of s_i."""
    return (seconds[:, None] * values).sum(axis=0) / seconds.sum()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]) -> Work:
    root = tmp_path_factory.mktemp("scoring")
    rng = np.random.default_rng(0)

    def clip(name: str, seconds: float, number: int) -> Clip:
        # Rising: the end of a clip is unlike its beginning.
        time = np.arange(round(seconds * RATE)) / RATE
        sound = np.sin(2 * np.pi * (300 + 400 * (number % 2) + 2500 * time**2) * time)
        sound = 0.3 * sound + 0.02 * rng.standard_normal(len(time))
        path = write_audio(root / "audio" / name, sound.astype(np.float32), subtype="FLOAT")
        return Clip(path=path, labels=("ab"[number % 2],))

    held = [clip(f"held-{n}.wav", seconds, n) for n, seconds in enumerate(LENGTHS)]
    known = [clip(f"known-{n}.wav", 0.9, n) for n in range(6)]
    clips = [
        *(replace(each, split="train") for each in known),
        *(replace(each, split="validation") for each in held),
    ]
    done = train(
        Manifest(tuple(clips), several_labels=False),
        root / "model",
        **SMALL,
        spec=RECIPE,
        cache=root / "cache",
    )
    extractor = ExtractorModule.load(root / "model")
    output = extractor.network.heads["64"].output
    with torch.no_grad():  # scores from almost 0 to almost 1, that a wrong weight shows in
        output.weight *= 30
        output.bias -= output.weight @ torch.from_numpy(
            np.concatenate(
                [
                    extractor.embed_segments(cut_by_hand(soundfile.read(c.path, dtype="f4")[0])[0])
                    for c in held
                ]
            ).mean(axis=0)
        )
    extractor.save(root / "model")
    write_network(extractor, root / "model")
    extract(root / "audio", root / "model", root / "emb", Settings(workers=1))
    vectors, scores = [], []
    for each in held:
        pieces, seconds = cut_by_hand(soundfile.read(each.path, dtype="float32")[0])
        found = extractor.embed_segments(pieces)
        vectors.append(weighted(found, seconds))
        scores.append(weighted(extractor.score_vectors(found), seconds))
    labels = root / "labels.csv"
    rows = [f"audio/{c.path.name},{c.labels[0]},{c.split}" for c in clips[: len(known)]]
    rows += [f"audio/{c.path.name},{c.labels[0]},test" for c in held]
    labels.write_text("\n".join(["path,label,split", *rows]))
    return Work(
        model=root / "model",
        cache=root / "cache",
        extractor=extractor,
        history=done.history,
        validation=Manifest(tuple(held), several_labels=False),
        table=EmbeddingTable.open(root / "emb"),
        labels=labels,
        vectors=np.array(vectors),
        scores=np.array(scores),
    )


def test_the_closed_form_is_told_from_the_other_ways(work: Work) -> None:
    # Else the tests below could not fail: equal weights, and the sliver dropped.
    for clip, expected in zip(work.validation.clips[:2], work.scores, strict=False):
        pieces, seconds = cut_by_hand(soundfile.read(clip.path, dtype="float32")[0])
        scores = work.extractor.score_segments(pieces)
        assert np.abs(scores.mean(axis=0) - expected).max() > 1e-3
        assert np.abs(weighted(scores[:-1], seconds[:-1]) - expected).max() > 1e-3


def test_every_way_to_a_clips_score_gives_one_score(work: Work) -> None:
    close = {"rtol": 0, "atol": 1e-5}
    done = evaluate(work.extractor, work.validation)
    np.testing.assert_allclose(done.scores, work.scores, **close)
    by_file = [score_file(work.extractor, clip.path).clip for clip in work.validation.clips]
    np.testing.assert_allclose(by_file, work.scores, **close)
    scenes, _ = network_decisions(work.extractor, work.validation)
    np.testing.assert_allclose(scenes[Decision.MEAN_SCORE].scores, work.scores, **close)
    whole = work.extractor.score_vectors(work.vectors.astype(np.float32))
    np.testing.assert_allclose(scenes[Decision.MEAN_VECTOR].scores, whole, **close)
    answers = json.loads(
        succeed("predict", work.model, work.validation.clips[0].path.parent, "--json")
    )
    printed = {answer["clip"]: list(answer["scores"].values()) for answer in answers}
    found = [printed[clip.path.name] for clip in work.validation.clips]
    np.testing.assert_allclose(found, work.scores, **close)


def test_validation_scores_clips_as_evaluate_does(work: Work, tmp_path: Path) -> None:
    clips = (
        *(replace(clip, split="train") for clip in work.validation.clips),
        *(replace(clip, split="validation") for clip in work.validation.clips),
    )
    manifest = Manifest(clips, several_labels=False)
    spec = replace(RECIPE, epochs=1)
    done = train(manifest, tmp_path / "model", **SMALL, spec=spec, cache=work.cache)
    extractor = ExtractorModule.load(tmp_path / "model")
    likely, right = [], []
    for clip in work.validation.clips:
        pieces, seconds = cut_by_hand(soundfile.read(clip.path, dtype="float32")[0])
        scores = weighted(extractor.score_segments(pieces), seconds)
        truth = "ab".index(clip.labels[0])
        likely.append(scores[truth])
        right.append(scores.argmax() == truth)
    assert done.history[0]["validation_loss"] == pytest.approx(-np.log(likely).mean(), rel=1e-5)
    assert done.history[0]["validation_accuracy"] == np.mean(right)
    figures = evaluate(extractor, work.validation).figures
    assert figures["accuracy"] == done.history[0]["validation_accuracy"]


def test_every_way_to_a_clips_vector_gives_one_vector(work: Work) -> None:
    close = {"rtol": 0, "atol": 1e-5}
    names = [clip.path.name for clip in work.validation.clips]
    paths = [clip.path for clip in work.validation.clips]
    query = QueryEmbedder(work.table.provenance)
    stored, vectors = work.table.clip_vectors()
    joined = join_labels(work.table, str(work.labels))
    bench, kept = clip_vectors(work.extractor, work.validation.clips, work.cache)
    assert kept.tolist() == list(range(len(LENGTHS)))
    explorer = Collection(work.table, paths[0].parent)
    for found in (
        [query.embed(path) for path in paths],
        [work.table.clip_vector(name) for name in names],
        [vectors[stored.index(name)] for name in names],
        [joined.vectors[joined.clips.index(name)] for name in names],
        [explorer.clip_vectors[explorer.clips.index(name)] for name in names],
        [
            Extractor.load(work.model).embed_clip(soundfile.read(path, dtype="float32")[0])
            for path in paths
        ],
        bench,
    ):
        np.testing.assert_allclose(np.array(found), work.vectors, **close)


def test_classifiers_score_that_vector_and_decide_scenes_by_the_same_mean(work: Work) -> None:
    clips, segments = (join_labels(work.table, str(work.labels), unit) for unit in Unit)
    known = np.flatnonzero([split == "train" for split in clips.splits or ()])
    held = np.array([clips.clips.index(clip.path.name) for clip in work.validation.clips])
    fingerprint = work.table.provenance.fingerprint
    model = Classifier.fit(clips, known, Neighbours(neighbours=3), fingerprint=fingerprint)
    expected = model.scores(work.vectors.astype(np.float32))
    found = dict(
        pair
        for batch in classify.predict(work.table, model)
        for pair in zip(batch.clips, batch.scores, strict=True)
    )
    names = [clip.path.name for clip in work.validation.clips]
    np.testing.assert_allclose([found[name] for name in names], expected, atol=1e-5)
    splits = [(known, held)]
    done = classify.evaluate(clips, splits, Neighbours(neighbours=3))
    np.testing.assert_allclose(done.scores, expected, atol=1e-5)
    scenes = compare_decisions(clips, segments, splits, Neighbours(neighbours=3))
    np.testing.assert_array_equal(scenes[Decision.MEAN_VECTOR].scores, done.scores)
    rows = np.flatnonzero([split == "train" for split in segments.splits or ()])
    of_segments = Classifier.fit(segments, rows, Neighbours(neighbours=3), fingerprint="")
    by_hand = []
    for clip in work.validation.clips:
        pieces, seconds = cut_by_hand(soundfile.read(clip.path, dtype="float32")[0])
        scores = of_segments.scores(work.extractor.embed_segments(pieces))
        by_hand.append(weighted(scores, seconds))
    np.testing.assert_allclose(scenes[Decision.MEAN_SCORE].scores, by_hand, atol=1e-4)


def test_sums_of_batches_add_up_in_any_order() -> None:
    rng = np.random.default_rng(1)
    values, seconds = rng.standard_normal((50, 3)), rng.uniform(0.01, 1, 50)
    owners = rng.integers(4, size=50)
    total = scoring.no_sums(5, 3)
    for rows in np.array_split(rng.permutation(50), 7):
        scoring.add(total, values[rows], seconds[rows], owners[rows])
    expected = [weighted(values[owners == n], seconds[owners == n]) for n in range(4)]
    np.testing.assert_allclose(scoring.means(total), [*expected, np.zeros(3)], atol=1e-12)
    np.testing.assert_allclose(
        scoring.clip_mean(values[owners == 2], seconds[owners == 2]), expected[2], atol=1e-12
    )


def test_segments_without_duration_count_alike_among_themselves_alone() -> None:
    values = np.array([[1.0], [3.0], [8.0]])
    np.testing.assert_allclose(scoring.clip_mean(values, [0, 0, 0]), [4])
    np.testing.assert_allclose(scoring.clip_mean(values, [0, 0.5, 0]), [3], atol=1e-7)
