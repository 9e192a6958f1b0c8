"""Runs somebody else's extractor by torch, on any device that it knows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from embedkit.errors import ModelFolderError
from embedkit.models.onnx_graph import OnnxGraph
from embedkit.runtime.description import Description, Layout, Normalise, Pool


class ForeignModule(nn.Module):
    """Turns waveforms into embeddings and logits, as `embedkit.runtime.foreign.Foreign` does.

    Attributes:
        description: what `extractor.toml` says.
    """

    def __init__(self, description: Description) -> None:
        """Read the network.

        Raises:
            ModelFolderError: it cannot be read, is not as described, or torch cannot compute it.
        """
        super().__init__()
        self.description = description
        self._graph = OnnxGraph(
            description.read_network(),
            file=description.network,
            heard=description.input_name,
            outputs=description.outputs,
        )

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings float32 [B, E], and logits float32 [B, L] if there are any.

        Within `models.precision.full_float32` a GPU's numbers are those of a CPU. It is not checked
        whether they are finite, which would wait for the GPU.

        Args:
            waveforms: float32 [B, samples], as `Foreign.hear` takes them.

        Raises:
            ModelFolderError: the network does not take these, or does not give what is described.
        """
        heard = self._normalised(waveforms)
        layout = self.description.layout
        if layout is Layout.SAMPLES:
            each = [self._vectors(self._graph(row)) for row in heard]
            vectors = [torch.stack(rows) for rows in zip(*each, strict=True)]
        else:
            batch = heard if layout is Layout.BATCH_SAMPLES else heard[:, None]
            vectors = self._vectors(self._graph(batch))
            if len(heard) == 1:
                # Some networks squeeze away the batch of one.
                vectors = [rows[None] if rows.ndim == 1 else rows for rows in vectors]
        for name, rows in zip(self.description.outputs, vectors, strict=True):
            if rows.ndim != 2 or len(rows) != len(heard):
                raise self._wrong(f"gives {name!r} as {list(rows.shape)}, expected vectors")
        labels = self.description.labels
        if not labels:
            return vectors[0], None
        embedding, logits = vectors
        if logits.shape[1] != len(labels):
            raise self._wrong(f"gives {logits.shape[1]} logits for {len(labels)} labels")
        return embedding, logits

    def _normalised(self, waveforms: Tensor) -> Tensor:
        scaled = waveforms * self.description.scale
        if self.description.normalise is Normalise.NONE:
            return scaled
        if self.description.normalise is Normalise.PEAK:
            size = waveforms.abs().amax(1, keepdim=True)
        else:
            size = waveforms.square().mean(1, keepdim=True).sqrt()
        return scaled / size.where(size > 0, 1.0)

    def _vectors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs without the axes of a map, where they have more axes than a batch of vectors."""
        description = self.description
        most = 1 if description.layout is Layout.SAMPLES else 2
        pool = torch.amax if description.pool is Pool.MAX else torch.mean
        try:
            return [
                (
                    pool(output, description.axes)
                    if description.pool is not None and output.ndim > most
                    else output
                ).float()
                for output in outputs
            ]
        except IndexError as error:
            raise self._wrong(f"has no such axis to pool over: {error}") from error

    def _wrong(self, what: str) -> ModelFolderError:
        return ModelFolderError(f"{self.description.network}: {what}")
