"""A UMAP that is quick and known: points stand at the first two numbers of their directions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FAKE = """
class UMAP:
    def __init__(self, *, tqdm_kwds, **_):
        self.said = tqdm_kwds["file"]

    def fit_transform(self, directions):
        self.said.write("\\r1/2")
        {then}
        return directions[:, :2]
"""


def fake_umap(folder: Path, then: str = "pass") -> Path:
    """A folder with the module; `then` is done half-way."""
    folder.mkdir()
    (folder / "umap.py").write_text(FAKE.format(then=then))
    return folder


def laid_out(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where it puts them, from -1 to 1 but for a few far ones."""
    points = vectors[:, :2] / np.linalg.norm(vectors, axis=1, keepdims=True)
    low, high = (np.percentile(points[:, axis], [0.5, 99.5]) for axis in (0, 1))
    corners = np.array([low, high]).T
    span = (corners[1] - corners[0]).max()
    return np.clip((points - corners.mean(axis=0)) * 2 / span, -1.2, 1.2)
