"""embedkit in scikit-learn: paths of sounds in, vectors out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from embedkit.audio.decode import decode
from embedkit.config import DEFAULT_MODEL
from embedkit.errors import AudioError, Kind, UsageError
from embedkit.extractor import Extractor, embed_stream


class EmbeddingTransformer(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Embeds each file by the mean of its segments' vectors.

    It learns nothing from the files; `fit` reads the model. A Pipeline's `memory` keeps the vectors
    while a search goes through classifiers.

    Attributes:
        model: a model folder, or a name as `Extractor.load` takes it; None: embedkit's own.
        dim: size of the embedding, where the model was trained for several.
        device: where torch computes.
    """

    def __init__(
        self, model: str | Path | None = None, dim: int | None = None, device: str = "cpu"
    ) -> None:
        self.model = model
        self.dim = dim
        self.device = device

    def fit(self, X: Sequence[str | Path], y: object = None) -> Self:
        """Load the model.

        Args:
            X: paths of audio files.
            y: is not looked at.

        Raises:
            ModelFolderError: it is not a model folder.
            UsageError: X is not a list of paths.
        """
        _paths(X)
        self.extractor_ = Extractor.load(self.model or DEFAULT_MODEL, self.device, dim=self.dim)
        self._n_features_out = self.extractor_.embedding_size
        return self

    def transform(self, X: Sequence[str | Path]) -> NDArray[np.float32]:
        """Embed files.

        Args:
            X: paths of audio files [n].

        Returns:
            float32 [n, D].

        Raises:
            AudioError: a file cannot be decoded to its end: every row of X must become one here.
                `embedkit extract` goes on and reports instead.
            UsageError: X is not a list of paths.
        """
        check_is_fitted(self)
        return np.stack([self._embed(path) for path in _paths(X)])

    def _embed(self, path: Path) -> NDArray[np.float32]:
        extractor = self.extractor_
        rate = extractor.sample_rate
        blocks = decode(path, rate)
        vector, damage = embed_stream(extractor, blocks, extractor.segments, rate)
        if vector is None or damage is not None:
            kind = damage.kind if damage is not None else Kind.EMPTY
            raise AudioError(kind, f"{path}: {damage or 'holds no sample'}")
        return vector

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


def _paths(X: Sequence[str | Path]) -> list[Path]:
    if isinstance(X, str | Path):
        raise UsageError(f"expected a list of paths, found a single one: {X}")
    paths = list(X)
    odd = next((x for x in paths if not isinstance(x, str | Path)), None)
    if odd is not None or not paths:
        found = "none" if odd is None else f"a {type(odd).__name__}"
        raise UsageError(f"expected a list of paths, found {found} in it")
    return [Path(x) for x in paths]
