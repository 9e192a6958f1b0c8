"""What version 0.1.0 wrote is read for ever: fixtures/v0.1.0, and how it was made, is frozen."""

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from embedkit.audio.decode import decode
from embedkit.classifiers.active import propose
from embedkit.classifiers.classifier import Classifier
from embedkit.config import DEFAULT_MODEL
from embedkit.errors import EmbeddingFolderError, ModelFolderError
from embedkit.export import export
from embedkit.extraction import Settings, extract
from embedkit.labels.answers import Answers
from embedkit.labels.join import join_labels
from embedkit.models.module import ExtractorModule
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable, read_manifest

OLD = Path(__file__).parent.parent / "fixtures/v0.1.0"
TOLERANCE = 1e-4  # between runtimes


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((OLD / "expected.json").read_text(encoding="utf-8"))


def stored(folder: str) -> list[dict[str, Any]]:
    """Rows of the fixture as Parquet alone has them, by clip and segment."""
    paths = sorted((OLD / "embeddings" / folder).glob("*.parquet"))
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=lambda row: (row["clip"], row.get("segment", 0)))


def vectors() -> NDArray[np.float32]:
    return np.array([row["embedding"] for row in stored("rows")], np.float32)


def test_the_rows_are_those_that_stand_in_the_parquet(expected):
    found = EmbeddingTable.open(OLD / "embeddings").rows()
    assert expected["rows"] == [[row["clip"], row["segment"]] for row in stored("rows")]
    assert found.clips.tolist() == [row["clip"] for row in stored("rows")]
    for name, values in (
        ("segment", found.segments),
        ("start_s", found.start_s),
        ("end_s", found.end_s),
    ):
        assert values.tolist() == [row[name] for row in stored("rows")]
    np.testing.assert_array_equal(found.embeddings, vectors())
    assert len({row.tobytes() for row in vectors()}) == len(expected["rows"]) > 9


def test_the_journal_is_that_of_the_parquet():
    journal = [vars(record) for record in EmbeddingTable.open(OLD / "embeddings").journal]
    # Later versions may know more of a file.
    for found, row in zip(journal, stored("files"), strict=True):
        assert found.items() >= row.items()
    kinds = {row["clip"]: (row["kind"], row["rows"]) for row in journal if row["kind"]}
    assert kinds == {"broken.mp3": ("unreadable", 0), "half.flac": ("truncated", 1)}


@pytest.mark.parametrize("clip", ["low/a.flac", "low/ä 🎵.flac", "low/c.wav", "high/a.flac"])
def test_the_model_gives_the_vectors_that_it_gave(clip, expected):
    extractor = ExtractorModule.load(OLD / "model")
    sound = np.concatenate(list(decode(OLD / "sounds" / clip, extractor.sample_rate)))
    mine = [name == clip for name, _ in expected["rows"]]
    np.testing.assert_allclose(extractor.embed(sound), vectors()[mine], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("method", ["logistic", "knn", "plda", "mlp"])
def test_a_classifier_gives_the_scores_that_it_gave(method, expected):
    classifier = Classifier.load(OLD / "classifiers" / method)
    classifier.check(EmbeddingTable.open(OLD / "embeddings"))
    assert classifier.labels == ("high", "low")
    found = classifier.scores(vectors())
    np.testing.assert_allclose(found, expected["scores"][method], rtol=0, atol=1e-6)
    assert np.ptp(found[:, 0]) > 0.5  # they tell the sounds apart


def test_labels_of_the_command_join_and_are_gone_on_with(tmp_path, expected):
    table = EmbeddingTable.open(OLD / "embeddings")
    data = join_labels(table, str(OLD / "labels.csv"))
    named = dict(zip(data.clips, (data.labels[number] for number in data.classes), strict=True))
    assert named == dict(expected["labels"]["labels.csv"])
    for name in ("labels.csv", "labels-next.csv"):
        shutil.copy(OLD / name, tmp_path)
    found = propose(table, tmp_path / "labels.csv", 9)
    assert found.labels == {"high": 1, "low": 2}
    proposed = {clip for clip, _, _ in found.proposed}
    assert proposed == {"high/a.flac", "high/b.flac", "low/ä 🎵.flac"}  # half.flac was skipped


def test_the_explorers_labels_are_gone_on_with(tmp_path, expected):
    path = shutil.copy(OLD / "explorer.csv", tmp_path)
    labels = dict(expected["labels"]["explorer.csv"])
    assert Answers(Path(path)).labels == labels
    Answers(Path(path)).set("low/c.wav", "new")
    with open(path, newline="", encoding="utf-8") as file:
        found = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert found == labels | {"low/c.wav": "new"}


def test_a_run_goes_on_with_the_folder_and_embeds_its_clips_anew(tmp_path, expected):
    root, emb, model = (tmp_path / name for name in ("sounds", "emb", "model"))
    shutil.copytree(OLD / "model", model)
    with pytest.raises(ModelFolderError, match=r"embedkit export .* makes it, once"):
        extract(OLD / "sounds", model, tmp_path / "none")
    export(model)
    shutil.copytree(OLD / "sounds", root, copy_function=shutil.copyfile)  # with other times
    shutil.copytree(OLD / "embeddings", emb)
    manifest = json.loads((emb / "manifest.json").read_text(encoding="utf-8"))
    manifest["audio_root"] = str(root.resolve())
    (emb / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    files = len(stored("files"))
    done = extract(root, model, emb)
    assert (done.files, done.already_done, done.failed_before) == (0, files, 2)
    assert done.changed == files
    np.testing.assert_array_equal(EmbeddingTable.open(emb).rows().embeddings, vectors())
    done = extract(root, model, emb, Settings(refresh=True))
    assert (done.files, done.already_done) == (files, 0)
    found = EmbeddingTable.open(emb).rows()
    good = [clip != "half.flac" for clip, _ in expected["rows"]]
    again = found.embeddings[found.clips != "half.flac"]
    np.testing.assert_allclose(again, vectors()[good], rtol=0, atol=TOLERANCE)


def test_a_folder_of_the_old_model_in_the_box_says_what_to_do(tmp_path):
    emb, root = tmp_path / "emb", OLD / "sounds"
    shutil.copytree(OLD / "embeddings", emb)
    provenance = replace(
        read_manifest(emb),
        audio_root=str(root),
        # As 0.1.0 wrote it, in whatever environment it was.
        model=str(tmp_path / "site-packages/embedkit/default_model"),
        fingerprint="88a5ea87840eb07f6cee755b3ff372f70dc1c867a2994b637a6a59182b2ad0e7",
    )
    (emb / "manifest.json").write_text(
        json.dumps({"format": 1, "embedkit_version": "0.1.0", **asdict(provenance)})
    )
    words = r"embedkit's own model of version 0\.1\.0.*into a new folder, or name the"
    with pytest.raises(EmbeddingFolderError, match=words):
        QueryEmbedder(provenance)
    with pytest.raises(EmbeddingFolderError, match=words):
        extract(root, DEFAULT_MODEL, emb)
