"""The scikit-learn transformer: scikit-learn's checks, a search over sizes, the same vectors."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import succeed
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from embedkit.errors import AudioError, Kind, UsageError
from embedkit.kits.sklearn import EmbeddingTransformer
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def sounds(
    tmp_path_factory: pytest.TempPathFactory, write_audio: Callable[..., Path]
) -> list[Path]:
    """Low and high tones by turns."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    paths = []
    for number in range(12):
        hertz = (300, 2500)[number % 2] * rng.uniform(0.9, 1.1)
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(20000) / 16000)
        paths.append(write_audio(folder / f"{number:02d}.wav", tone))
    return paths


def test_vectors_are_those_of_an_extraction(sounds: list[Path], tmp_path: Path) -> None:
    succeed("extract", sounds[0].parent, "--out", tmp_path / "emb", "--runtime", "torch")
    batches = list(EmbeddingTable.open(tmp_path / "emb").clip_batches())
    expected = dict(
        zip(
            [name for names, _ in batches for name in names],
            np.concatenate([vectors for _, vectors in batches]),
            strict=True,
        )
    )
    found = EmbeddingTransformer().fit_transform(sounds)
    assert found.dtype == np.float32
    for path, vector in zip(sounds, found, strict=True):
        np.testing.assert_allclose(vector, expected[path.name], atol=1e-5)
    names = EmbeddingTransformer(dim=64).fit(sounds).get_feature_names_out()
    assert (names[0], names[-1]) == ("embeddingtransformer0", "embeddingtransformer63")


def test_a_grid_search_finds_sizes_and_classifiers(sounds: list[Path], tmp_path: Path) -> None:
    search = GridSearchCV(
        make_pipeline(EmbeddingTransformer(), LogisticRegression(), memory=str(tmp_path)),
        {"embeddingtransformer__dim": [64, 256], "logisticregression__C": [0.1, 1.0]},
        cv=2,
    )
    search.fit([str(path) for path in sounds], [number % 2 for number in range(12)])
    assert search.best_score_ == 1.0
    assert len(search.cv_results_["params"]) == 4


class ClaimsTables(EmbeddingTransformer):
    """As if it took tables of numbers, without which scikit-learn checks nothing."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def test_what_scikit_learn_checks_without_numbers_holds(sounds: list[Path]) -> None:
    done = check_estimator(ClaimsTables(), on_fail=None, on_skip=None)
    passed = {result["check_name"] for result in done if result["status"] == "passed"}
    assert passed >= {
        "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types",
        "check_estimator_repr", "check_no_attributes_set_in_init", "check_estimators_unfitted",
        "check_do_not_raise_errors_in_init_or_set_params", "check_n_features_in_after_fitting",
        "check_mixin_order", "check_transformers_unfitted", "check_transformer_n_iter",
        "check_parameters_default_constructible", "check_get_params_invariance",
        "check_set_params",
    }  # fmt: skip
    # What the others ask, of paths.
    model = EmbeddingTransformer(dim=64).fit(sounds)
    vectors = model.transform(sounds)
    again = pickle.loads(pickle.dumps(model)).transform(sounds[::-1])
    np.testing.assert_array_equal(again[::-1], vectors)
    copy = clone(model)
    assert (copy.model, copy.dim, copy.device) == (None, 64, "cpu")
    with pytest.raises(NotFittedError):
        copy.transform(sounds)


def test_a_file_that_gives_no_row_is_named(sounds: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    model = EmbeddingTransformer().fit(sounds)
    with pytest.raises(AudioError, match=r"bad\.wav: ") as caught:
        model.transform([*sounds[:1], tmp_path / "bad.wav"])
    assert caught.value.kind in (Kind.TRUNCATED, Kind.UNREADABLE)


@pytest.mark.parametrize("wrong", ["one.wav", [], [1.5], np.zeros((2, 2))])
def test_what_is_no_list_of_paths_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="expected"):
        EmbeddingTransformer().fit(wrong)  # type: ignore[arg-type]
