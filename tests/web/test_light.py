"""The explorer's server is light: what a task takes is loaded when somebody asks for it."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np

from embedkit.web import picture

HEAVY = ["faiss", "matplotlib", "onnxruntime", "sklearn", "torch", "umap"]

# Serves a page, a search by sounds and by name, a sound and its path, and tells what is loaded.
WORK = """
import json, sys
from pathlib import Path
from pages import open_page
from embedkit.store import EmbeddingTable
from embedkit.web.collection import Collection
from embedkit.web.serving import Server
from embedkit.web.uploads import Uploads
folder = Path(sys.argv[1])
table = EmbeddingTable.open(folder / "emb")
client, stranger = open_page(Collection(table), Uploads(table.provenance), folder / "l.csv")
codes = [stranger.get("/api/collection"), client.post("/search", json={"like": [0]}),
         client.post("/named", json={"text": "wav"}), client.get("/audio/0"),
         client.get("/path/0"), client.get("/labels"), client.get("/points/pca"),
         client.get("/plane")]
assert {done.status_code for done in codes} == {200}
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_what_is_not_asked_for_is_not_loaded(folder: Path) -> None:
    paths = [str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{WORK}", folder],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(HEAVY) & set(json.loads(done.stdout)) == set()


def test_a_spectrogram_is_the_picture_that_matplotlib_draws(make_sound: Any) -> None:
    samples = make_sound(3.0, picture.RATE, seed=3)
    found = mpl.image.imread(io.BytesIO(picture.spectrogram(samples)))
    features = picture.LogMel(picture.SPEC)(samples[None])[0, 0].T[::-1]
    stream = io.BytesIO()
    mpl.image.imsave(
        stream, features, cmap="magma", vmin=np.percentile(features, 5), vmax=features.max(),
        format="png",
    )  # fmt: skip
    expected = mpl.image.imread(io.BytesIO(stream.getvalue()))
    assert found.shape[:2] == expected.shape[:2]
    same = np.abs(found[..., :3] - expected[..., :3]).max(axis=2) < 1 / 255
    assert same.mean() > 0.999  # but for rounding, to a colour next to it
    np.testing.assert_allclose(found[..., :3], expected[..., :3], atol=0.05)


def test_silence_and_a_click_are_pictures_too() -> None:
    for samples in (np.zeros(0, np.float32), np.zeros(5000, np.float32), np.ones(1, np.float32)):
        found = mpl.image.imread(io.BytesIO(picture.spectrogram(samples)))
        assert found.shape[0] == picture.SPEC.bands
