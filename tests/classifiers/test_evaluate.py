"""Evaluation, against the loop written out."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import succeed
from made import FINGERPRINT, labelled, pipeline, write_table_of
from sklearn.metrics import average_precision_score, roc_auc_score

from embedkit import metrics
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers import splits
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.plda import Plda
from embedkit.labels.join import Labelled, join_labels


def test_evaluate_is_the_loop_over_the_splits() -> None:
    data = labelled(3)
    done = classify.evaluate(data, splits.published_folds(data), Logistic(c=0.5))
    scores, clips = [], []
    for fold in "012":
        held = np.array(data.folds) == fold
        model = pipeline(0.5).fit(data.vectors[~held].astype(float), data.classes[~held])
        scores.append(model.predict_proba(data.vectors[held].astype(float)))
        clips += [clip for clip, mine in zip(data.clips, held, strict=True) if mine]
    by_hand = np.concatenate(scores)
    truth = np.array([int(clip.removesuffix(".wav")) % 3 for clip in clips])
    assert done.clips == clips
    np.testing.assert_allclose(done.scores, by_hand, atol=1e-6)
    np.testing.assert_array_equal(done.targets, np.eye(3)[truth])

    right = by_hand.argmax(axis=1) == truth
    assert 0.4 < right.mean() < 1  # neither chance nor perfect: the figures can be wrong
    counts = np.zeros((3, 3), int)
    for mine, other in zip(truth, by_hand.argmax(axis=1), strict=True):
        counts[mine, other] += 1
    np.testing.assert_array_equal(done.confusion(), counts)
    np.testing.assert_array_equal(done.correct, right)
    assert done.figures() == {
        "clips": 36,
        "correct": right.sum(),
        "accuracy": pytest.approx(right.mean()),
        "accuracy_interval": metrics.share_interval(right.astype(float)),
        "weighted_auc": pytest.approx(metrics.weighted_auc(done.targets, by_hand)),
        "macro_auc": pytest.approx(metrics.macro_auc(done.targets, by_hand)),
        "map": pytest.approx(metrics.mean_average_precision(done.targets, by_hand)),
    }
    per_class = done.per_class()
    assert list(per_class) == ["a", "b", "c"]
    for index, row in enumerate(per_class.values()):
        assert row == {
            "clips": 12,
            "auc": pytest.approx(roc_auc_score(truth == index, by_hand[:, index])),
            "ap": pytest.approx(average_precision_score(truth == index, by_hand[:, index])),
            "recall": counts[index, index] / 12,
        }


def test_figures_of_several_labels_leave_out_accuracy_and_recall() -> None:
    data = labelled(3)
    data = Labelled(**{**vars(data), "several_labels": True})
    done = classify.evaluate(data, splits.published_folds(data), Logistic(c=0.1))
    assert list(done.figures()) == ["clips", "weighted_auc", "macro_auc", "map"]
    assert {tuple(row) for row in done.per_class().values()} == {("clips", "auc", "ap")}


def test_a_class_that_was_not_held_out_has_undefined_figures() -> None:
    data = labelled(3)
    held = np.flatnonzero((np.array(data.folds) == "0") & (data.classes != 1))
    done = classify.evaluate(data, [(np.setdiff1d(np.arange(36), held), held)], Logistic(c=0.1))
    row = done.per_class()["b"]
    assert row["clips"] == 0
    assert all(np.isnan(row[name]) for name in ("auc", "ap", "recall"))
    assert done.confusion()[1].sum() == 0
    with pytest.warns(UserWarning, match="1 of 3 classes"):
        assert np.isfinite(done.figures()["macro_auc"])


@pytest.mark.parametrize(("options", "lda"), [([], True), (["--lda"], True), (["--no-lda"], False)])
def test_the_commands_fit_plda_with_or_without_lda(
    tmp_path: Path, options: list[str], lda: bool
) -> None:
    data = labelled(4)
    clips = {
        f"{data.labels[label]}/{number}.wav": data.vectors[[number]]
        for number, label in enumerate(data.classes)
    }
    table = write_table_of(tmp_path / "emb", clips)
    command = (table.folder, "--labels", "folders", "--method", "plda", *options)
    succeed("classify", "fit", *command, "--out", tmp_path / "classifier")
    data, method = join_labels(table, "folders"), Plda(lda=lda)
    expected = Classifier.fit(data, np.arange(48), method, fingerprint=FINGERPRINT)
    scores = Classifier.load(tmp_path / "classifier").scores(data.vectors)
    np.testing.assert_array_equal(scores, expected.scores(data.vectors))
    other = Classifier.fit(data, np.arange(48), Plda(lda=not lda), fingerprint=FINGERPRINT)
    assert np.abs(scores - other.scores(data.vectors)).max() > 0.01
    figures = json.loads(succeed("classify", "evaluate", *command, "--k-folds", 3, "--json"))
    done = classify.evaluate(data, splits.random_folds(data, 3, seed=0), method)
    assert figures["macro_auc"] == done.figures()["macro_auc"]
