"""The Python of the README and of the pages is run as it stands."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from embedkit.config import DEFAULT_MODEL
from embedkit.export import export
from embedkit.extraction import extract

ROOT = Path(__file__).parent.parent
# In this order: what one defines the next may use.
PAGES = (
    "docs/reference/python.md", "docs/guides/train.md", "docs/guides/extractor.md",
    "docs/reference/tools.md", "README.md",
)  # fmt: skip


def test_the_python_of_readme_and_pages_runs(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    waveform = (0.1 * rng.standard_normal(40000)).astype(np.float32)
    (tmp_path / "demo" / "audio").mkdir(parents=True)
    soundfile.write(tmp_path / "demo/audio/one.wav", waveform, 16000, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)
    extract(Path("demo/audio"), DEFAULT_MODEL, Path("demo/embeddings"))
    soundfile.write("demo/audio/two.wav", -waveform[::-1], 16000)  # after that: `demo` stays of one

    shutil.copytree("demo/audio", "sounds")
    shutil.copy("demo/audio/one.wav", "rooster.wav")
    Path("labels.csv").write_text("path,label\none.wav,low\ntwo.wav,high\n")
    shutil.copytree(model_dir, "model")
    export(Path("model"), Path("model.onnx"))

    names: dict[str, Any] = {"waveform": waveform, "__name__": "__main__"}
    for name in ("datasets", "duckdb", "onnxruntime", "pandas", "polars", "torch"):
        names[name] = pytest.importorskip(name)
    monkeypatch.setattr(names["datasets"].config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
            exec(block, names)

    assert (names["run"].files, names["run"].rows) == (2, 6)
    # What it calls the clip's vector is the mean of what it calls the waveform's vectors.
    weights = np.array([1, 1, 0.5])
    expected = np.average(names["extractor"].embed(waveform), axis=0, weights=weights)
    np.testing.assert_allclose(names["means"][0], expected, atol=1e-3)
    assert names["clips"] == ["one.wav", "two.wav"]
    np.testing.assert_allclose(names["scenes"][0], expected, atol=1e-3)
    assert names["frames"].shape == (1, 25, 256)
    assert names["model"].predict(["sounds/one.wav"]).tolist() == ["low"]


def test_every_page_with_python_is_run() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = {path for path in pages if "```python\n" in path.read_text()}
    assert found == {ROOT / page for page in PAGES}


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    for path, anchor in re.findall(r"\]\((?!https?://)([^)#]+)(?:#([^)]+))?\)", text):
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in anchors((ROOT / path).read_text()), f"{path}#{anchor}"


def anchors(text: str) -> set[str]:
    """Those of a text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
