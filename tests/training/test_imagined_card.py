"""No tensor is left on the CPU where the rest is on a card: torch tells without computing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from embedkit.config import FeatureSpec, FrontEnd
from embedkit.models.build import build_model
from embedkit.models.features import front_end
from embedkit.models.table import MODELS, resolve
from embedkit.recipe import DistilSpec
from embedkit.training import fresh
from embedkit.training.lessons import mfcc_statistics


@pytest.fixture(autouse=True)
def _imagined() -> Iterator[None]:
    """Tensors without numbers; two of them on different devices cannot be added."""
    with FakeTensorMode():
        yield


def test_an_imagined_card_refuses_a_tensor_of_the_cpu() -> None:
    with pytest.raises(RuntimeError, match="cpu"):
        torch.zeros(2, device="cuda") + torch.zeros(2)


@pytest.mark.parametrize("kind", list(FrontEnd))
def test_a_front_end(kind: FrontEnd) -> None:
    features = front_end(FeatureSpec(kind=kind)).to("cuda")(torch.zeros(2, 16000, device="cuda"))
    assert (features.device.type, len(features)) == ("cuda", 2)


# cuDNN would ask a card about those that are recurrent.
@pytest.mark.parametrize("name", [name for name in MODELS if name not in {"lstm", "b-gru-att"}])
def test_a_network(name: str, narrow: None) -> None:
    with torch.device("cuda"):
        network = build_model(resolve(name))
    for output in network(torch.zeros(4, 1, 101, 64, device="cuda")):
        assert output.device.type == "cuda"


class Pool:
    """Two sounds."""

    starts, lengths = np.array([0, 16000, 40000]), np.array([16000, 24000])

    def open(self) -> np.ndarray:
        return np.zeros(40000, np.int16)


class Generator:
    """One of a card can be made on a card alone."""

    def __init__(self, device: Any) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        return None


def test_scenes_and_what_is_learned_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def some(draw: fresh.Draw, count: int, share: float) -> Tensor:
        return torch.arange(count // 2, device=draw._device)  # how many is a number

    monkeypatch.setattr(fresh.torch, "Generator", Generator)
    monkeypatch.setattr(fresh.Draw, "some", some)
    monkeypatch.setattr(fresh, "_fits", lambda samples, device: True)
    pool: Any = Pool()
    spec = DistilSpec(segments=8, batch_size=8, learning_rate=1.0)
    scenes = fresh.FreshScenes(
        pool, np.ones(2), spec, sample_rate=16000, segment=16000, device="cuda"
    )
    drawn = scenes.draw(1, 8)
    features = front_end(FeatureSpec()).to("cuda")(drawn)
    assert mfcc_statistics(features).device.type == "cuda"
