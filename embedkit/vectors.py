"""Vector operations that several back-ends share."""

import numpy as np
from numpy.typing import NDArray


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors [n, D] scaled to length 1; a vector of zeros stays as it is."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.floating] = vectors / np.maximum(norms, 1e-12)
    return scaled.astype(np.float32, copy=False)
