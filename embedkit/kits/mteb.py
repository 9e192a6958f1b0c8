"""embedkit for MTEB and MAEB: an encoder of their audio tasks (needs `embedkit[mteb]`)."""

from pathlib import Path
from typing import Any

import numpy as np
import soxr
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from numpy.typing import NDArray

from embedkit.checkpoint import count_parameters, fingerprint
from embedkit.config import DEFAULT_MODEL
from embedkit.errors import UsageError
from embedkit.extractor import Extractor
from embedkit.runtime.installed import name_of, resolve


class EmbedkitEncoder(AbsEncoder):
    """A model folder, or one of embedkit's own models, as `mteb.evaluate` takes it."""

    def __init__(
        self,
        model_name: str = str(DEFAULT_MODEL),
        revision: str | None = None,
        *,
        device: str = "cpu",
        dim: int | None = None,
    ) -> None:
        """Load a model.

        Args:
            model_name: a model folder, or the name of one of embedkit's own models.
            revision: the name under which MTEB stores the results, and finds them again; by default
                the beginning of the weights' fingerprint.
            device: where torch computes.
            dim: size of the embedding, where the model was trained for several.

        Raises:
            ModelFolderError: it is no model folder.
        """
        folder = resolve(Path(model_name))
        self.model = Extractor.load(folder, device, dim=dim)
        size = self.model.embedding_size
        self.mteb_model_meta = ModelMeta(
            loader=None,
            name=f"embedkit/{name_of(folder)}-{size}",
            revision=revision or fingerprint(folder)[:12],
            release_date=None,
            languages=None,
            n_parameters=count_parameters(folder),
            memory_usage_mb=None,
            max_tokens=None,
            embed_dim=size,
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=False,
            training_datasets=None,
            modalities=["audio"],
        )

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        """Embed the clips of an MTEB data loader.

        Args:
            inputs: batches with the column `audio`: arrays and their sampling rates.

        Returns:
            float32 [clips, D]: the mean vector of each clip's segments.

        Raises:
            UsageError: the batches have no audio.
        """
        vectors = []
        for batch in inputs:
            if "audio" not in batch:
                raise UsageError(f"this model takes audio, but the task has {', '.join(batch)}")
            vectors += [self._embed(item) for item in batch["audio"]]
        return np.stack(vectors)

    def _embed(self, item: Any) -> NDArray[np.float32]:
        samples = np.asarray(item["array"], np.float32)
        if samples.ndim == 2:  # [channels, samples]
            samples = samples.mean(axis=0)
        rate = item["sampling_rate"]
        if rate != self.model.sample_rate:
            samples = soxr.resample(samples, rate, self.model.sample_rate)
        vector: NDArray[np.float32] = self.model.embed_clip(samples)
        return vector
