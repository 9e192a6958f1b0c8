"""Where a network is computed: what is said of a device that there is not, or not for a runtime."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import distributed

from embedkit.errors import EmbedkitError, UsageError
from embedkit.models.module import check_device
from embedkit.runtime import Program, Runtime, onnx, prepare
from embedkit.training import parallel

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def version_of_gpu_package(there: bool) -> Any:
    def version(name: str) -> str:
        if not there:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.31.1"

    return version


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (False, "this needs onnxruntime-gpu, which is not installed: pip install 'embedkit[gpu]'"),
        (True, "pip install --force-reinstall --no-deps onnxruntime-gpu"),
    ],
)
def test_an_onnx_runtime_for_cpus_alone_says_what_to_install(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, there: bool, words: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr(importlib.metadata, "version", version_of_gpu_package(there))
    with pytest.raises(UsageError, match=re.escape(words)):
        prepare(model_dir, runtime=Runtime.ONNX, device="cuda")


@pytest.mark.parametrize(
    ("runtime", "device"), [(Runtime.ONNX_INT8, "cuda"), (Runtime.ONNX, "mps")]
)
def test_what_onnx_runtime_computes_on_cpus_alone_is_refused(
    model_dir: Path, runtime: Runtime, device: str
) -> None:
    with pytest.raises(UsageError, match=rf"{runtime} does not compute on {device}.* choose torch"):
        prepare(model_dir, runtime=runtime, device=device)


class Session:
    """As ONNX Runtime makes it, where a library of CUDA is missing or where none is."""

    def __init__(self, graph: bytes, options: Any, **given: Any) -> None:
        self.given = given
        self.works = graph == b"works"

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self.works else [CPU]


def test_a_session_on_a_card_computes_in_float32_and_never_goes_to_the_cpu_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    session: Any = onnx.open_session(b"works", 1, "cuda:1")
    [(name, card), last] = session.given["providers"]
    assert (name, last, session.given["enable_fallback"]) == (CUDA, CPU, 0)
    assert (card["device_id"], card["use_tf32"]) == ("1", "0")
    with pytest.raises(EmbedkitError, match="cannot compute on cuda:0: it finds no card, or not"):
        onnx.open_session(b"does not", 1, "cuda:0")
    on_cpu: Any = onnx.open_session(b"works", 1)
    assert on_cpu.given["providers"] == [CPU]


def test_the_two_halves_of_a_program_are_the_whole(model_dir: Path) -> None:
    segments = 0.1 * np.random.default_rng(0).standard_normal((3, 16000)).astype(np.float32)
    for runtime in (Runtime.ONNX, Runtime.TORCH):
        program = prepare(model_dir, runtime=runtime)
        expected = program.start(1).embed_segments(segments)
        found = program.start_network(1)(program.front_end()(segments))
        np.testing.assert_array_equal(found, expected)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of two cards that torch is made to believe in."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(("set", device)))
    return asked


def test_a_card_is_known_by_its_number_before_a_context_is_opened(
    two_cards: list[tuple[Any, ...]], model_dir: Path
) -> None:
    for name in ("cuda", "cuda:0", "cuda:1"):
        check_device(name)  # a tensor could not be made here
    with pytest.raises(UsageError, match="'cuda:2' cannot be used here: found 2 cards"):
        check_device("cuda:2")
    program = prepare(model_dir, device="cuda")
    assert program.runtime is Runtime.TORCH
    assert [each.device for each in program.by_card()] == ["cuda:0", "cuda:1"]
    assert isinstance(program, Program)
    assert two_cards == []


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch, two_cards: list[tuple[Any, ...]]) -> list[Any]:
    """This process as the second of two that torchrun started, with what it asks in turn."""
    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))

    def join(backend: str, *, device_id: torch.device | None, **more: Any) -> None:
        two_cards.append(("join", backend, device_id))

    monkeypatch.setattr(distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(distributed, "init_process_group", join)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(parallel, "end_with_parent", lambda: None)
    monkeypatch.setattr(parallel.atexit, "register", lambda function: None)
    return two_cards


def test_a_process_of_torchrun_takes_its_card_before_anything_else(second: list[Any]) -> None:
    ranks, device = parallel.join("cuda")
    own = torch.device("cuda", 1)
    assert (ranks.rank, ranks.count, device) == (1, 2, "cuda:1")
    assert second == [("set", own), ("join", "cpu:gloo,cuda:nccl", own)]


def test_processes_of_torchrun_on_cpus_take_no_card(second: list[Any]) -> None:
    assert parallel.join("cpu")[1] == "cpu"
    assert second == [("join", "gloo", None)]


def test_two_processes_on_one_card_are_refused(
    second: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"'cuda:0' for all processes .* --device cuda gives"):
        parallel.join("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match=r"process 3 here, and there are 2 cards: .*-node 2"):
        parallel.join("cuda")
    assert second == []
