"""Collections on a plane: the projection against numpy, the page read as a browser would."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command import run, succeed
from made import draw, log_odds, namer, write_table_of
from PIL import Image
from threadpoolctl import threadpool_limits

from embedkit.pages import map as map_module
from embedkit.pages.map import write_map
from embedkit.pages.projection import Projection, project, regions
from embedkit.store import EmbeddingTable

NASTY = "</script><b>x&'\".wav"


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Path:
    root = tmp_path_factory.mktemp("map")
    for number in range(8):
        name = NASTY.replace("/", "\u2044") if number == 7 else f"{number}.wav"
        folder = root / "audio" / "ab"[number % 2]
        write_audio(folder / name, 0.1 * make_sound(3.0, seed=number))
    succeed("extract", root / "audio", "--model", model_dir, "--out", root / "emb")
    return root


def read_points(page: Path) -> list[list[Any]]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r"const points = (\[.*\]); //", text)
    assert found is not None
    # A script ends at the first "</script>", whatever quotes it stands in.
    script = text[text.index("<script>") :]
    assert script.index("</script>") > script.index("draw();\n")
    return json.loads(found[1])


def test_pca_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 6)).astype(np.float32) * [5, 3, 1, 1, 1, 1] + 4
    points = project(vectors.astype(np.float32), Projection.PCA)
    centred = vectors - vectors.mean(axis=0)
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    directions = directions - directions.mean(axis=0)
    _, _, axes = np.linalg.svd(directions, full_matrices=False)
    expected = directions @ axes[:2].T
    signs = np.sign((points * expected).sum(axis=0))
    np.testing.assert_allclose(points * signs, expected, atol=1e-3)


@pytest.fixture(scope="module")
def uncompiled() -> Iterator[None]:
    """UMAP as it is written: Numba takes half a minute to compile it."""
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        yield


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("how", list(Projection))
def test_a_few_vectors_have_places_too(count: int, how: Projection, uncompiled: None) -> None:
    vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    with threadpool_limits(1):
        points = project(vectors, how)
        np.testing.assert_array_equal(project(vectors, how), points)
    assert points.shape == (count, 2)
    assert len(np.unique(points, axis=0)) == count


@pytest.mark.parametrize("how", [Projection.TSNE, Projection.UMAP])
def test_clouds_stay_apart_and_a_seed_gives_the_same_places(
    how: Projection, uncompiled: None
) -> None:
    check_clouds(how)


@pytest.mark.install
def test_they_do_by_umap_as_it_is_installed_too() -> None:
    check_clouds(Projection.UMAP)


def check_clouds(how: Projection) -> None:
    rng = np.random.default_rng(0)
    centres = 6 * rng.standard_normal((2, 8))
    vectors = (centres[np.arange(60) % 2] + rng.standard_normal((60, 8))).astype(np.float32)
    with threadpool_limits(1):
        points = project(vectors, how)
        np.testing.assert_array_equal(project(vectors, how), points)
    halves = points[::2], points[1::2]
    radius = max(np.linalg.norm(half - half.mean(axis=0), axis=1).max() for half in halves)
    assert np.linalg.norm(halves[0].mean(axis=0) - halves[1].mean(axis=0)) > radius


def test_the_page_holds_every_sound_its_name_and_its_place(work: Path, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    succeed("map", work / "emb", "--out", page)
    points = read_points(page)
    clips, vectors = EmbeddingTable.open(work / "emb").clip_vectors()
    assert [point[3] for point in points] == clips
    assert [point[4] for point in points] == [clip[0] for clip in clips]
    assert len({point[2] for point in points}) == 2  # a colour for each folder
    places = np.array([point[:2] for point in points])
    assert places.min() >= 0
    assert places.max() <= 1
    expected = project(vectors, Projection.PCA)
    # Equal distances but for the scale; a page's y goes down.
    ratio = np.ptp(places[:, 0]) / np.ptp(expected[:, 0])
    np.testing.assert_allclose(np.ptp(places[:, 1]), ratio * np.ptp(expected[:, 1]), atol=1e-3)
    assert places[expected[:, 1].argmax(), 1] == places[:, 1].min()
    kind, _, data = points[0][5].partition(",")
    assert kind == "data:audio/ogg;base64"
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert (rate, len(sound)) == (16000, 2 * 16000)
    original, _ = soundfile.read(work / "audio" / clips[0])
    original = original[: len(sound)] / np.abs(original[: len(sound)]).max()
    assert np.corrcoef(sound, original)[0, 1] > 0.9


def test_labels_colour_and_a_missing_sound_is_reported(work: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\na/0.wav,dog\nb/1.wav,cat\na/2.wav,dog\n")
    (tmp_path / "moved").mkdir()
    done = run(
        *("map", work / "emb", "--out", tmp_path / "map.html", "--labels", labels),
        *("--audio", tmp_path / "moved"),
    )
    assert done.returncode == 3
    assert "8 of 8 files failed" in done.stderr
    points = read_points(tmp_path / "map.html")
    named = {point[3]: point[4] for point in points}
    assert named["a/0.wav"] == named["a/2.wav"] == "dog"
    assert named["a/4.wav"] == ""
    assert {point[5] for point in points} == {""}


def test_regions_are_those_of_clouds_and_not_more_than_there_are_points() -> None:
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    points = (centres[np.arange(60) % 3] + 0.1 * draw(60, size=2)).astype(np.float32)
    found = regions(points, 3)
    assert len({tuple(found[start::3]) for start in range(3)}) == 3
    assert all(len(set(found[start::3])) == 1 for start in range(3))
    assert set(regions(points, 50)) == set(range(60 // 8))
    assert set(regions(np.zeros((40, 2), np.float32), 3)) == {0}
    assert regions(points[:1], 3).tolist() == [0]


def test_a_page_names_its_regions_at_their_middles(tmp_path: Path) -> None:
    names = namer("music", "dog", "rain")
    kinds = [(0.8, 0.01, 0.02), (0.8, 0.7, 0.01), (0.8, 0.02, 0.7)]
    vectors = log_odds(*(kinds[number % 3] for number in range(30)))
    vectors += 0.1 * draw(30, size=3)
    clips = {f"all/{number:02d}.wav": vectors[[number]] for number in range(30)}
    table = write_table_of(tmp_path / "emb", clips)
    page = tmp_path / "map.html"
    write_map(table, page, names=names, audio=tmp_path)
    points = read_points(page)
    text = re.search(r"const regions = (\[.*\]); //", page.read_text())
    assert text is not None
    places = {name: place for *place, name in json.loads(text[1])}
    assert set(places) == {"music", "dog", "rain"}
    for kind, name in enumerate(["music", "dog", "rain"]):
        mine = [point for point in points if int(point[3][4:6]) % 3 == kind]
        middle = np.mean([point[:2] for point in mine], axis=0)
        np.testing.assert_allclose(places[name], middle, atol=2e-4)
        # Clips of one folder, without labels, are coloured by it.
        assert {point[4] for point in mine} == {name}

    write_map(table, page, audio=tmp_path)
    assert "const regions = [];" in page.read_text()
    assert {point[4] for point in read_points(page)} == {"all"}
    write_map(table, page, names=names, labels=[("all/00.wav", "mine")], audio=tmp_path)
    assert {point[4] for point in read_points(page)} == {"mine", ""}


def test_a_page_of_many_clips_holds_a_sample(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_module, "MOST", 3)
    done = run("map", work / "emb", "--out", tmp_path / "map.html")
    assert "3 of 8 clips, drawn at random" in done.stderr
    assert len(read_points(tmp_path / "map.html")) == 3


def test_a_picture_is_drawn_the_same_again(
    work: Path, tmp_path: Path, make_sound: Callable[..., Any]
) -> None:
    for name in ("1.png", "2.png"):
        succeed("map", work / "emb", "--out", tmp_path / name, "--projection", "tsne")
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("1.png", "2.png"))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first.reshape(-1, first.shape[2]), axis=0)) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "map.pdf"), "name a .png or an .html file"),
        (
            ("--out", "map.png", "--projection", "lda"),
            "no projection 'lda'; there are: pca, ",
        ),
    ],
)
def test_usage_errors(work: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("map", work / "emb", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
