"""Training without what takes longest in it, where it is tested apart."""

import pytest

from embedkit.checkpoint import NETWORK


def unexport(patch: pytest.MonkeyPatch) -> None:
    """Let training leave an empty file where ONNX Runtime's network belongs.

    tests/models/test_every_model.py runs what training exports.
    """
    from embedkit.training import folder

    patch.setattr(folder, "write_network", lambda _, place: (place / NETWORK).touch())
