"""ONNX's operators in torch, with ONNX Runtime as their oracle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign import Array, graph, network
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedkit.errors import ModelFolderError
from embedkit.models import onnx_graph
from embedkit.models.onnx_graph import OPSETS, OnnxGraph
from embedkit.models.onnx_operators import OPERATORS
from embedkit.models.precision import full_float32
from embedkit.runtime.onnx import open_session

FILE = Path("made.onnx")
Case = tuple[tuple[int, ...], list[onnx.NodeProto], dict[str, NDArray[Any]]]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def one(
    kind: str, shape: tuple[int, ...], *weights: NDArray[Any] | None, **attributes: Any
) -> Case:
    """A node that takes x, then these weights; None leaves one out."""
    names = [f"w{n}" if values is not None else "" for n, values in enumerate(weights)]
    there = {f"w{n}": values for n, values in enumerate(weights) if values is not None}
    return shape, [helper.make_node(kind, ["x", *names], ["y"], **attributes)], there


def some(shape: tuple[int, ...], *nodes: str, **weights: NDArray[Any]) -> Case:
    """Nodes written as `y = Kind(a, b)`."""
    return shape, [onnx.parser.parse_node(node) for node in nodes], weights


CONV2 = draw(6, 4, 3, 5)
NEGATIVE = "neg = Constant <value_ints = [-1]> ()"
ONNX17 = {  # of versions 13 to 17, whose reductions have their axes as an attribute
    "ReduceMean axes": one("ReduceMean", (2, 3, 4, 5), axes=[-1, 2], keepdims=1),
    "ReduceMean of all": one("ReduceMean", (2, 3), keepdims=0),
    "ReduceMax axes": one("ReduceMax", (2, 3, 4), axes=[0], keepdims=0),
    "ReduceMax of all": one("ReduceMax", (2, 3, 4)),
    "AveragePool": one("AveragePool", (2, 3, 9), kernel_shape=[4], strides=[2]),
}
ONNX18 = {
    "ReduceMean axes": one("ReduceMean", (2, 3, 4), ints(2, 1), keepdims=0),
    "ReduceMean of all": one("ReduceMean", (2, 3, 4), keepdims=0),
    "ReduceMax axes": one("ReduceMax", (2, 3, 4), ints(-2)),
    "Pad some axes": one("Pad", (2, 3, 4), ints(2, 1), None, ints(1), mode="edge"),
    "Pad last axes": one(
        "Pad", (2, 3, 4), ints(1, 2, 3, 0), np.float32(7), ints(-1, 0), mode="constant"
    ),
}
CASES: dict[str, Case] = {
    "Abs": one("Abs", (2, 3)),
    "Add": one("Add", (2, 3, 4), draw(3, 1)),
    "Sub": one("Sub", (2, 3), draw(3)),
    "Mul": one("Mul", (3, 1), draw(2, 1, 4)),
    "Div": one("Div", (2, 3), draw(2, 1)),
    "Div of whole numbers": some(
        (2, 7, 3),
        "s = Shape(x)",
        NEGATIVE,
        "m = Mul(s, neg)",
        "three = Constant <value_int = 3> ()",
        "d = Div(m, three)",
        "y = Cast <to = 1> (d)",
    ),
    "Pow": one("Pow", (2, 3), np.float32(3)),
    "Pow of a whole exponent": one("Pow", (2, 3), ints(2)),
    "MatMul": one("MatMul", (2, 3, 4), draw(4, 5)),
    "MatMul in batches": one("MatMul", (2, 1, 3, 4), draw(5, 4, 2)),
    "Gemm": one("Gemm", (3, 4), draw(5, 4), draw(5), alpha=0.5, beta=2.0, transB=1),
    "Gemm of a transposed one": one("Gemm", (4, 3), draw(4, 5), draw(3, 1), transA=1),
    "Gemm without a bias": one("Gemm", (3, 4), draw(4, 5), alpha=3.0),
    "Conv of one axis": one("Conv", (2, 4, 40), draw(6, 4, 5), draw(6), strides=[3]),
    "Conv of two": one("Conv", (2, 4, 9, 11), CONV2, draw(6), pads=[1, 2, 1, 2], strides=[2, 1]),
    "Conv of three": one("Conv", (1, 2, 5, 6, 7), draw(3, 2, 2, 3, 2)),
    "Conv with uneven pads": one("Conv", (2, 4, 9, 11), CONV2, pads=[0, 3, 1, 0]),
    "Conv with holes": one("Conv", (2, 4, 9, 16), CONV2, dilations=[2, 3], kernel_shape=[3, 5]),
    "Conv in groups": one("Conv", (2, 4, 12), draw(8, 2, 3), group=2, pads=[1, 1]),
    "Conv, depthwise": one("Conv", (2, 4, 12), draw(4, 1, 3), draw(4), group=4),
    "Conv, valid": one("Conv", (2, 4, 9, 11), CONV2, auto_pad="VALID"),
    "BatchNormalization": one(
        "BatchNormalization", (2, 3, 4), draw(3), draw(3, seed=1), draw(3, seed=2),
        np.abs(draw(3)), epsilon=0.1,
    ),
    "MaxPool": one("MaxPool", (2, 3, 9), kernel_shape=[3], strides=[2]),
    "MaxPool with pads": one(
        "MaxPool", (2, 3, 8, 9), kernel_shape=[3, 2], pads=[1, 0, 0, 1], dilations=[2, 1]
    ),
    "AveragePool with pads": one(
        "AveragePool", (2, 3, 8, 9), kernel_shape=[3, 2], pads=[1, 0, 0, 1], strides=[2, 2]
    ),
    "AveragePool that counts pads": one(
        "AveragePool", (2, 3, 9), kernel_shape=[3], pads=[1, 1], count_include_pad=1
    ),
    "GlobalAveragePool": one("GlobalAveragePool", (2, 3, 4, 5)),
    "Relu": one("Relu", (2, 3)),
    "LeakyRelu": one("LeakyRelu", (2, 3)),
    "LeakyRelu, stated": one("LeakyRelu", (2, 3), alpha=0.3),
    "HardSwish": one("HardSwish", (50, 3)),
    "HardSigmoid": one("HardSigmoid", (50, 3)),
    "HardSigmoid, stated": one("HardSigmoid", (50, 3), alpha=0.7, beta=0.3),
    "Sigmoid": one("Sigmoid", (2, 3)),
    "Softmax": one("Softmax", (2, 3, 4)),
    "Softmax of an axis": one("Softmax", (2, 3, 4), axis=1),
    "Tanh": one("Tanh", (2, 3)),
    "Erf": one("Erf", (2, 3)),
    "Exp": one("Exp", (2, 3)),
    "Log": some((2, 3), "p = Abs(x)", "y = Log(p)"),
    "Sqrt": some((2, 3), "p = Abs(x)", "y = Sqrt(p)"),
    "Clip": one("Clip", (9, 3), np.float32(-0.5), np.float32(0.3)),
    "Clip from below": one("Clip", (9, 3), np.float32(-0.5)),
    "Clip from above": one("Clip", (9, 3), None, np.float32(0.3)),
    "Clip of nothing": one("Clip", (9, 3)),
    "ReduceSum": one("ReduceSum", (2, 3, 4), ints(0, 2), keepdims=0),
    "ReduceSum of all": one("ReduceSum", (2, 3, 4)),
    "Pad": one("Pad", (2, 3), ints(1, 0, 0, 2)),
    "Pad with a value": one("Pad", (2, 3), ints(1, 0, 0, 2), np.float32(5)),
    "Pad by reflecting": one("Pad", (2, 3, 5), ints(0, 2, 4, 0, 1, 3), mode="reflect"),
    "Pad by the edge": one("Pad", (2, 3, 5), ints(1, 2, 0, 0, 7, 9), mode="edge"),
    "Slice": one("Slice", (4, 9), ints(1, -5), ints(3, -1)),
    "Slice an axis": one("Slice", (4, 9), ints(2), ints(2**62), ints(-1)),
    "Slice by steps": one("Slice", (4, 9), ints(1), ints(8), ints(1), ints(3)),
    "Slice backwards": one("Slice", (4, 9), ints(-1), ints(-(2**62)), ints(1), ints(-2)),
    "Slice of nothing": one("Slice", (4, 9), ints(5), ints(2), ints(1)),
    "Gather": one("Gather", (4, 5, 6), ints(2, 0, -1)),
    "Gather along an axis": one("Gather", (4, 5, 6), ints(3, -5).reshape(2, 1), axis=-2),
    "Gather one": one("Gather", (4, 5), np.array(-2), axis=1),
    "Concat": some((2, 3), "y = Concat <axis = -1> (x, w, x)", w=draw(2, 1)),
    "Squeeze": one("Squeeze", (1, 3, 1, 2)),
    "Squeeze an axis": one("Squeeze", (1, 3, 1, 2), ints(-2)),
    "Unsqueeze": one("Unsqueeze", (2, 3), ints(-1, 0, 2)),
    "Reshape": one("Reshape", (2, 3, 4), ints(0, -1, 2)),
    "Flatten": one("Flatten", (2, 3, 4)),
    "Flatten nothing": one("Flatten", (2, 3, 4), axis=0),
    "Flatten the last": one("Flatten", (2, 3, 4), axis=-1),
    "Transpose": one("Transpose", (2, 3, 4), perm=[1, 2, 0]),
    "Transpose all": one("Transpose", (2, 3, 4)),
    "Identity": one("Identity", (2, 3)),
    "Cast": some((9, 3), "i = Cast <to = 6> (x)", "b = Cast <to = 9> (i)", "y = Cast <to = 1> (b)"),
    "Shape": some((2, 3, 4), "s = Shape(x)", "y = Cast <to = 1> (s)"),
    "Shape in part": some(
        (2, 3, 4), "s = Shape <start = -2, end = 9> (x)", "y = Cast <to = 1> (s)"
    ),
    "Constants": some(
        (2, 3),
        "a = Constant <value_float = 0.5> ()",
        "b = Constant <value_floats = [1.0, 2.0, 3.0]> ()",
        "c = Add(x, a)",
        "y = Mul(c, b)",
    ),
    "A shape that is computed": some(
        (2, 6, 4),
        "s = Shape(x)",
        "b = Gather <axis = 0> (s, first)",
        NEGATIVE,
        "t = Concat <axis = 0> (b, neg, two)",
        "y = Reshape(x, t)",
        first=ints(0),
        two=ints(2),
    ),
    "A mean by hand": some(
        (2, 6),
        "n = Shape <start = 1> (x)",
        "f = Cast <to = 1> (n)",
        "s = ReduceSum(x, last)",
        "y = Div(s, f)",
        last=ints(1),
    ),
}  # fmt: skip


def both(case: Case, opset: int) -> tuple[Array, torch.Tensor]:
    """What ONNX Runtime and torch make of it."""
    shape, nodes, weights = case
    content = network(nodes, ["y"], weights, shape=shape, heard="x", opset=opset)
    x = draw(*shape, seed=9)
    [expected] = open_session(content, threads=1).run(["y"], {"x": x})
    module = OnnxGraph(content, file=FILE, heard="x", outputs=["y"])
    with torch.inference_mode(), full_float32():
        [found] = module(torch.from_numpy(x))
    # No values are on this device: nothing of the graph's shapes may come from there.
    [nowhere] = module.to("meta")(torch.empty(shape, device="meta"))
    assert nowhere.shape == found.shape
    return expected, found


@pytest.mark.parametrize(
    ("case", "opset"),
    [
        pytest.param(case, opset, id=f"{name}-{opset}")
        for cases, opsets in ((CASES, (15, 23)), (ONNX17, (13, 17)), (ONNX18, (18, 23)))
        for name, case in cases.items()
        for opset in opsets
    ],
)
def test_computes_what_onnx_runtime_does(case: Case, opset: int) -> None:
    expected, found = both(case, opset)
    assert tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_every_operator_has_a_case() -> None:
    tried = {
        node.op_type
        for cases in (CASES, ONNX17, ONNX18)
        for _, nodes, _ in cases.values()
        for node in nodes
    }
    assert tried == {*OPERATORS, "Constant"}


def read(
    nodes: list[onnx.NodeProto], weights: Mapping[str, Any] | None = None, **settings: Any
) -> OnnxGraph:
    outputs = settings.pop("outputs", ["y"])
    made = network(nodes, ["y"], weights, shape=["b", "t"], heard="x", **settings)
    return OnnxGraph(made, file=FILE, heard="x", outputs=outputs)


def test_names_all_that_is_not_served() -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"]),
        helper.make_node("Det", ["a"], ["b"]),
        helper.make_node("Pad", ["b", "w"], ["c"], mode="wrap"),
        helper.make_node("Conv", ["c", "w"], ["d"], auto_pad="SAME_UPPER"),
        helper.make_node("Gelu", ["d"], ["e"], domain="com.microsoft"),
        helper.make_node("MaxPool", ["e"], ["f", "where"], kernel_shape=[2]),
        helper.make_node("Constant", [], ["g"], value_string="text"),
        helper.make_node("Cast", ["f"], ["y"], to=TensorProto.FLOAT8E4M3FN),
    ]
    message = (
        r"made.onnx: cannot be computed with torch, which lacks: version 12 of ONNX's operators"
        r" \(13 to 23 are\), Det, Pad with mode = wrap, Conv with auto_pad = SAME_UPPER,"
        r" com.microsoft.Gelu, MaxPool with several outputs, Constant with value_string,"
        r" Cast with to = 17. ONNX Runtime may, on a CPU"
    )
    with pytest.raises(ModelFolderError, match=message):
        read(nodes, {"w": ints(0, 0, 1, 1)}, opset=12)


def test_refuses_sparse_weights() -> None:
    model = graph([helper.make_node("Identity", ["x"], ["y"])], ["y"], heard="x")
    model.graph.sparse_initializer.add().values.CopyFrom(numpy_helper.from_array(draw(2), "few"))
    with pytest.raises(ModelFolderError, match="which lacks: sparse weights few"):
        OnnxGraph(model.SerializeToString(), file=FILE, heard="x", outputs=["y"])


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Add", ["x", "absent"], ["y"])],
        [helper.make_node("Relu", ["absent"], ["y"]), helper.make_node("Relu", ["x"], ["absent"])],
    ],
    ids=["not there", "later"],
)
def test_says_what_nothing_computes(nodes: list[onnx.NodeProto]) -> None:
    with pytest.raises(ModelFolderError, match=r"made.onnx: is damaged: nothing computes absent"):
        read(nodes)


def test_says_which_operator_cannot_take_what_comes() -> None:
    module = read([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": draw(3, 2)})
    assert module(torch.ones(5, 3))[0].shape == (5, 2)
    with pytest.raises(ModelFolderError, match=r"made.onnx: .* of \[5, 4\]: MatMul 'y': mat1"):
        module(torch.ones(5, 4))


def test_lets_a_want_of_memory_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory")

    module = read([helper.make_node("Relu", ["x"], ["y"])])
    monkeypatch.setitem(onnx_graph.OPERATORS, "Relu", fail)
    with pytest.raises(torch.OutOfMemoryError):
        module(torch.ones(2, 3))


def test_computes_what_is_wanted_alone() -> None:
    model = graph(
        [
            helper.make_node("Relu", ["x"], ["y"]),
            helper.make_node("MatMul", ["y", "w"], ["z"]),
            helper.make_node("Exp", ["y"], ["e"]),
        ],
        ["y", "z", "e"],
        {"w": draw(3, 2)},
        heard="x",
    ).SerializeToString()
    x = torch.from_numpy(draw(5, 4))
    with pytest.raises(ModelFolderError, match="MatMul"):
        OnnxGraph(model, file=FILE, heard="x", outputs=["y", "z"])(x)
    e, y = OnnxGraph(model, file=FILE, heard="x", outputs=["e", "y"])(x)
    assert torch.equal(y, x.relu())
    assert torch.equal(e, x.relu().exp())


def test_weights_go_where_the_module_does() -> None:
    module = read([helper.make_node("Add", ["x", "a.b/c"], ["y"])], {"a.b/c": draw(3)})
    assert module.half()(torch.ones(1, 3).half())[0].dtype == torch.float16


def test_serves_the_versions_that_it_says() -> None:
    for opset in OPSETS:
        read([helper.make_node("Relu", ["x"], ["y"])], opset=opset)
    for opset in (OPSETS[0] - 1, OPSETS[-1] + 1):
        with pytest.raises(ModelFolderError, match=f"which lacks: version {opset} of ONNX"):
            read([helper.make_node("Relu", ["x"], ["y"])], opset=opset)
