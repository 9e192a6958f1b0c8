"""Every network of the table, and every front-end, through the one path from sound to vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.checkpoint import ModelConfig, load_config
from embedkit.config import Activation, FeatureSpec, FrontEnd, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest, split_validation
from embedkit.datasets.manifest import targets
from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.extraction import Settings, extract
from embedkit.models.module import ExtractorModule
from embedkit.models.table import FAMILIES, MODELS, resolve
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.training import train
from embedkit.training.evaluation import evaluate, score_file
from embedkit.training.features import compute_features
from embedkit.training.objective import Classification
from embedkit.training.parallel import Processes
from embedkit.training.trainer import Trainer

RATE = 16000
SEGMENTS = SegmentSpec(duration_s=0.5, hop_s=0.5)
# Lowest bin of the CQT at 300 Hz: its window is no longer than a segment.
FEATURES = FeatureSpec(bands=32, n_fft=512, coefficients=24, min_hz=300)
RECIPE = TrainSpec(
    epochs=2, batch_size=4, learning_rate=1e-3, schedule=Schedule.CONSTANT, validation=0.25,
    segment_hop_s=0.5,
)  # fmt: skip
# Networks of a family differ in a width alone.
ONE_EACH = {spec.name: name for name, spec in reversed(MODELS.items())}
CASES = [
    *((name, FrontEnd.LOG_MEL) for name in ONE_EACH.values()),
    *(("gap-lite", kind) for kind in FrontEnd if kind is not FrontEnd.LOG_MEL),
]


def rows(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The vectors of each clip."""
    table = EmbeddingTable.open(folder).rows()
    return {clip: table.embeddings[table.clips == clip] for clip in dict.fromkeys(table.clips)}


# torch's own recurrent layers are said to have "tensor attributes assigned during export".
@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")
@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{n}-{k}" for n, k in CASES])
def test_it_trains_saves_loads_extracts_and_exports(
    tmp_path: Path, chirps: Manifest, narrow: None, name: str, kind: FrontEnd
) -> None:
    features = replace(FEATURES, kind=kind)
    model = resolve(name)
    spec = replace(RECIPE, weight_decay=FAMILIES[model.name].weight_decay)
    trained = train(
        chirps, tmp_path / "model", model=model, features=features, segments=SEGMENTS, spec=spec
    )
    assert trained.history[1]["train_loss"] != trained.history[0]["train_loss"]
    config = load_config(tmp_path / "model")
    assert (config.model, config.features) == (replace(model, classes=2), features)

    extractor = ExtractorModule.load(tmp_path / "model")
    extract(chirps.clips[0].path.parent, tmp_path / "model", tmp_path / "embeddings")
    found = rows(tmp_path / "embeddings")
    for clip in chirps.clips:
        waveform = np.concatenate(list(decode(clip.path, RATE)))
        expected = extractor.embed(waveform)
        assert expected.shape == (3, extractor.embedding_size)
        np.testing.assert_allclose(found[clip.path.name], expected, rtol=1e-5, atol=1e-5)

    # What was trained is what was saved: the figures of its epoch, from audio.
    best = trained.history[trained.best_epoch - 1]
    _, validation = split_validation(chirps, spec.validation, spec.seed)
    losses = []
    for clip in validation.clips:
        scores = score_file(extractor, clip.path).clip
        losses.append(-np.log(scores[config.labels.index(clip.labels[0])]))
    assert best["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.parametrize("kind", FrontEnd)
def test_from_waveform_to_scores_it_is_a_graph_of_tensors(kind: FrontEnd) -> None:
    """Which is what other runtimes take; each network's own part is exported above."""
    config = ModelConfig(
        model=resolve("gap-lite", classes=2),
        features=replace(FEATURES, kind=kind),
        segments=SEGMENTS,
        training=RECIPE,
        activation=Activation.SOFTMAX,
        labels=("a", "b"),
    )
    size = config.features.size
    extractor = ExtractorModule(config, torch.zeros(size), torch.ones(size)).eval()
    segments = torch.randn(2, RATE // 2)
    graph = torch.export.export(extractor, (segments,))
    with torch.inference_mode():
        torch.testing.assert_close(graph.module()(segments), extractor(segments))


MATRYOSHKA = [name for name, family in FAMILIES.items() if family.matryoshka]


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory, chirps: Manifest) -> Path:
    folder = tmp_path_factory.mktemp("nested")
    model = resolve("gap-lite", dims=(64, 96, 128))
    train(chirps, folder, model=model, features=FEATURES, segments=SEGMENTS, spec=RECIPE)
    return folder


@pytest.mark.parametrize("name", MATRYOSHKA)
def test_the_loss_is_summed_over_the_heads_of_all_prefixes(
    tmp_path: Path, chirps: Manifest, narrow: None, name: str
) -> None:
    config = ModelConfig(
        model=resolve(name, dims=(64, 96, 128), dropout=0, classes=2),
        features=FEATURES,
        segments=SEGMENTS,
        training=RECIPE,
        activation=Activation.SOFTMAX,
        labels=chirps.labels,
    )
    clips = chirps.clips[:2]  # in float64 convolutions take long
    found = compute_features(clips, tmp_path / "cache", FEATURES, SEGMENTS)
    wanted = targets(clips, chirps.labels)
    extractor = (
        ExtractorModule(config, *map(torch.from_numpy, found.mean_and_std())).double().train()
    )
    values = torch.from_numpy(found.rows(np.arange(len(found))))
    embedding = extractor.network.embedding(extractor.normalise(values))
    owners = wanted[found.clip].argmax(axis=1)
    total = torch.zeros((), dtype=torch.float64)
    for size in (64, 96, 128):
        logits = extractor.network.heads[str(size)](embedding[:, :size])
        total -= logits.log_softmax(dim=1)[range(len(owners)), owners].mean()
    weights = list(extractor.network.parameters())
    expected = torch.autograd.grad(total, weights)
    trainer = Trainer(
        extractor,
        Classification([found, found], [wanted, wanted], config.activation),
        tmp_path,
        Processes(),
    )
    assert trainer.step(torch.arange(len(found))) == pytest.approx(len(found) * total.item())
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-9, atol=1e-12)


def test_a_prefix_of_the_stored_vector_is_the_smaller_embedding(
    tmp_path: Path, chirps: Manifest, nested: Path
) -> None:
    root = chirps.clips[0].path.parent
    # One worker fills its batches alike in both runs: with several, last digits differ.
    extract(root, nested, tmp_path / "whole", Settings(workers=1))
    extract(root, nested, tmp_path / "small", Settings(dim=64, workers=1))
    whole, small = rows(tmp_path / "whole"), rows(tmp_path / "small")
    assert whole.keys() == small.keys()
    for clip, vectors in small.items():
        assert vectors.shape == (3, 64)
        np.testing.assert_array_equal(vectors, whole[clip][:, :64])
    provenance = EmbeddingTable.open(tmp_path / "small").provenance
    query = QueryEmbedder(provenance).embed(chirps.clips[0].path)
    weights = [0.5, 0.5, 0.2]
    expected = np.average(small[chirps.clips[0].path.name], axis=0, weights=weights)
    np.testing.assert_allclose(query, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(EmbeddingFolderError, match="embedding_size"):
        extract(root, nested, tmp_path / "small", Settings(dim=96))


def test_each_size_classifies_by_its_own_head(chirps: Manifest, nested: Path) -> None:
    scores = {}
    for dim in (64, 96, 128):
        extractor = ExtractorModule.load(nested, dim=dim)
        embeddings = torch.from_numpy(extractor.embed(np.ones(8000, np.float32)))
        assert embeddings.shape == (1, dim)
        head = extractor.network.heads[str(dim)]
        scores[dim] = evaluate(extractor, chirps).scores
        with torch.inference_mode():
            by_hand = head(embeddings).softmax(dim=1).numpy()
        np.testing.assert_allclose(extractor.scores(np.ones(8000, np.float32)), by_hand, atol=1e-6)
    assert len({values.tobytes() for values in scores.values()}) == 3


def test_a_size_that_was_not_trained_is_refused(
    tmp_path: Path, chirps: Manifest, nested: Path, model_dir: Path
) -> None:
    message = "the model has embeddings of 64, 96, 128, not of 100"
    with pytest.raises(UsageError, match=message):
        ExtractorModule.load(nested, dim=100)
    with pytest.raises(UsageError, match=message):
        extract(chirps.clips[0].path.parent, nested, tmp_path / "embeddings", Settings(dim=100))
    assert not (tmp_path / "embeddings").exists()
    with pytest.raises(UsageError, match="the model has embeddings of 64, not of 32"):
        ExtractorModule.load(model_dir, dim=32)
