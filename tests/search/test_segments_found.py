"""Search, against brute force."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made import draw, write_table_of

from embedkit.errors import EmbeddingFolderError
from embedkit.search.segments import SearchIndex
from embedkit.store import EmbeddingTable


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingTable, SearchIndex]:
    """30 clips of 1 to 4 segments whose vectors have all lengths."""
    rng = np.random.default_rng(0)
    clips = {
        f"{number:02d}.wav": draw(number % 4 + 1, 8, number)
        * np.float32(10.0 ** rng.uniform(-3, 3))
        for number in range(30)
    }
    table = write_table_of(tmp_path_factory.mktemp("search") / "emb", clips)
    return table, SearchIndex(table)


@pytest.mark.parametrize("without", ["", "07.wav"])
@pytest.mark.parametrize("top", [1, 5, 30, 1000])
def test_search_finds_the_best_segment_of_each_clip_by_cosine(
    collection: tuple[EmbeddingTable, SearchIndex], top: int, without: str
) -> None:
    table, index = collection
    rows = table.rows()
    query = draw(1, 8, seed=99)[0] * 17
    cosine = (rows.embeddings @ query) / np.linalg.norm(query)
    cosine = cosine / np.linalg.norm(rows.embeddings, axis=1)
    best: dict[str, int] = {}
    for row in np.argsort(-cosine):
        if rows.clips[row] != without:
            best.setdefault(rows.clips[row], row)
    expected = list(best.items())[:top]
    [hits] = index.search(query[None], top, without=[{without}])
    assert [hit.clip for hit in hits] == [clip for clip, _ in expected]
    for hit, (_, row) in zip(hits, expected, strict=True):
        assert (hit.start_s, hit.end_s) == (rows.start_s[row], rows.end_s[row])
        assert hit.similarity == pytest.approx(cosine[row], abs=1e-5)


def test_a_clip_is_its_own_nearest_unless_left_out(
    collection: tuple[EmbeddingTable, SearchIndex],
) -> None:
    table, index = collection
    vector = table.clip_vector("04.wav")  # of one segment
    [[hit]] = index.search(vector[None], 1)
    assert hit.clip == "04.wav"
    assert hit.similarity == pytest.approx(1)
    [others] = index.search(vector[None], 99, without=[{"04.wav"}])
    assert len(others) == 29
    assert "04.wav" not in {hit.clip for hit in others}


def test_a_clips_vector_is_the_same_alone_and_among_all(
    collection: tuple[EmbeddingTable, SearchIndex],
) -> None:
    table, _ = collection
    for clip, vector in zip(*table.clip_vectors(), strict=True):
        np.testing.assert_allclose(table.clip_vector(clip), vector, rtol=1e-5)
    assert table.has_clip("29.wav")
    assert not table.has_clip("30.wav")


def test_search_looks_past_a_clip_that_holds_all_the_best_segments(tmp_path: Path) -> None:
    noise = draw(200, 4, 1) * 0.01
    clips = {"loud.wav": np.float32([1, 0, 0, 0]) + noise}
    clips |= {f"{n}.wav": np.float32([[1, 0.2 + n / 10, 0, 0]]) for n in range(3)}
    index = SearchIndex(write_table_of(tmp_path / "emb", clips))
    [hits] = index.search(np.float32([[1, 0, 0, 0]]), 3)
    assert [hit.clip for hit in hits] == ["loud.wav", "0.wav", "1.wav"]


def test_a_collection_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingFolderError, match="no vectors to search"):
        SearchIndex(write_table_of(tmp_path / "emb", {}))


def interpret(code: str, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_what_uses_vectors_loads_no_torch() -> None:
    code = """if True:
        import importlib, pkgutil, sys
        import embedkit
        rooms = ("classifiers", "extraction", "labels", "search", "store")
        for room in rooms:
            package = importlib.import_module(f"embedkit.{room}")
            for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
                importlib.import_module(module.name)
        embedkit.EmbeddingTable
        print(len(rooms), [name for name in sys.modules if name.startswith("torch")])
    """
    assert interpret(code).strip() == "5 []"


@pytest.mark.parametrize("first", ["torch", "faiss"])
def test_search_and_torch_work_in_one_process_whichever_comes_first(
    collection: tuple[EmbeddingTable, SearchIndex], first: str
) -> None:
    pytest.importorskip("torch")  # each brings an OpenMP runtime of its own
    table, index = collection
    imports = ["import torch", "from embedkit.search.segments import SearchIndex"]
    code = "\n".join(
        [
            *(imports if first == "torch" else imports[::-1]),
            "import json, sys",
            "from embedkit.store import EmbeddingTable",
            "table = EmbeddingTable.open(sys.argv[1])",
            "index = SearchIndex(table)",
            "for _ in range(3):",  # by turns
            "    x = torch.ones(64, 64, 32, 32)",
            "    y = torch.nn.functional.conv2d(x, torch.ones(8, 64, 3, 3))",
            "    [hits] = index.search(table.clip_vector('03.wav')[None], 9)",
            "print(json.dumps([y.mean().item(), [hit.clip for hit in hits]]))",
        ]
    )
    mean, found = json.loads(interpret(code, table.folder))
    assert mean == 64 * 3 * 3
    [hits] = index.search(table.clip_vector("03.wav")[None], 9)
    assert found == [hit.clip for hit in hits]
