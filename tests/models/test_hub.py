"""Models of the Hugging Face Hub, in a cache laid out as the Hub's own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedkit import Extractor
from embedkit.config import DEFAULT_MODEL
from embedkit.errors import ModelFolderError
from embedkit.models.hub import download, push_to_hub

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture
def cache(
    tmp_path: Path, save_model: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Two commits of user/name: the branch main is the second, the tag v1 the first."""
    place = tmp_path / "models--user--name"
    for commit, seed in ((OLD, 0), (NEW, 1)):
        shutil.copytree(save_model(seed), place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(NEW)
    (place / "refs" / "v1").write_text(OLD)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def same(first: Extractor, second: Extractor) -> bool:
    sound = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    return bool(np.array_equal(first.embed(sound), second.embed(sound)))


def test_a_revision_names_the_weights(cache: Path, save_model: Callable[[int], Path]) -> None:
    place = cache / "models--user--name" / "snapshots"
    assert download("user/name").name == NEW
    for revision, commit in ((None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD)):
        found = Extractor.from_pretrained("user/name", revision)
        assert same(found, Extractor.load(place / commit))
    assert not same(Extractor.from_pretrained("user/name", "v1"), Extractor.load(place / NEW))


def test_a_folder_is_a_name_too(cache: Path) -> None:
    folder = cache / "models--user--name" / "snapshots" / OLD
    assert same(Extractor.from_pretrained(folder), Extractor.load(folder))


@pytest.mark.parametrize(
    ("name", "revision"), [("user/other", None), ("user/name", "v2"), ("no such/name", None)]
)
def test_what_cannot_be_had_is_said(cache: Path, name: str, revision: str | None) -> None:
    with pytest.raises(ModelFolderError, match="cannot be fetched from the Hub: "):
        Extractor.from_pretrained(name, revision)


def test_a_folder_is_published_without_what_is_not_the_model(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {}

    class Api:
        def create_repo(self, repo: str, **options: object) -> None:
            sent["repo"] = (repo, options)

        def upload_folder(self, **options: object) -> SimpleNamespace:
            sent.update(options)
            return SimpleNamespace(commit_url="https://the.hub/user/new/commit/1")

    monkeypatch.setattr(hub, "HfApi", Api)
    folder = cache / "models--user--name" / "snapshots" / OLD
    assert push_to_hub(folder, "user/new", private=True).endswith("commit/1")
    assert sent["repo"] == ("user/new", {"private": True, "exist_ok": True})
    assert sent["folder_path"] == folder
    assert {"config.json", "model.safetensors", "network.onnx", "README.md"} <= set(
        sent["allow_patterns"]
    )
    with pytest.raises(ModelFolderError, match="not a model folder"):
        push_to_hub(tmp_path, "user/new")


def test_the_card_has_the_metadata_that_the_hub_reads() -> None:
    card = hub.ModelCard.load(DEFAULT_MODEL / "README.md")
    assert card.data.library_name == "embedkit"
    assert card.data.license == "cc-by-sa-4.0"
    assert "pytorch_model_hub_mixin" in card.data.tags
    assert card.data.pipeline_tag == "feature-extraction"
