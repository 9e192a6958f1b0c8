"""Draws a sound for the explorer: a spectrogram as a PNG."""

import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Samples
from embedkit.audio.features import LogMel
from embedkit.config import FeatureSpec
from embedkit.web.sound import RATE

SPEC = FeatureSpec(sample_rate=RATE, n_fft=2048, bands=96)
WIDEST = 1200  # pixels

# Magma, by Stéfan van der Walt and Nathaniel Smith (CC0), as matplotlib has it: 256 colours.
MAGMA = bytes.fromhex(
    "00000300000400000601000701010901010b02020d02020f03031104031304041505041706051907051b"
    "08061d09071f0a07220b08240c09260d0a280e0a2a0f0b2c100c2f110c31120d33140d35150e38160e3a"
    "170f3c180f3f1a10411b10441c10461e10491f114b20114d2211502311522511552611572811592a115c"
    "2b115e2d10602f1062301065321067341068350f6a370f6c390f6e3b0f6f3c0f713e0f72400f73420f74"
    "430f75450f76470f774810784a10794b10794d117a4f117b50127b52127c53137c55137d57147d58157e"
    "5a157e5b167e5d177e5e177f60187f61187f63197f651a80661a80681b80691c806b1c806c1d806e1e81"
    "6f1e81711f81731f817420817621817721817922817a22817c23817e24817f2481812581822581842681"
    "8526818727818928818a28818c29808d29808f2a80912a80922b80942b80952c80972c7f992d7f9a2d7f"
    "9c2e7f9e2e7e9f2f7ea12f7ea3307ea4307da6317da7317da9327cab337cac337bae347bb0347bb1357a"
    "b3357ab53679b63679b83778b93778bb3877bd3977be3976c03a75c23a75c33b74c53c74c63c73c83d72"
    "ca3e72cb3e71cd3f70ce4070d0416fd1426ed3426dd4436dd6446cd7456bd9466ada4769dc4869dd4968"
    "de4a67e04b66e14c66e24d65e44e64e55063e65162e75262e85461ea5560eb5660ec585fed595fee5b5e"
    "ee5d5def5e5df0605df1615cf2635cf3655cf3675bf4685bf56a5bf56c5bf66e5bf6705bf7715bf7735c"
    "f8755cf8775cf9795cf97b5df97d5dfa7f5efa805efa825ffb8460fb8660fb8861fb8a62fc8c63fc8e63"
    "fc9064fc9265fc9366fd9567fd9768fd9969fd9b6afd9d6bfd9f6cfda16efda26ffda470fea671fea873"
    "feaa74feac75feae76feaf78feb179feb37bfeb57cfeb77dfeb97ffebb80febc82febe83fec085fec286"
    "fec488fec689fec78bfec98dfecb8efdcd90fdcf92fdd193fdd295fdd497fdd698fdd89afdda9cfddc9d"
    "fddd9ffddfa1fde1a3fce3a5fce5a6fce6a8fce8aafceaacfcecaefceeb0fcf0b1fcf1b3fcf3b5fcf5b7"
    "fbf7b9fbf9bbfbfabdfbfcbf"
)


def spectrogram(samples: Samples) -> bytes:
    """A log-mel spectrogram as a PNG: time to the right, low bands at the foot."""
    padded = np.pad(samples, (0, max(0, SPEC.n_fft - len(samples))))
    features = _front_end()(padded[None])[0, 0].T[::-1]
    low, high = np.percentile(features, 5), max(features.max(), features.min() + 1e-3)
    shares = (features[:, :: max(1, features.shape[1] // WIDEST)] - low) / (high - low)
    return png(np.clip(shares * 256, 0, 255).astype(np.uint8), MAGMA)


def png(pixels: NDArray[np.uint8], palette: bytes) -> bytes:
    """A picture as a PNG.

    Args:
        pixels: numbers of colours [rows, columns].
        palette: three bytes for each colour.

    Returns:
        the content of the file.
    """
    rows, columns = pixels.shape
    # Each row begins with the filter that it is written with: none.
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"IDAT", zlib.compress(lines, 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@cache
def _front_end() -> LogMel:
    return LogMel(SPEC)
