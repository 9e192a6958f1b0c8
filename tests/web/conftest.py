from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import run
from pages import MARKUP, open_page

from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection
from embedkit.web.uploads import Uploads


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, write_audio: Any, make_sound: Any
) -> Path:
    """Nine sounds in two folders, one of them damaged and one with markup for a name."""
    root = tmp_path_factory.mktemp("explorer")
    for number in range(8):
        sound = 0.3 * make_sound(1.0 + 0.5 * number, seed=number)
        name = MARKUP if number == 7 else f"{'ab'[number % 2]}/{number}.wav"
        write_audio(root / "audio" / name, sound)
    (root / "audio" / "bad.wav").write_bytes(b"RIFF")
    run("extract", root / "audio", "--model", model_dir, "--out", root / "emb", "--hop", "0.5")
    return root


@pytest.fixture(scope="module")
def collection(folder: Path) -> Collection:
    return Collection(EmbeddingTable.open(folder / "emb"))


@pytest.fixture(scope="module")
def uploads(collection: Collection) -> Iterator[Uploads]:
    found = Uploads(collection.table.provenance)
    yield found
    found.close()


@pytest.fixture
def client(collection: Collection, uploads: Uploads, tmp_path: Path) -> Any:
    """Asks by the edition: its addresses are below `/api/<edition>`."""
    return open_page(collection, uploads, tmp_path / "labels.csv")[0]


@pytest.fixture
def stranger(collection: Collection, uploads: Uploads, tmp_path: Path) -> Any:
    """The same server, by whole addresses."""
    return open_page(collection, uploads, tmp_path / "labels.csv")[1]
