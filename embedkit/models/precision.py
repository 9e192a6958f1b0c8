"""float32 as IEEE 754 means it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

backends: Any = torch.backends  # its attributes are made when it is imported

# Each may be set to less, by torch itself (cuDNN's convolutions) or by whoever imports us.
PLACES = (
    backends.cuda.matmul,
    backends.cudnn.conv,
    backends.cudnn.rnn,
    backends.mkldnn.matmul,
    backends.mkldnn.conv,
    backends.mkldnn.rnn,
)


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute in float32, not in TF32 or bfloat16, whose numbers have 10 or 7 bits.

    All float32 runtimes should give the same vectors. Afterwards the setting is as it was.
    """
    before = [place.fp32_precision for place in PLACES]
    try:
        for place in PLACES:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, precision in zip(PLACES, before, strict=True):
            place.fp32_precision = precision
