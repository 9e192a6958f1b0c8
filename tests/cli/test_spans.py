"""Spans behind an `@`: said in words where they are none, and never taken out of a clip's name."""

from pathlib import Path

import numpy as np
import pytest
from command import run

from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.exchange import Foreign, import_vectors
from embedkit.search.queries import Queries
from embedkit.store import EmbeddingTable

# Each has three segments of 1 s, and all vectors are different.
CLIPS = ("clip.wav", "@1-2", "@1-2.wav", "@5", "clip@0.5-1", "clip@0.5-1.wav", "a@b.wav", "x@3-1")


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {clip: rng.standard_normal((3, 64)).astype(np.float32) for clip in CLIPS}


@pytest.fixture(scope="module")
def emb(tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, np.ndarray]) -> Path:
    root = tmp_path_factory.mktemp("spans")
    np.save(root / "v.npy", np.concatenate(list(vectors.values())))
    rows = [f"{clip},{start},{start + 1}" for clip in CLIPS for start in range(3)]
    (root / "rows.csv").write_text("\n".join(["path,start,end", *rows]))
    foreign = Foreign(name="random", rows=root / "rows.csv")
    import_vectors(root / "v.npy", "npy", foreign, root / "emb")
    return root / "emb"


@pytest.fixture(scope="module")
def queries(emb: Path) -> Queries:
    table = EmbeddingTable.open(emb)
    return Queries(table)


@pytest.mark.parametrize("clip", CLIPS)
def test_a_name_like_a_span_is_a_name(
    queries: Queries, vectors: dict[str, np.ndarray], clip: str
) -> None:
    assert queries.clip(clip) == clip
    np.testing.assert_allclose(queries.vector(clip), vectors[clip].mean(axis=0), atol=1e-6)
    # And it has spans itself: the last `@` counts.
    for start in range(3):
        name = f"{clip}@{start}-{start + 1}"
        assert queries.clip(name) == clip
        np.testing.assert_allclose(queries.vector(name), vectors[clip][start], atol=1e-6)
    np.testing.assert_allclose(
        queries.vector(f"{clip}@0.50-1.5"), vectors[clip][:2].mean(axis=0), atol=1e-6
    )
    # A segment counts by as much of it as is in the span.
    np.testing.assert_allclose(
        queries.vector(f"{clip}@0.75-2.5"),
        np.average(vectors[clip], axis=0, weights=[0.25, 1, 0.5]),
        atol=1e-6,
    )


@pytest.mark.parametrize("clip", ["clip.wav", "@1-2", "clip@0.5-1"])
@pytest.mark.parametrize(
    ("span", "words"),
    [
        ("0.5-0.2", "from 0.5 to 0.2 s is empty"),
        ("1-1", "from 1 to 1 s is empty"),
        ("0-0", "from 0 to 0 s is empty"),
        *((span, "no span of seconds; expected FROM-TO") for span in (
            "", "1", "1-", "-1", "-1-2", "1--2", "nan-1", "0-inf", "1e3-2", "1-2-3", " 1-2",
            "1,5-2", "0x1-2", "1:00-2:00", "1.-2", "a-b", f"1{'0' * 400}-2{'0' * 400}",
        )),
    ],
)  # fmt: skip
def test_what_is_no_span_is_said(queries: Queries, clip: str, span: str, words: str) -> None:
    for ask in (queries.vector, queries.clip):
        with pytest.raises(UsageError) as caught:
            ask(f"{clip}@{span}")
        assert str(caught.value).startswith(f"{clip}@{span}: ")
        assert words in str(caught.value)


def test_a_span_beyond_the_end_is_said(queries: Queries) -> None:
    with pytest.raises(EmbeddingFolderError, match=r"clip.wav has no segment from 3 to 4 s"):
        queries.vector("clip.wav@3-4")


def test_a_file_has_spans_and_a_name_of_its_own(
    queries: Queries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Embedder:
        def embed(self, *span: object) -> np.ndarray:
            asked.append(span)
            return np.zeros(64, np.float32)

    monkeypatch.setitem(vars(queries), "_embedder", Embedder())
    for name in ("new@1-2", "plain"):
        (tmp_path / name).write_text("")
        queries.vector(f"{tmp_path}/{name}")
        queries.vector(f"{tmp_path}/{name}@0-1.5")
        with pytest.raises(UsageError, match="no span of seconds"):
            queries.vector(f"{tmp_path}/{name}@1-")
    whole = (0.0, np.inf)
    assert asked == [
        (tmp_path / "new@1-2", *whole), (tmp_path / "new@1-2", 0.0, 1.5),
        (tmp_path / "plain", *whole), (tmp_path / "plain", 0.0, 1.5),
    ]  # fmt: skip


def test_the_command_ends_as_wrong_usage(emb: Path) -> None:
    for command in (["search", emb, "clip.wav@0.5-0.2"], ["search", emb, "--like", "@1-2@1-"]):
        done = run(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "expected FROM-TO" in done.stderr
