"""What the explorer finds: by sounds, by words, by name; one row a sound, a page at a time."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import namer, write_table_of
from pages import brute_force, open_page, unit

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.web import find
from embedkit.web.collection import Collection
from embedkit.web.uploads import Uploads


def test_search_is_by_cosine_of_the_first_numbers_and_leaves_its_own_out(
    client: Any, collection: Collection
) -> None:
    vectors = collection.search.vectors.astype(float)
    asked = {"like": [0, 3], "unlike": [5], "top": 4}
    found = client.post("/search", json=asked).json()
    query = (unit(vectors[0]) + unit(vectors[3])) / 2 - unit(vectors[5])
    scores = brute_force(collection, unit(query), vectors.shape[1])
    scores[[0, 3, 5]] = -np.inf
    best = np.array([scores[collection.rows_of(clip)].max() for clip in range(8)])
    assert found["total"] == 8
    assert [sound["clip"] for sound in found["found"]] == np.argsort(-best)[:4].tolist()
    for sound in found["found"]:
        clip = sound["clip"]
        rows = collection.rows_of(clip)
        rows = rows[np.argsort(-scores[rows])][:5]
        rows = rows[scores[rows] > -np.inf]
        assert [card["row"] for card in sound["seconds"]] == rows.tolist()
        for card, row in zip(sound["seconds"], rows, strict=True):
            assert (card["start_s"], card["end_s"]) == (
                collection.start_s[row], collection.end_s[row],
            )  # fmt: skip
            assert card["similarity"] == pytest.approx(scores[row], abs=1e-5)
        assert sound["similarity"] == sound["seconds"][0]["similarity"]
        assert sound["name"] == collection.clips[clip]
        assert sound["duration_s"] == collection.seconds[clip]


def test_filters_leave_what_fits(client: Any, collection: Collection) -> None:
    def names(**filters: Any) -> set[str]:
        found = client.post("/search", json={"like": [0], "top": 200, **filters}).json()
        assert found["total"] == len(found["found"])
        return {sound["name"] for sound in found["found"]}

    every = set(collection.clips)
    assert names() == every
    assert names(elsewhere=True) == every - {collection.clips[collection.clip[0]]}
    assert names(folder="b") == {name for name in every if name.startswith("b/")}
    assert names(folder="none") == set()
    assert names(shortest_s=3.4, longest_s=4.1) == {"b/5.wav", "a/6.wav"}
    client.post("/labels", json={"clip": collection.clips.index("a/2.wav"), "label": "x"})
    assert names(label="x") == {"a/2.wav"}


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"like": [10**9]}, {"like": [-1]}, {"like": [0], "size": 7}, {"like": ["0"], "x": 1},
        {"like": [0], "top": 10**6}, {"like": [0] * 1000}, {"uploads": [99]},
    ],
)  # fmt: skip
def test_a_search_for_nonsense_is_refused(client: Any, asked: dict[str, Any]) -> None:
    assert client.post("/search", json=asked).status_code in {404, 422}


@pytest.fixture
def hearing(collection: Collection, uploads: Uploads, model_dir: Path, tmp_path: Path) -> Any:
    """A client of a server whose model brings names."""
    model = Path(shutil.copytree(model_dir, tmp_path / "model"))
    names = namer("Dog", "Bark", "Rain", size=64, fingerprint=weights_fingerprint(model))
    names.save(model / "names" / "64")
    return open_page(collection, uploads, tmp_path / "labels.csv", model=model)[0]


@pytest.mark.parametrize("step", [8192, 3])
def test_words_find_the_clips_where_their_names_are_heard(
    hearing: Any, collection: Collection, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(find, "SCORED", step)
    done = hearing.post("/words", json={"text": "dog and rain", "folder": "b"}).json()
    assert done["names"] == "Dog (and 1 below) + Rain"
    dog, bark, rain = 1 / (1 + np.exp(-collection.search.vectors[:, :3].astype(float).T))
    scores = np.sqrt(np.maximum(dog, bark) * rain)
    expected = []
    for clip, name in enumerate(collection.clips):
        if name.startswith("b/"):
            rows = collection.rows_of(clip)
            row = int(rows[scores[rows].argmax()])
            heard = "Dog + Rain" if dog[row] >= bark[row] else "Bark + Rain"
            expected.append((scores[row], row, name, heard))
    expected.sort(reverse=True)
    found = done["found"]
    assert [(sound["seconds"][0]["row"], sound["name"], sound["heard"]) for sound in found] == [
        each[1:] for each in expected
    ]
    np.testing.assert_allclose(
        [sound["similarity"] for sound in found], [each[0] for each in expected]
    )
    assert hearing.post("/words", json={"text": "dog", "folder": "none"}).json()["found"] == []


def test_words_that_nothing_is_called_by_are_said(hearing: Any, client: Any) -> None:
    done = hearing.post("/words", json={"text": "ran"})
    assert (done.status_code, done.json()) == (422, {"detail": "no name for 'ran'; near: rain"})
    for asked in ({}, {"text": "x" * 201}, {"text": "dog", "like": [0]}, {"text": "dog", "top": 0}):
        assert hearing.post("/words", json=asked).status_code == 422
    assert (
        hearing.post("/words", json={"text": "dog"}, headers={"Origin": "null"}).status_code == 403
    )
    done = client.post("/words", json={"text": "dog"})
    assert done.status_code == 422
    assert "this model brings no names" in done.json()["detail"]


def test_a_name_is_found_by_any_words_of_its_path(tmp_path: Path, uploads: Uploads) -> None:
    names = [
        "Fields/Skylark 2.wav", "Fields/skylark 10.wav", "Fields/2024/Wren.wav",
        "harbour/BOAT-skylark.wav", "harbour/Gr\u00fc\u00dfe.wav", "rain.wav",
    ]  # fmt: skip
    table = write_table_of(
        tmp_path / "emb", {name: np.eye(4, dtype=np.float32) for name in names}, root=tmp_path
    )
    client, _ = open_page(Collection(table), uploads, tmp_path / "labels.csv")

    def found(text: str, **more: Any) -> list[str]:
        answer = client.post("/named", json={"text": text, **more}).json()
        assert answer["total"] >= len(answer["found"])
        return [sound["name"] for sound in answer["found"]]

    assert found("skylark") == [names[0], names[1], names[3]]  # 2 before 10
    assert found("SKY  field") == [names[0], names[1]]
    assert found("wav wren") == [names[2]]
    assert found("gru\u0308sse") == [names[4]]
    assert found("nothing") == []
    assert found("") == [names[2], *names[:2], *names[3:]]
    assert found("", offset=1, top=2) == names[:2]
    assert found("skylark", folder="harbour") == [names[3]]
    [wren] = client.post("/named", json={"text": "wren"}).json()["found"]
    assert wren["similarity"] is None
    assert [card["start_s"] for card in wren["seconds"]] == [0, 1, 2, 3]


def test_what_is_found_comes_a_page_at_a_time_in_any_order(
    client: Any, collection: Collection
) -> None:
    def found(**asked: Any) -> list[dict[str, Any]]:
        answer = client.post("/search", json={"like": [0], **asked}).json()
        assert answer["total"] == 8
        return list(answer["found"])

    for sort, key in (
        ("best", lambda sound: -sound["similarity"]),
        ("longest", lambda sound: -sound["duration_s"]),
        ("shortest", lambda sound: sound["duration_s"]),
        ("name", lambda sound: sound["name"]),
        ("folder", lambda sound: (sound["name"].rpartition("/")[0], -sound["similarity"])),
    ):
        whole = found(sort=sort)
        assert whole == sorted(whole, key=key), sort
        pages = [found(sort=sort, top=3, offset=offset) for offset in (0, 3, 6, 9)]
        assert [sound for page in pages for sound in page] == whole
    assert client.post("/search", json={"like": [0], "sort": "worst"}).status_code == 422
