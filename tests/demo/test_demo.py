"""The demo, made small: every step leaves what it promises, and a second run keeps it."""

from functools import partial
from html import escape
from pathlib import Path

import pytest

from embedkit.checkpoint import fingerprint
from embedkit.config import DEFAULT_MODEL
from embedkit.demo import run as demo
from embedkit.errors import UsageError
from embedkit.names.bundled import load_names
from embedkit.names.summary import summarise
from embedkit.names.tagging import tag_clips
from embedkit.store import EmbeddingTable


def test_the_demo_leaves_audio_embeddings_a_classifier_and_a_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = partial(demo.write_collection, clips_per_class=2, folds=2)
    monkeypatch.setattr(demo, "write_collection", small)
    out = tmp_path / "demo"
    done = demo.run_demo(out)

    table = EmbeddingTable.open(out / "embeddings")
    assert done.clips == len(table.journal) == 24
    assert len(done.evaluation.clips) == 12  # one of the two folds
    assert done.query in done.evaluation.clips
    assert done.query not in {hit.clip for hit in done.hits}
    assert table.provenance.fingerprint == fingerprint(DEFAULT_MODEL)
    page = (out / "report.html").read_text()
    assert all(hit.clip in page for hit in done.hits)
    assert "embedkit extract my_sounds" in page
    names = load_names(table)
    assert escape(str(summarise(table, names))) in page
    heard = {clip.clip: clip.spans for clip in tag_clips(table, names)}
    named = [span for hit in done.hits for span in heard[hit.clip]]
    assert all(escape(f"{span.label} {span.score:.2f}") in page for span in named)

    parts = {path: path.stat().st_mtime_ns for path in (out / "embeddings").rglob("*.parquet")}
    again = demo.run_demo(out)
    assert again.hits == done.hits
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


def test_the_demo_does_not_write_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not empty"):
        demo.run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
