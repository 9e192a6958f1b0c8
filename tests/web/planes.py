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
    """Where it puts them, from -1 to 1: none of them is far out."""
    points = vectors[:, :2] / np.linalg.norm(vectors, axis=1, keepdims=True)
    span = max(points[:, axis].max() - points[:, axis].min() for axis in (0, 1))
    return (points - (points.max(axis=0) + points.min(axis=0)) / 2) * 2 / span
