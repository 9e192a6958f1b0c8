"""Names beside many rows: each once, by number, and where it stands."""

import numpy as np
import pyarrow as pa
import pytest

from embedkit.numbering import Places, numbered, shared

NAMES = ["b/é.wav", "a.wav", "b/é.wav", "Z.wav", "a.wav", "\U0001f600.wav", "a"]


def test_equal_names_are_one_object() -> None:
    found = shared(pa.chunked_array([NAMES[:3], NAMES[3:]]))
    assert found.tolist() == NAMES
    assert len({id(name) for name in found}) == len(set(NAMES))


@pytest.mark.parametrize("names", [NAMES, []])
@pytest.mark.parametrize("at_once", [2, 100])
def test_they_are_numbered_as_numpy_numbers_them(
    monkeypatch: pytest.MonkeyPatch, names: list[str], at_once: int
) -> None:
    monkeypatch.setattr("embedkit.numbering.AT_ONCE", at_once)
    distinct, numbers = numbered(np.array(names, object))
    expected, inverse = np.unique(np.array(names, str), return_inverse=True)
    assert distinct.tolist() == expected.tolist()
    np.testing.assert_array_equal(numbers, inverse)


@pytest.mark.parametrize("alike", [False, True])
def test_a_name_is_found_where_it_stands(monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    if alike:  # two names of one hash, which nobody can make on purpose
        monkeypatch.setattr("embedkit.numbering.hash", len, raising=False)
    names = [f"{number * 7919 % 1000:03}" for number in range(1000)]
    places = Places(pa.chunked_array([names[:10], names[10:]]))
    assert [places.find(name) for name in names] == list(range(1000))
    assert places.find("1000") is None
    assert places.find("abc") is None


def test_nothing_is_found_among_no_names() -> None:
    assert Places(pa.chunked_array([], pa.string())).find("a") is None
