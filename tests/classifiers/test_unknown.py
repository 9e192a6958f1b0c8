"""Vectors of which not every label is known: what is unknown neither teaches nor counts."""

from dataclasses import replace

import numpy as np
import pytest
from made import FINGERPRINT, draw, labelled, pipeline
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from embedkit import metrics
from embedkit.classifiers import classifier as classifier_module
from embedkit.classifiers import splits
from embedkit.classifiers.classifier import Classifier, find_method
from embedkit.classifiers.evaluate import evaluate
from embedkit.classifiers.knn import TEMPERATURE
from embedkit.classifiers.sizes import compare_sizes
from embedkit.errors import DatasetError
from embedkit.labels.join import Labelled


def partly(classes: int = 3, each: int = 30) -> Labelled:
    """Clouds whose labels are independent questions, a third of them without an answer."""
    data = labelled(classes, each)
    rng = np.random.default_rng(3)
    targets = data.targets.copy()
    targets[rng.random(targets.shape) < 1 / 3] = np.nan
    return replace(data, targets=targets, several_labels=True)


def fit(data: Labelled, method: str, **settings: float) -> Classifier:
    rows = np.arange(len(data.clips))
    return Classifier.fit(data, rows, find_method(method, **settings), fingerprint=FINGERPRINT)


def test_each_label_is_fitted_on_the_vectors_whose_answer_is_known() -> None:
    data = partly()
    found = fit(data, "logistic", c=0.1).scores(data.vectors)
    # As scikit-learn fits each, on vectors standardised by all of them.
    scaler = pipeline()[0].fit(data.vectors.astype(np.float64))
    standard = scaler.transform(data.vectors)
    for column in range(3):
        known = ~np.isnan(data.targets[:, column])
        model = pipeline()[1].fit(standard[known], data.targets[known, column])
        np.testing.assert_allclose(found[:, column], model.predict_proba(standard)[:, 1], atol=1e-6)


def test_the_strength_is_chosen_whatever_is_unknown() -> None:
    data = partly()
    assert np.isfinite(fit(data, "logistic").scores(data.vectors)).all()


def test_of_the_neighbours_only_those_vote_that_know() -> None:
    vectors = draw(7, 4)
    targets = np.array([[1, 0], [0, 1], [np.nan, 1], [1, np.nan], [0, 0], [np.nan, 0], [1, 1]])
    data = Labelled(
        clips=list("abcdefg"), vectors=vectors, targets=targets.astype(np.float32),
        labels=("x", "y"), several_labels=True, folds=None, splits=None, groups=list("abcdefg"),
    )  # fmt: skip
    asked = draw(5, 4, 1)
    found = fit(data, "knn", neighbours=7).scores(asked)

    def standard(values: np.ndarray) -> np.ndarray:
        centred = (values - vectors.mean(axis=0)) / vectors.std(axis=0)
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    weights = softmax(standard(asked) @ standard(vectors).T / TEMPERATURE, axis=1)
    for column in range(2):
        known = ~np.isnan(targets[:, column])
        expected = weights[:, known] @ targets[known, column] / weights[:, known].sum(axis=1)
        np.testing.assert_allclose(found[:, column], expected, atol=1e-5)


def test_a_perceptron_learns_from_what_is_wholly_known() -> None:
    data = partly()
    whole = ~np.isnan(data.targets).any(axis=1)
    rows = np.flatnonzero(whole)
    expected = Classifier.fit(data, rows, find_method("mlp"), fingerprint=FINGERPRINT)
    found = fit(data, "mlp")
    np.testing.assert_array_equal(found.scores(data.vectors), expected.scores(data.vectors))
    nothing = replace(data, targets=np.where(np.eye(3)[np.arange(90) % 3], np.nan, 0))
    with pytest.raises(DatasetError, match="needs segments of which every label is known"):
        fit(nothing, "mlp")


@pytest.mark.parametrize("method", ["logistic", "knn", "mlp"])
def test_one_label_alone_is_told_from_what_has_none(method: str, tmp_path) -> None:
    data = labelled(2, 40)
    alone = replace(data, targets=data.targets[:, :1], labels=("a",), several_labels=True)
    found = fit(alone, method)
    found.save(tmp_path)
    scores = Classifier.load(tmp_path).scores(data.vectors)
    np.testing.assert_array_equal(scores, found.scores(data.vectors))
    assert scores.shape == (80, 1)
    assert roc_auc_score(alone.targets[:, 0], scores[:, 0]) > 0.9
    with pytest.raises(DatasetError, match="needs to know what a label is not"):
        fit(replace(alone, targets=np.ones_like(alone.targets)), method)


def test_of_too_many_vectors_those_that_have_a_label_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = labelled(2, 40)
    targets = data.targets[:, :1] * (np.arange(80) < 20)[:, None]
    alone = replace(data, targets=targets, labels=("a",), several_labels=True)
    monkeypatch.setattr(classifier_module, "MOST", 30)
    found = fit(alone, "knn", neighbours=1)
    # Each that has the label is its own nearest neighbour, if it was fitted on.
    assert (found.scores(data.vectors)[targets[:, 0] == 1] == 1).all()


def test_figures_are_those_of_what_is_known() -> None:
    data = partly()
    scores = np.random.default_rng(0).random(data.targets.shape)
    known = ~np.isnan(data.targets)
    columns = [(data.targets[known[:, c], c], scores[known[:, c], c]) for c in range(3)]
    aucs = [roc_auc_score(*column) for column in columns]
    positives = [column[0].sum() for column in columns]
    assert metrics.macro_auc(data.targets, scores) == pytest.approx(np.mean(aucs))
    assert metrics.weighted_auc(data.targets, scores) == pytest.approx(
        np.average(aucs, weights=positives)
    )
    precisions = [average_precision_score(*column) for column in columns]
    assert metrics.mean_average_precision(data.targets, scores) == pytest.approx(
        np.mean(precisions)
    )


def test_an_evaluation_counts_what_is_known() -> None:
    data = partly()
    done = evaluate(data, splits.published_folds(data), find_method("logistic", c=0.1))
    per_class = done.per_class()
    known = ~np.isnan(done.targets)
    for column, (label, row) in enumerate(per_class.items()):
        truth, scores = (values[known[:, column], column] for values in (done.targets, done.scores))
        assert label == data.labels[column]
        assert row["clips"] == truth.sum()
        assert row["auc"] == pytest.approx(roc_auc_score(truth, scores))
        assert row["ap"] == pytest.approx(average_precision_score(truth, scores))
    assert done.figures()["macro_auc"] == pytest.approx(
        np.mean([row["auc"] for row in per_class.values()])
    )


def test_sizes_are_compared_on_what_is_known() -> None:
    data = partly()
    held = splits.published_folds(data)
    whole, *_ = compare_sizes(data, held, ["logistic"], sizes=[2])
    done = evaluate(data, held, find_method("logistic", c=0.1))
    assert whole.figures["logistic"] == pytest.approx(done.figures()["map"])
    assert np.isfinite(whole.figures["retrieval"])
