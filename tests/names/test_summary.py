"""What is heard in a collection: shares of time by hand, and of a sample."""

from pathlib import Path

import numpy as np
import pytest
from made import draw, log_odds, namer, write_table_of
from scipy.special import expit

from embedkit.errors import EmbedkitError
from embedkit.names import summary
from embedkit.names.summary import Summary, summarise
from embedkit.names.surroundings import surrounded


def test_a_name_has_the_seconds_in_which_it_is_likely(tmp_path: Path) -> None:
    dog, rain, both, none = (0.9, 0.01), (0.01, 0.9), (0.9, 0.9), (0.01, 0.01)
    clips = {  # alike within a clip, so that surroundings change nothing
        "a.wav": log_odds(*[dog] * 4),
        "b.wav": log_odds(*[rain] * 2),
        "c.wav": log_odds(*[both] * 3),
        "d.wav": log_odds(*[none] * 3),
    }
    table = write_table_of(tmp_path / "emb", clips, last_s=0.5)
    heard = summarise(table, namer("dog", "rain"))
    assert heard.shares == pytest.approx({"dog": 6 / 10, "rain": 4 / 10})
    assert list(heard.shares) == ["dog", "rain"]
    assert (heard.segments, heard.sampled) == (12, False)
    assert str(heard) == "dog 60 %, rain 40 %"


def test_a_second_is_heard_with_its_neighbours(tmp_path: Path) -> None:
    vectors = 2 * draw(50, size=3)
    table = write_table_of(tmp_path / "emb", {"a.wav": vectors}, last_s=1.0)
    scores = [expit(vectors[max(0, row - 1) : row + 2].mean(axis=0)) for row in range(50)]
    shares = (np.array(scores) >= 0.2).mean(axis=0)
    heard = summarise(table, namer("a", "b", "c"))
    assert heard.shares == pytest.approx(dict(zip("abc", shares, strict=True)))
    assert list(heard.shares.values()) == sorted(heard.shares.values(), reverse=True)


def test_of_many_segments_a_sample_at_even_distances_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table_of(tmp_path / "emb", {"a.wav": 2 * draw(100, size=2)}, last_s=1.0)
    monkeypatch.setattr(summary, "MOST", 30)
    heard = summarise(table, namer("a", "b"))
    some = np.concatenate([rows.embeddings for rows in surrounded(table)])[::4]
    shares = (expit(some) >= 0.2).mean(axis=0)
    assert heard.shares == pytest.approx(dict(zip("ab", shares, strict=True)))
    assert (heard.segments, heard.sampled) == (25, True)
    assert str(heard).endswith("% (of a sample of 25 segments)")


def test_a_line_has_the_first_names_and_small_shares_are_said_to_be_small() -> None:
    shares = {"a": 0.5, "b, c": 0.25, "d": 0.1, "e": 0.01, "f": 0.004, "g": 0.001}
    heard = Summary(shares=shares, segments=9, sampled=False)
    assert str(heard) == "a 50 %, b, c 25 %, d 10 %, e 1 %, f under 1 %"
    assert heard.rows()[-1] == {"name": "g", "share": 0.001}


def test_nothing_likely_and_nothing_at_all_are_said(tmp_path: Path) -> None:
    quiet = write_table_of(tmp_path / "quiet", {"a.wav": log_odds((0.1,))})
    empty = write_table_of(tmp_path / "empty", {}, size=1)
    for table in (quiet, empty):
        heard = summarise(table, namer("dog"))
        assert (heard.shares, str(heard)) == ({}, "no name is likely")
    with pytest.raises(EmbedkitError, match="its vectors have 1 numbers"):
        summarise(quiet, namer("dog", "cat"))
