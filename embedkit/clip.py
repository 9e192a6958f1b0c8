"""A clip's vector from its samples, in constant memory."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.audio.decode import Samples
from embedkit.audio.segments import BATCH, cut, in_batches, stack
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError
from embedkit.extractor import Extractor
from embedkit.runtime import Embedder


def clip_vector(
    embedder: Embedder, blocks: Iterable[Samples], spec: SegmentSpec, sample_rate: int
) -> tuple[NDArray[np.float32] | None, AudioError | None]:
    """Embed a stream of samples, in constant memory.

    Args:
        embedder: of segments.
        blocks: mono samples at `sample_rate`; where they raise AudioError, the clip ends.
        spec: how it is cut.
        sample_rate: of the embedder.

    Returns:
        float32 [D], or None if there is no sample; and what ended the stream early.
    """
    total: NDArray[np.float64] | None = None
    damage: AudioError | None = None
    try:
        for batch in in_batches(cut(blocks, spec, sample_rate), BATCH):
            seconds = [segment.end_s - segment.start_s for segment in batch]
            vectors = embedder.embed_segments(stack(batch))
            total = scoring.no_sums(1, vectors.shape[1]) if total is None else total
            scoring.add(total, vectors, seconds)
    except AudioError as error:
        damage = error
    return None if total is None else scoring.means(total)[0].astype(np.float32), damage


def embed_clip(extractor: Extractor, waveform: Samples) -> NDArray[np.float32]:
    """The vector float32 [D] of a waveform float32 [samples] at the extractor's rate."""
    config = extractor.config
    vector, _ = clip_vector(extractor, [waveform], config.segments, extractor.sample_rate)
    assert vector is not None, "an empty waveform"
    return vector
