"""Where the map's points are: PCA's places, those found in the meantime, and what is called so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import HTTPException
from made import draw, log_odds, namer, write_table_of
from patience import until
from planes import fake_umap, laid_out

from embedkit.errors import EmbedkitError
from embedkit.pages.projection import Projection
from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection
from embedkit.web.plane import FEWEST, Plane, into_view
from embedkit.web.regions import Regions


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """60 segments of 20 clips."""
    clips = {f"{'ab'[number % 2]}/{number:02}.wav": draw(3, 6, number) for number in range(20)}
    return write_table_of(tmp_path / "emb", clips, root=tmp_path)


def finished(plane: Plane) -> dict[str, Any]:
    """What it tells in the end."""
    until(lambda: not plane.facts()["under_way"], "it does not end")
    return plane.facts()


def test_pca_tells_clips_apart(table: EmbeddingTable) -> None:
    collection = Collection(table)
    plane = Plane(collection)
    assert plane.facts() == {"shown": "pca", "under_way": None, "share": 0.0, "error": ""}
    points = plane.points("pca")
    mean = collection.clip_vectors.mean(axis=0)
    clips, segments = (
        each / np.linalg.norm(each, axis=1, keepdims=True)
        for each in (collection.clip_vectors - mean, collection.search.vectors - mean)
    )
    axes = np.linalg.svd(clips - clips.mean(axis=0), full_matrices=False)[2][:2]
    expected = segments @ axes.T
    inside = (np.abs(points) < 1.15).all(axis=1)
    for axis in (0, 1):  # but for the scale, which is one for both
        slope = np.polyfit(expected[inside, axis], points[inside, axis], 1)[0]
        np.testing.assert_allclose(
            points[inside, axis] - slope * expected[inside, axis],
            np.mean(points[inside, axis] - slope * expected[inside, axis]), atol=1e-4,
        )  # fmt: skip
    assert np.abs(points).max() <= 1.2
    with pytest.raises(HTTPException):
        plane.points("umap")


@pytest.mark.parametrize("far", [2.0, 50.0])
def test_a_far_group_is_a_group_unless_the_rest_were_a_dot(far: float) -> None:
    """Of 2,000 points within 1 of the middle, and 10 others, which differ by as much as these."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (2010, 2))
    points[2000:] += far
    placed = into_view(points)
    middle = np.ptp(placed[:2000], axis=0)
    group = np.ptp(placed[2000:], axis=0)
    if far < 10:
        np.testing.assert_allclose(group / middle, np.ptp(points[2000:], axis=0)
                                   / np.ptp(points[:2000], axis=0), rtol=1e-5)  # fmt: skip
        assert np.abs(placed).max() == pytest.approx(1)
    else:
        np.testing.assert_allclose(placed[2000:], 1.2, rtol=1e-6)
        assert (middle > 1.9).all()


def test_better_places_come_in_the_meantime_and_are_kept(
    table: EmbeddingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake_umap(tmp_path / "fake"))
    collection = Collection(table)
    plane = Plane(collection, Projection.UMAP)
    assert not plane.path.exists()
    assert plane.facts()["shown"] == "pca"
    assert finished(plane) == {"shown": "umap", "under_way": None, "share": 0.5, "error": ""}
    expected = laid_out(collection.search.vectors)
    np.testing.assert_allclose(plane.points("umap"), expected, atol=1e-5)
    until(plane.path.exists, "they are not kept")
    # Another explorer finds them; one of other vectors does not, nor one of a damaged file.
    again = Plane(collection, Projection.UMAP)
    assert (again.shown, again.facts()["under_way"]) == ("umap", None)
    np.testing.assert_array_equal(again.points("umap"), plane.points("umap"))
    collection.search.vectors[7, 2] += 1e-3
    assert Plane(collection, Projection.UMAP).shown == "pca"
    plane.path.write_bytes(b"no tensors")
    assert Plane(collection, Projection.UMAP).shown == "pca"
    about = {"fingerprint": plane._fingerprint()}
    for kind, size in {"BF16": 2, "F8_E5M2": 1, "C64": 8}.items():
        tensor = {"dtype": kind, "shape": [60, 2], "data_offsets": [0, 120 * size]}
        head = json.dumps({"__metadata__": about, "points": tensor}).encode()
        plane.path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(120 * size))
        assert Plane(collection, Projection.UMAP).shown == "pca"


def test_where_nothing_can_be_written_they_are_in_memory(
    table: EmbeddingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake_umap(tmp_path / "fake"))
    plane = Plane(Collection(table), Projection.UMAP)
    plane.path.mkdir()
    assert finished(plane)["shown"] == "umap"
    assert len(plane.points("umap")) == 60


def test_a_failure_leaves_pca_and_is_told(
    table: EmbeddingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake_umap(tmp_path / "fake", "raise ValueError('too alike')"))
    facts = finished(Plane(Collection(table), Projection.UMAP))
    assert facts["shown"] == "pca"
    assert "too alike" in facts["error"]


def test_of_few_segments_pca_is_enough(tmp_path: Path) -> None:
    few = {f"{number}.wav": draw(1, 4, number) for number in range(FEWEST - 1)}
    plane = Plane(Collection(write_table_of(tmp_path / "emb", few, root=tmp_path)), Projection.UMAP)
    assert plane.facts() == {"shown": "pca", "under_way": None, "share": 0.0, "error": ""}


class Named:
    """Names as a finder brings them, or none."""

    def __init__(self, names: Any) -> None:
        self._names = names

    @property
    def namer(self) -> Any:
        if self._names is None:
            raise EmbedkitError("this model brings no names")
        return self._names


def test_regions_are_called_by_what_is_heard_or_by_folders(tmp_path: Path) -> None:
    kinds = [(0.9, 0.02, 0.02), (0.02, 0.9, 0.02), (0.02, 0.02, 0.02)]
    clips = {
        f"site/{'xyz'[number % 3]}/{number:02}.wav":
            log_odds(kinds[number % 3]) + 0.05 * draw(1, 3, number)
        for number in range(60)
    }  # fmt: skip
    collection = Collection(write_table_of(tmp_path / "emb", clips, root=tmp_path))
    plane = Plane(collection)
    points = plane.points("pca")
    kind = np.array(["xyz".index(name.split("/")[1]) for name in collection.clips])[collection.clip]
    for names, called in ((namer("Dog", "Rain", "Owl"), ["Dog", "Rain", "z"]), (None, [*"xyz"])):
        found = Regions(collection, plane, Named(names)).of("pca")  # type: ignore[arg-type]
        region = np.array(found["region"])
        for number, (x, y, name) in enumerate(found["named"]):
            inside = region == number
            assert {name} == {called[each] for each in set(kind[inside])}
            np.testing.assert_allclose((x, y), np.median(points[inside], axis=0), atol=1e-4)
