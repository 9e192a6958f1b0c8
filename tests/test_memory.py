"""Batches that do not fit: embedded in smaller ones, with the same vectors."""

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from numpy.typing import NDArray

from embedkit import Extractor
from embedkit.datasets import Manifest
from embedkit.errors import EmbedkitError
from embedkit.memory import Fitting, is_short
from embedkit.models.module import ExtractorModule
from embedkit.runtime import Runtime, prepare
from embedkit.runtime.embedder import GraphEmbedder
from embedkit.training.trainer import Trainer

Vectors = NDArray[np.float32]
OUT = "CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation"


def up_to(most: int, sizes: list[int]) -> Callable[[Vectors], Vectors]:
    """A network that has room for so many segments; each row's result is its own."""

    def network(batch: Vectors) -> Vectors:
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError(OUT)
        return 2 * batch[:, :3]

    return network


@pytest.mark.parametrize("most", [1, 2, 5, 9, 10, 64])
def test_a_batch_is_halved_until_it_fits_and_stays_so(
    most: int, caplog: pytest.LogCaptureFixture
) -> None:
    fitting, sizes = Fitting(), list[int]()
    batch = np.random.default_rng(0).standard_normal((10, 8)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        for part in (batch, batch, batch[:7], batch[:0]):
            np.testing.assert_array_equal(fitting.run(up_to(most, sizes), part), 2 * part[:, :3])
    failed = [size for size in sizes if size > most]
    halvings = {1: [10, 5, 3, 2], 2: [10, 5, 3], 5: [10], 9: [10], 10: [], 64: []}
    assert failed == halvings[most]  # of the first batch alone
    assert [size for size in sizes if 0 < size <= most][-1] == min(
        {1: 1, 2: 1, 5: 2, 9: 2, 10: 7, 64: 7}[most], 7
    )  # what is left of seven
    assert len(caplog.records) == (most < 10)


def test_what_a_failed_batch_holds_is_given_back_before_the_next_is_tried() -> None:
    class Held(np.ndarray):
        pass

    held: list[weakref.ref[Held]] = []

    def network(batch: Vectors) -> Vectors:
        assert all(one() is None for one in held)
        taken = np.zeros(4).view(Held)
        held.append(weakref.ref(taken))
        if len(batch) > 1:
            raise torch.OutOfMemoryError(OUT)
        return batch

    gc.disable()
    try:
        Fitting().run(network, np.zeros((4, 2), np.float32))
    finally:
        gc.enable()
    assert len(held) == 6  # 4, 2, and four of one


def test_one_segment_that_does_not_fit_is_an_error_and_other_errors_are_their_own() -> None:
    with pytest.raises(EmbedkitError, match=r"for one segment: CUDA out .* 2.00 GiB.; end what"):
        Fitting().run(up_to(0, []), np.zeros((4, 8), np.float32))

    def broken(batch: Vectors) -> Vectors:
        raise RuntimeError("an illegal memory access")

    with pytest.raises(RuntimeError, match="illegal"):
        Fitting().run(broken, np.zeros((4, 8), np.float32))


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError(OUT), True),
        (MemoryError(), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (
            RuntimeError(
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while"
                " running Conv node. bfc_arena.cc:376 Failed to allocate memory for requested"
                " buffer of size 939524096"
            ),
            True,
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("the memory of elephants"), False),
    ],
)
def test_what_says_that_memory_is_short(error: Exception, short: bool) -> None:
    assert is_short(error) == short


@pytest.mark.parametrize("runtime", [Runtime.ONNX, Runtime.TORCH, Runtime.TORCH_BF16])
def test_every_runtime_embeds_what_does_not_fit_at_once(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime
) -> None:
    segments = 0.1 * np.random.default_rng(0).standard_normal((10, 16000)).astype(np.float32)
    expected = prepare(model_dir, runtime=runtime).start(1).embed_segments(segments)
    assert np.abs(expected).max() > 0.01
    tried: list[int] = []
    if runtime is Runtime.ONNX:
        network = GraphEmbedder._network

        def short(embedder: GraphEmbedder, features: Vectors) -> Vectors:
            tried.append(len(features))
            if len(features) > 4:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 9")
            return network(embedder, features)

        monkeypatch.setattr(GraphEmbedder, "_network", short)
    else:
        normalise = ExtractorModule.normalise

        def short_too(module: ExtractorModule, features: torch.Tensor) -> torch.Tensor:
            tried.append(len(features))
            if len(features) > 4:
                raise torch.OutOfMemoryError(OUT)
            return normalise(module, features)

        monkeypatch.setattr(ExtractorModule, "normalise", short_too)
    extractor = Extractor.load(model_dir, runtime=runtime)
    found = extractor.embed_segments(segments)
    assert tried == [10, 5, 3, 3, 3, 1]
    tolerance = 1e-2 if runtime is Runtime.TORCH_BF16 else 1e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_a_training_that_does_not_fit_names_the_size_of_its_batches(
    tmp_path: Path, chirps: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(trainer: Trainer, batch: torch.Tensor) -> float:
        raise torch.OutOfMemoryError(OUT)

    monkeypatch.setattr(Trainer, "step", step)
    lines = ["path,label", *(f"{clip.path},{clip.labels[0]}" for clip in chirps.clips)]
    (tmp_path / "meta.csv").write_text("\n".join(lines))
    arguments = ("--model", "mlp", "--batch-size", 4, "--epochs", 1, "--out", tmp_path / "model")
    done = run("train", tmp_path / "meta.csv", *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "embedkit: there is too little memory on cpu to train with batches of 4 segments: CUDA out"
        " of memory. Tried to allocate 2.00 GiB.; choose a smaller one with --batch-size, or end"
        " what else uses the device"
    )
