"""The demo, made small: every step leaves what it promises, and a second run keeps it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from embedkit import demo
from embedkit.errors import UsageError
from embedkit.models.extractor import Extractor
from embedkit.store import EmbeddingTable


def test_the_demo_leaves_audio_model_embeddings_and_a_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = partial(demo.write_collection, clips_per_class=2, folds=2)
    monkeypatch.setattr(demo, "write_collection", small)
    monkeypatch.setattr(demo, "RECIPE", replace(demo.RECIPE, epochs=1))
    out = tmp_path / "demo"
    done = demo.run_demo(out)

    table = EmbeddingTable.open(out / "embeddings")
    assert done.clips == len(table.journal) == 24
    assert len(done.evaluation.clips) == 12  # one of the two folds
    assert done.query in done.evaluation.clips
    assert done.query not in {hit.clip for hit in done.hits}
    assert Extractor.load(out / "model").config.training.hold_out_fold == demo.FOLD
    page = (out / "report.html").read_text()
    assert all(hit.clip in page for hit in done.hits)
    assert "embedkit extract my_sounds" in page

    weights = (out / "model" / "model.safetensors").stat().st_mtime_ns
    again = demo.run_demo(out)
    assert again.hits == done.hits
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_the_demo_does_not_write_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not empty"):
        demo.run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
