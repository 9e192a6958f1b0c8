"""One body over all methods of classification, and an oracle for each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.classifiers import classifier as classifier_module
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers import logistic, splits
from embedkit.classifiers.classifier import METHODS, Classifier, find_method
from embedkit.classifiers.logistic import STRENGTHS, Logistic, choose_c
from embedkit.classifiers.method import Training
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import Labelled
from embedkit.progress import Track

CASES = [(name, several) for name in METHODS for several in (False, True)]
CASES.remove(("plda", True))


def clouds(classes: int = 4, each: int = 15, *, size: int = 6, several: bool = False) -> Labelled:
    """Overlapping clouds of clips, one a class, in three folds and groups of three."""
    rng = np.random.default_rng(0)
    truth = np.arange(classes * each) % classes
    vectors = rng.standard_normal((len(truth), size))
    vectors += 2 * rng.standard_normal((classes, size))[truth]
    targets = np.eye(classes, dtype=np.float32)[truth]
    if several:
        targets = np.maximum(
            targets, np.roll(targets, 1, axis=1) * (rng.random(len(truth)) < 0.3)[:, None]
        )
    group = np.arange(len(truth)) // classes // 3
    return Labelled(
        clips=[f"{number:03d}.wav" for number in range(len(truth))],
        vectors=(vectors * [1, 10, 0.1, 1, 1, 1][:size] + 3).astype(np.float32),
        targets=targets.astype(np.float32),
        labels=tuple("abcdefgh"[:classes]),
        several_labels=several,
        folds=[str(number % 3) for number in group],
        splits=None,
        groups=[str(number) for number in group],
    )


def fit(name: str, data: Labelled, rows: Any = slice(None), **settings: Any) -> Classifier:
    chosen = np.arange(len(data.clips))[rows]
    return Classifier.fit(data, chosen, find_method(name, **settings), fingerprint="f")


@pytest.mark.parametrize(("name", "several"), CASES)
def test_a_classifier_saved_and_loaded_gives_the_same_scores(
    name: str, several: bool, tmp_path: Path
) -> None:
    data = clouds(several=several)
    fitted = fit(name, data)
    fitted.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    scores = fitted.scores(data.vectors)
    np.testing.assert_array_equal(loaded.scores(data.vectors), scores)
    assert (loaded.labels, loaded.several_labels, loaded.size) == (data.labels, several, 6)
    assert scores.min() >= 0
    assert scores.max() <= 1 + 1e-9
    if not several:
        np.testing.assert_allclose(scores.sum(axis=1), 1)


@pytest.mark.parametrize(("name", "several"), CASES)
def test_clips_that_were_held_out_are_told_apart(name: str, several: bool) -> None:
    data = clouds(several=several)
    done = classify.evaluate(data, splits.published_folds(data), find_method(name))
    assert done.figures()["macro_auc"] > 0.85
    shuffled = np.random.default_rng(1).permutation(len(data.clips))
    nonsense = Labelled(**{**vars(data), "targets": data.targets[shuffled]})
    done = classify.evaluate(nonsense, splits.published_folds(data), find_method(name))
    assert done.figures()["macro_auc"] < 0.7  # nothing leaks from the held-out side


@pytest.mark.parametrize(("name", "several"), CASES)
def test_what_is_fitted_does_not_depend_on_scores_before_or_on_the_batch(
    name: str, several: bool
) -> None:
    data = clouds(several=several)
    fitted = fit(name, data)
    whole = fitted.scores(data.vectors)
    alone = np.concatenate([fitted.scores(vector[None]) for vector in data.vectors])
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    np.testing.assert_array_equal(fit(name, data).scores(data.vectors), whole)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_training_clips_stays_out_of_reach(name: str, present: list[int]) -> None:
    data = clouds()
    rows = np.isin(data.classes, present)
    scores = fit(name, data, rows).scores(data.vectors)
    assert scores[:, sorted({0, 1, 2, 3} - set(present))].max() < 1e-9
    right = scores[rows].argmax(axis=1) == data.classes[rows]
    assert right.mean() > 0.8


@pytest.mark.parametrize("name", METHODS)
def test_one_class_alone_is_refused(name: str) -> None:
    data = clouds()
    with pytest.raises(DatasetError, match="needs at least 2 labels"):
        fit(name, data, data.classes == 1)


@pytest.mark.parametrize("name", ["logistic", "knn", "mlp"])
def test_units_and_offsets_of_the_numbers_do_not_matter(name: str) -> None:
    data = clouds()
    scale, shift = np.float32([2, 0.5, 4, 8, 0.25, 1]), np.float32(64)
    moved = Labelled(**{**vars(data), "vectors": data.vectors * scale + shift})
    np.testing.assert_allclose(
        fit(name, moved).scores(moved.vectors), fit(name, data).scores(data.vectors), atol=2e-3
    )


def test_plda_needs_one_label_a_clip() -> None:
    with pytest.raises(DatasetError, match=r"PLDA .* needs one label a clip"):
        fit("plda", clouds(several=True))


@pytest.mark.parametrize("several", [False, True])
def test_knn_is_the_weighted_vote_by_brute_force(several: bool) -> None:
    data = clouds(several=several)
    rows = np.arange(0, 40)
    scores = fit("knn", data, rows, neighbours=7).scores(data.vectors)
    scaler = StandardScaler().fit(data.vectors[rows].astype(float))
    standard = scaler.transform(data.vectors.astype(float))
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    for vector, found in zip(standard, scores, strict=True):
        cosine = standard[rows] @ vector
        nearest = np.argsort(-cosine)[:7]
        weights = np.exp(cosine[nearest] / 0.07)
        expected = weights @ data.targets[rows][nearest] / weights.sum()
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("several", [False, True])
def test_the_perceptron_is_scikit_learns(classes: int, several: bool) -> None:
    data = clouds(classes, several=several)
    standard = StandardScaler().fit_transform(data.vectors.astype(float))
    model = MLPClassifier((256,), alpha=1.0, max_iter=200, random_state=0)
    model.fit(standard, data.targets if several else data.classes)
    np.testing.assert_allclose(
        fit("mlp", data).scores(data.vectors), model.predict_proba(standard), atol=1e-4
    )


def test_the_strength_is_the_one_of_least_log_loss_over_held_out_groups() -> None:
    data = clouds(each=6)
    training = Training(
        vectors=data.vectors,
        targets=data.targets,
        several_labels=False,
        groups=np.array(data.groups, object),
    )
    losses = []
    for c in STRENGTHS:
        loss = 0.0
        folds = GroupKFold(n_splits=2, shuffle=True, random_state=0)
        for rows, held in folds.split(data.vectors, groups=data.groups):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
            model.fit(data.vectors[rows].astype(float), data.classes[rows])
            chance = model.predict_proba(data.vectors[held].astype(float))
            loss -= np.log(chance[np.arange(len(held)), data.classes[held]]).sum()
        losses.append(loss)
    assert choose_c(training) == STRENGTHS[int(np.argmin(losses))]
    fitted = fit("logistic", data)
    assert fitted.model.c == choose_c(training)


class Counted:
    """A solver that only counts its fits and what they are of."""

    fits: ClassVar[list[tuple[float, int, int]]] = []

    def __init__(self, C: float, max_iter: int) -> None:
        self.c = C

    def fit(self, vectors: NDArray[np.float64], wanted: NDArray[Any]) -> "Counted":
        self.classes_ = np.unique(wanted)
        Counted.fits.append((self.c, len(vectors), len(self.classes_)))
        rows = 1 if len(self.classes_) == 2 else len(self.classes_)
        self.n_iter_ = np.ones(1)
        self.coef_, self.intercept_ = np.zeros((rows, vectors.shape[1])), np.zeros(rows)
        return self


@pytest.mark.parametrize("several", [True, False])
def test_choosing_the_strength_is_bounded_however_many_labels_and_vectors(
    several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "LogisticRegression", Counted)
    monkeypatch.setattr(logistic, "CHOICE", 1000)
    monkeypatch.setattr(logistic, "SCORES", 52_700)
    monkeypatch.setattr(Counted, "fits", [])
    rng = np.random.default_rng(0)
    count, labels = 3000, 527
    targets = np.eye(labels, dtype=np.float32)[rng.permutation(count) % labels]
    if several:
        targets = np.maximum(targets, np.roll(targets, 1, axis=0))
    training = Training(
        vectors=rng.standard_normal((count, 4)).astype(np.float32),
        targets=targets,
        several_labels=several,
        groups=np.arange(count).astype(object),
    )
    work: list[tuple[str, int | None, int]] = []

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        items = list(items)
        work.append((description, total, len(items)))
        return items

    Logistic().fit(training, track)
    choosing = [fit for fit in Counted.fits if fit[1] != count]
    if several:  # before: 20 fits of each of the 527 labels
        assert len(choosing) <= 20 * 20
        assert len({vectors for _, vectors, _ in choosing}) == 1
        assert choosing[0][1] == 800  # four folds of five
        assert len(Counted.fits) == len(choosing) + labels
    else:  # before: on as many vectors as there are
        assert [(vectors, classes <= 100) for _, vectors, classes in choosing] == [(80, True)] * 20
        assert len(Counted.fits) == 21
    assert work == [("Choosing C", 20, 20), ("Fitting", *[labels if several else 1] * 2)]


def test_many_vectors_are_fitted_on_a_sample(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(classifier_module, "MOST", 40)
    seen: list[NDArray[np.float32]] = []

    class Spy:
        def fit(self, training: Training, track: Track) -> Any:
            seen.append(training.vectors)
            return find_method("knn").fit(training)

    data = clouds()
    Classifier.fit(data, np.arange(60), Spy(), fingerprint="f")
    assert "fitted on 40 of 60 vectors, drawn at random" in caplog.text
    rows = {tuple(vector) for vector in data.vectors}
    assert len({tuple(vector) for vector in seen[0]} & rows) == 40


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("svm", {}, "no method 'svm'; there are: logistic, knn, plda, mlp"),
        ("knn", {"c": 1.0}, "knn has no setting c"),
    ],
)
def test_what_is_no_method_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_method(name, **settings)
