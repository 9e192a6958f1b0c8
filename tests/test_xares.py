"""X-ARES's encoder: its attributes and shapes, and the vectors against HEAR's."""

import numpy as np
import pytest
import torch

from embedkit import hear
from embedkit.errors import UsageError
from embedkit.xares import EmbedkitEncoder


@pytest.fixture(scope="module")
def encoder() -> EmbedkitEncoder:
    return EmbedkitEncoder()


def test_it_is_an_encoder_as_the_kit_finds_and_calls_it(encoder: EmbedkitEncoder) -> None:
    assert type(encoder).__name__.endswith("Encoder")
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16000, 256, 100)
    audio = 0.1 * torch.randn(3, 40000, generator=torch.Generator().manual_seed(0))
    found = encoder(audio)
    assert found.shape == (3, 25, 256)  # 2.5 s, one each 100 ms
    assert found.dtype == torch.float32
    torch.testing.assert_close(encoder(audio[1]), found[[1]])
    # Each second timestamp of HEAR's.
    vectors, _ = hear.get_timestamp_embeddings(audio, hear.load_model())
    np.testing.assert_allclose(found, vectors[:, ::2], atol=1e-5)


def test_ten_minutes_survive(encoder: EmbedkitEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder.extractor, "embed_segments", lambda part: part[:, :256])
    assert encoder(torch.zeros(600 * 16000)).shape == (1, 6000, 256)


@pytest.mark.parametrize("shape", [(0,), (1, 2, 16000)])
def test_audio_of_another_shape_is_refused(
    encoder: EmbedkitEncoder, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match=r"expected audio \[B, samples\]"):
        encoder(torch.zeros(shape))
