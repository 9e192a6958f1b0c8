"""Layers of a few units instead of thousands: the same structures, built in no time."""

import pytest


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Let networks that are built from now on have few units."""
    from embedkit.models import alexnet, mlp, recurrent, resnet

    for module, name, units in (
        (alexnet, "FULL", 300),
        (alexnet, "MAPS", (16, 24, 32, 24, 24)),
        (mlp, "UNITS", 30),
        (recurrent, "UNITS", 16),
        (recurrent, "CONTEXT", 8),
        (resnet, "WIDTH", 4),
    ):
        patch.setattr(module, name, units)
