"""Logistic regression, against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
from made import FINGERPRINT, draw, fit, labelled, pipeline, write_table_of
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.classifier import ARRAYS, SETTINGS, Classifier
from embedkit.errors import DatasetError, EmbedkitError


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("c", [0.1, 3.0])
def test_scores_are_scikit_learns_probabilities(classes: int, c: float) -> None:
    data, new = labelled(classes), draw(20, 6, seed=5) * 4
    expected = pipeline(c).fit(data.vectors.astype(float), data.classes)
    scores = fit(data, c=c).scores(new)
    np.testing.assert_allclose(scores, expected.predict_proba(new.astype(float)), atol=1e-6)
    assert scores.std(axis=0).min() > 0.05  # they do tell the clips apart


def test_scores_of_several_labels_are_one_yes_or_no_each() -> None:
    data = labelled(3)
    several = (np.random.default_rng(3).random(data.targets.shape) < 0.4).astype(np.float32)
    several = np.maximum(several, data.targets)
    expected = make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=1000))
    ).fit(data.vectors.astype(float), several)
    scores = fit(data, targets=several, several_labels=True).scores(data.vectors)
    np.testing.assert_allclose(
        scores, expected.predict_proba(data.vectors.astype(float)), atol=1e-6
    )


def test_a_feature_that_never_varies_is_no_trouble() -> None:
    data = labelled(3)
    data.vectors[:, 2] = 7
    expected = pipeline().fit(data.vectors.astype(float), data.classes)
    np.testing.assert_allclose(
        fit(data).scores(data.vectors), expected.predict_proba(data.vectors), atol=1e-6
    )


@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_training_clips_stays_out_of_reach(present: list[int]) -> None:
    data = labelled(4)
    rows = np.flatnonzero(np.isin(data.classes, present))
    scores = fit(data, rows).scores(data.vectors)
    absent = sorted({0, 1, 2, 3} - set(present))
    assert scores[:, absent].max() < 1e-9
    expected = pipeline().fit(data.vectors[rows].astype(float), data.classes[rows])
    np.testing.assert_allclose(
        scores[:, present], expected.predict_proba(data.vectors.astype(float)), atol=1e-6
    )


def test_of_several_labels_one_that_all_or_no_clips_have_is_certain() -> None:
    data = labelled(3)
    several = data.targets.copy()
    several[:, 0], several[:, 1] = 0, 1
    scores = fit(data, targets=several, several_labels=True).scores(data.vectors)
    assert scores[:, 0].max() < 1e-9
    assert scores[:, 1].min() > 1 - 1e-9


def test_one_class_alone_is_refused() -> None:
    data = labelled(3)
    with pytest.raises(DatasetError, match="needs at least 2 labels"):
        fit(data, data.classes == 1)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """The folder of a saved classifier."""
    fit(labelled(3)).save(tmp_path / "classifier")
    return tmp_path / "classifier"


@pytest.mark.parametrize("several", [False, True])
def test_a_classifier_saved_and_loaded_gives_the_same_scores(tmp_path: Path, several: bool) -> None:
    data = labelled(4)
    fitted = fit(data, several_labels=several)
    for _ in range(2):  # the second time it replaces one
        fitted.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.scores(data.vectors), fitted.scores(data.vectors))
    assert (loaded.labels, loaded.several_labels) == (fitted.labels, several)
    assert loaded.fingerprint == FINGERPRINT


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (SETTINGS, None, f"not a classifier: it has no {SETTINGS}"),
        (ARRAYS, None, f"not a classifier: it has no {ARRAYS}"),
        (SETTINGS, b"{", "not a readable classifier"),
        (SETTINGS, b"[]", "not a readable classifier"),
        (SETTINGS, b"{}", "not a readable classifier: 'method'"),
        (SETTINGS, b'{"method": "x"}', "a classifier of a method that is not known"),
        (SETTINGS, b'{"method": "logistic"}', "not a readable classifier: 'model'"),
        (ARRAYS, b"garbage" * 9, "not a readable classifier"),
        (ARRAYS, b"", "not a readable classifier"),
    ],
)
def test_a_damaged_classifier_is_refused(
    classifier: Path, name: str, content: bytes | None, message: str
) -> None:
    (classifier / name).unlink()
    if content is not None:
        (classifier / name).write_bytes(content)
    with pytest.raises(EmbedkitError, match=message):
        Classifier.load(classifier)


@pytest.mark.parametrize("name", ["mean", "scale", "bias", "weights"])
def test_arrays_of_another_shape_are_refused(classifier: Path, name: str) -> None:
    arrays = load_file(classifier / ARRAYS)
    arrays[name] = arrays[name][:-1].copy()
    save_file(arrays, classifier / ARRAYS)
    with pytest.raises(EmbedkitError, match=r"do not fit its labels|not a readable classifier"):
        Classifier.load(classifier)


def test_labels_that_are_not_as_many_as_the_scores_are_refused(classifier: Path) -> None:
    settings = json.loads((classifier / SETTINGS).read_text())
    (classifier / SETTINGS).write_text(json.dumps({**settings, "labels": ["a"]}))
    with pytest.raises(EmbedkitError, match="do not fit its labels"):
        Classifier.load(classifier)


def test_predict_scores_the_clip_vectors_of_its_own_extractor_alone(tmp_path: Path) -> None:
    clips = {"b.wav": draw(3, 6, 1), "a.wav": draw(2, 6, 2)}
    table = write_table_of(tmp_path / "emb", clips)
    fitted = fit(labelled(3))
    [found] = classify.predict(table, fitted)
    order = np.argsort(found.clips)
    names, scores = [found.clips[index] for index in order], found.scores[order]
    assert names == ["a.wav", "b.wav"]
    weights = {2: [1, 0.5], 3: [1, 1, 0.5]}
    by_hand = [np.average(clips[n], axis=0, weights=weights[len(clips[n])]) for n in names]
    np.testing.assert_allclose(scores, fitted.scores(np.array(by_hand)), atol=1e-5)
    other = Classifier(**{**vars(fitted), "fingerprint": "0" * 64})
    with pytest.raises(EmbedkitError, match=r"extractor f{12}, the classifier .* 00000000"):
        list(classify.predict(table, other))
