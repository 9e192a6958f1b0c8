"""Clusters of made vectors whose groups are known; scikit-learn and plain loops are the oracles."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from made import Vectors, namer, write_table_of
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from embedkit.search import clusters as module
from embedkit.search.clusters import (
    Method,
    agreement,
    describe,
    distances,
    find_clusters,
    read_sounds,
)
from embedkit.store import EmbeddingTable

KINDS = "dog", "rain", "bell"
SIZE = 8


@pytest.fixture(scope="module")
def clips() -> dict[str, Vectors]:
    """Clips around three directions, the first the most, and one like no other."""
    rng = np.random.default_rng(0)
    made = {}
    for kind, count, axis in zip(KINDS, (30, 20, 10), np.eye(SIZE), strict=False):
        for n in range(count):
            vectors = 5 * axis + 0.3 * rng.standard_normal((3, SIZE))
            made[f"{kind}/{n:02d}.wav"] = vectors.astype(np.float32)
    made["dog/odd.wav"] = np.tile(-np.eye(SIZE, dtype=np.float32)[7], (3, 1))
    return dict(sorted(made.items()))


@pytest.fixture(scope="module")
def table(clips: dict[str, Vectors], tmp_path_factory: pytest.TempPathFactory) -> EmbeddingTable:
    return write_table_of(tmp_path_factory.mktemp("clusters") / "emb", clips, last_s=1.0)


def units(clips: dict[str, Vectors], *, segments: bool) -> NDArray[np.float64]:
    vectors = [part if segments else part.mean(axis=0, keepdims=True) for part in clips.values()]
    stacked = np.concatenate(vectors).astype(float)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


@pytest.mark.parametrize("segments", [False, True])
def test_points_are_as_far_apart_as_their_vectors(
    table: EmbeddingTable, clips: dict[str, Vectors], segments: bool
) -> None:
    sounds = read_sounds(table, segments=segments)
    expected = units(clips, segments=segments)
    np.testing.assert_allclose(
        np.linalg.norm(sounds.points[:, None] - sounds.points[None], axis=2),
        np.linalg.norm(expected[:, None] - expected[None], axis=2),
        atol=1e-5,
    )
    each = 3 if segments else 1
    assert sounds.clips == [clip for clip in clips for _ in range(each)]
    assert sounds.end_s.tolist()[:3] == ([1, 2, 3] if segments else [3, 3, 3])


def test_of_many_axes_those_are_kept_that_scikit_learn_finds(
    table: EmbeddingTable, clips: dict[str, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.decomposition import PCA

    monkeypatch.setattr(module, "AXES", 3)
    found = read_sounds(table).points
    expected = PCA(3).fit_transform(units(clips, segments=False))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


@pytest.mark.parametrize("method", list(Method))
def test_groups_are_found_as_scikit_learn_finds_them(
    table: EmbeddingTable, clips: dict[str, Vectors], method: Method
) -> None:
    sounds = read_sounds(table)
    found = find_clusters(sounds, method, count=4)
    model = (
        KMeans(4, n_init=10, random_state=1)
        if method is Method.KMEANS
        else HDBSCAN(min_cluster_size=5, copy=True)
    )
    expected = model.fit_predict(units(clips, segments=False))
    assert adjusted_rand_score(expected, found) == pytest.approx(1)
    kinds = np.array([clip.split("/")[0] for clip in sounds.clips])
    assert [set(found[kinds == kind][:10]) for kind in KINDS] == [{1}, {2}, {3}]
    assert found[sounds.clips.index("dog/odd.wav")] == (
        4 if method is Method.KMEANS else 0
    )  # the odd one
    described = describe(sounds, found, None)
    assert [(each.number, each.size, each.name) for each in described[:3]] == [
        (1, 30, "dog"), (2, 20, "rain"), (3, 10, "bell"),
    ]  # fmt: skip
    assert (described[3].size, described[3].clip) == (1, "dog/odd.wav")


@pytest.mark.parametrize("method", list(Method))
def test_what_is_not_drawn_is_in_the_cluster_of_the_nearest_that_is(
    table: EmbeddingTable, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = find_clusters(read_sounds(table, segments=True), method, count=4)
    monkeypatch.setattr(module, "SAMPLE", 120)
    monkeypatch.setattr(module, "AT_ONCE", 50)
    sounds = read_sounds(table, segments=True)
    assert len(sounds.drawn) == 120
    rows = table.rows()
    order = np.lexsort((sounds.start_s, np.array(sounds.clips)))
    inverse = np.argsort(order)
    np.testing.assert_array_equal(sounds.vectors, rows.embeddings[inverse[sounds.drawn]])
    found = find_clusters(sounds, method, count=4)
    assert adjusted_rand_score(whole, found) > 0.95
    near = NearestNeighbors(n_neighbors=1).fit(sounds.points[sounds.drawn])
    nearest = near.kneighbors(sounds.points, return_distance=False)[:, 0]
    np.testing.assert_array_equal(found, found[sounds.drawn][nearest])


def test_k_means_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    """Of noise, which has many partitions that are nearly as good."""
    rng = np.random.default_rng(3)
    made = {f"{n:03d}.wav": rng.standard_normal((1, SIZE)).astype(np.float32) for n in range(200)}
    sounds = read_sounds(write_table_of(tmp_path / "emb", made, last_s=1.0))
    order = rng.permutation(len(made))
    mixed = replace(
        sounds,
        clips=[sounds.clips[number] for number in order],
        points=sounds.points[order],
        vectors=sounds.vectors[order],
    )
    found, again = (
        dict(zip(each.clips, find_clusters(each, count=12), strict=True))
        for each in (sounds, mixed)
    )
    assert adjusted_rand_score(
        [found[clip] for clip in made], [again[clip] for clip in made]
    ) == pytest.approx(1)


@pytest.mark.parametrize("sample", [20_000, 100])
def test_how_novel_a_sound_is(
    table: EmbeddingTable, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE", sample)
    sounds = read_sounds(table, segments=True)
    found = distances(sounds)
    away = np.linalg.norm(sounds.points[:, None] - sounds.points[None, sounds.drawn], axis=2)
    for place, row in enumerate(sounds.drawn):
        away[row, place] = np.inf  # itself
    np.testing.assert_allclose(found, np.sort(away, axis=1)[:, 4], atol=2e-3)
    assert sounds.clips[found.argmax()] == "dog/odd.wav"


def test_agreement_is_what_scikit_learn_says_of_what_is_labelled() -> None:
    clusters = np.array([1, 1, 2, 2, 0, 3, 3])
    labels = ["a", "a", "b", "a", "b", "", ""]
    found = agreement(clusters, labels)
    assert found == {
        "ami": adjusted_mutual_info_score(labels[:5], clusters[:5]),
        "ari": adjusted_rand_score(labels[:5], clusters[:5]),
        "labelled": 5,
    }
    assert agreement(np.array([5, 5, 9]), ["x", "x", "y"])["ari"] == 1


def test_clusters_are_called_by_names_where_there_are_some(table: EmbeddingTable) -> None:
    sounds = read_sounds(table)
    found = find_clusters(sounds, count=4)
    called = describe(sounds, found, namer("Bark", "Rain", "Ding", size=SIZE))
    assert [each.name for each in called[:3]] == ["Bark", "Rain", "Ding"]


def test_the_command(table: EmbeddingTable, tmp_path: Path) -> None:
    asked = ["cluster", table.folder, "--clusters", 4, "--novel", 2, "--labels", "folders"]
    answer = json.loads(succeed(*asked, "--json", "--out", tmp_path / "out.parquet"))
    assert [each["size"] for each in answer["clusters"]] == [30, 20, 10, 1]
    assert answer["agreement"]["labelled"] == 61
    assert answer["agreement"]["ari"] > 0.95
    assert answer["novel"][0]["clip"] == "dog/odd.wav"
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(rows) == 61
    assert max(rows, key=lambda row: row["distance"])["clip"] == "dog/odd.wav"
    assert {row["name"] for row in rows if row["clip"].startswith("rain")} == {"rain"}
    printed = succeed(*asked)
    for words in ("in its middle", "ami", "distance"):
        assert words in printed
    marked = tmp_path / "marked.csv"
    marked.write_text("path,label,start_s,end_s\ndog/00.wav,x,0,1\ndog/00.wav,y,1,2\n")
    refused = run("cluster", table.folder, "--labels", marked)
    assert refused.returncode == 2
    assert "the labels have times: add --segments" in refused.stderr
    answer = json.loads(
        succeed("cluster", table.folder, "--labels", marked, "--segments", "--json")
    )
    assert answer["agreement"]["labelled"] == 2
    assert run("cluster", table.folder, "--method", "kmean").returncode == 2


def test_few_sounds_and_none(tmp_path: Path) -> None:
    table = write_table_of(tmp_path / "one", {"a.wav": np.ones((1, 4), np.float32)})
    for method in Method:
        sounds = read_sounds(table)
        assert find_clusters(sounds, method).tolist() == [1 if method is Method.KMEANS else 0]
        assert distances(sounds).tolist() == [np.inf]
    empty = write_table_of(tmp_path / "none", {})
    done = run("cluster", empty.folder)
    assert done.returncode == 1
    assert "it has no vectors to cluster" in done.stderr
