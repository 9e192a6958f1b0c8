"""Names of groups: closed forms."""

import numpy as np
import pytest
from made import log_odds, namer

from embedkit.names import groups as groups_module
from embedkit.names.groups import names_of_groups

NAMES = namer("music", "piano", "rain")


@pytest.fixture(params=[1, 3, 4096])
def _at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "AT_ONCE", request.param)


@pytest.mark.usefixtures("_at_once")
def test_a_group_is_called_by_what_tells_it_from_all() -> None:
    vectors = log_odds(
        (0.9, 0.01, 0.01), (0.8, 0.45, 0.01), (0.9, 0.01, 0.01), (0.8, 0.55, 0.01), (0.7, 0.5, 0.3)
    )
    groups = np.array([0, 1, 0, 1, 1])
    # Shares of music 0.9 and 0.77, of piano 0.01 and 0.5: all sing, one plays the piano.
    assert names_of_groups(vectors, groups, NAMES) == ["music", "piano"]
    assert names_of_groups(vectors, groups, NAMES, contrast=False) == ["music", "music"]


def test_it_is_the_largest_term_of_the_divergence() -> None:
    rng = np.random.default_rng(0)
    likely = rng.uniform(0.05, 0.95, (200, 3))
    groups = rng.integers(0, 5, 200)
    found = names_of_groups(log_odds(*map(tuple, likely)), groups, NAMES)
    for group in range(5):
        p, q = likely[groups == group].mean(axis=0), likely.mean(axis=0)
        assert found[group] == NAMES.labels[np.argmax(p * np.log(p / q))]


@pytest.mark.parametrize("contrast", [True, False])
def test_one_group_has_its_most_likely_name(contrast: bool) -> None:
    vectors = log_odds((0.2, 0.1, 0.6), (0.4, 0.3, 0.6), (0.1, 0.1, 0.7))
    groups = np.zeros(3, np.int64)
    assert names_of_groups(vectors, groups, NAMES, contrast=contrast) == ["rain"]


def test_a_group_without_a_likely_name_has_none() -> None:
    # Rain tells the second one from the first, and is hardly there.
    vectors = log_odds((0.05, 0.001, 0.001), (0.05, 0.001, 0.09))
    assert names_of_groups(vectors, np.array([0, 1]), NAMES) == ["", ""]
    assert names_of_groups(vectors[:0], np.zeros(0, np.int64), NAMES) == []
