"""float32 is float32 where an extractor runs, whatever torch or its user allow elsewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from embedkit.models.module import ExtractorModule
from embedkit.models.precision import PLACES, full_float32
from embedkit.runtime import Runtime, prepare


def precisions() -> list[str]:
    return [place.fp32_precision for place in PLACES]


def allow(wanted: list[str]) -> None:
    for place, precision in zip(PLACES, wanted, strict=True):
        place.fp32_precision = precision


@pytest.fixture
def less() -> Iterator[list[str]]:
    """What a user may allow for speed."""
    before = precisions()
    allow(["tf32"] * 3 + ["bf16"] * 3)
    yield precisions()
    allow(before)


@pytest.mark.parametrize("runtime", [Runtime.TORCH, Runtime.TORCH_BF16])
def test_the_network_sees_full_float32_and_the_user_keeps_what_he_allowed(
    model_dir: Path,
    make_sound: Callable[..., np.ndarray],
    less: list[str],
    runtime: Runtime,
) -> None:
    embedder = prepare(model_dir, runtime=runtime).start(2)
    sound = make_sound(1)[None]
    seen = []
    extractor = embedder if isinstance(embedder, ExtractorModule) else embedder._module
    for part in (extractor.front_end, extractor.network.embedding):
        part.register_forward_hook(lambda *_: seen.append(precisions()))
    found = embedder.embed_segments(sound)
    assert seen == [["ieee"] * len(PLACES)] * 2
    assert precisions() == less
    assert not {"ieee", "none"} & set(less)
    allow(["ieee"] * len(PLACES))
    np.testing.assert_array_equal(embedder.embed_segments(sound), found)


def test_precision_comes_back_after_an_error() -> None:
    before = precisions()
    with pytest.raises(RuntimeError, match="out of memory"), full_float32():
        raise RuntimeError("out of memory")
    assert precisions() == before
    assert torch.backends.cudnn.allow_tf32  # torch's own default, readable as ever
