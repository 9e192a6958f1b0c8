"""ONNX's operators in torch, as far as networks for sound use them.

An operator's parameters are its inputs, in their order, and its attributes, with ONNX's defaults;
where only some values of an attribute are supported, its type is a Literal of them. Each computes
what https://onnx.ai/onnx/operators says about versions 13 to 23.

Shapes, which are int64 tensors, and constant scalars are in the CPU's memory, wherever the network
computes, so that they never wait for a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from math import inf, prod
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor
from torch.nn import functional as F

Ints = Tensor | Sequence[int]  # an input, or an attribute
NotSame = Literal["NOTSET", "VALID"]  # of auto_pad: no padding but that stated


def _ints(values: Ints) -> list[int]:
    return [int(value) for value in (values.tolist() if isinstance(values, Tensor) else values)]


def _together(*tensors: Tensor) -> list[Tensor]:
    """Move numbers that came from shapes to where the network computes, if they meet it.

    Scalars may stay: torch takes them from the CPU.
    """
    place = next((tensor.device for tensor in tensors if not tensor.is_cpu), tensors[0].device)
    return [tensor.to(place) if tensor.ndim else tensor for tensor in tensors]


def _pads(pads: Sequence[int]) -> list[int]:
    """ONNX: all beginnings, then all ends. torch: pairs of both, the last axis first."""
    half = len(pads) // 2
    return [
        pad
        for pair in zip(pads[half - 1 :: -1], pads[: half - 1 : -1], strict=True)
        for pad in pair
    ]


def _each(values: Sequence[int], axes: int) -> list[int]:
    """The values, or 1 along every axis if they are not stated."""
    return list(values) or [1] * axes


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: NotSame = "NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Tensor:
    axes = weight.ndim - 2
    pads = pads or [0] * 2 * axes
    padding = list(pads[:axes])
    if padding != list(pads[axes:]):
        x, padding = F.pad(x, _pads(pads)), [0] * axes
    return torch.convolution(
        x,
        weight,
        bias,
        stride=_each(strides, axes),
        padding=padding,
        dilation=_each(dilations, axes),
        transposed=False,
        output_padding=[0] * axes,
        groups=group,
    )


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: NotSame = "NOTSET",
    ceil_mode: Literal[0] = 0,
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    storage_order: Literal[0] = 0,
    strides: Sequence[int] = (),
) -> Tensor:
    axes = len(kernel_shape)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    padded = F.pad(x, _pads(pads), value=-inf) if pads else x
    pooled: Tensor = pool(
        padded, list(kernel_shape), _each(strides, axes), dilation=_each(dilations, axes)
    )
    return pooled


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: NotSame = "NOTSET",
    ceil_mode: Literal[0] = 0,
    count_include_pad: int = 0,
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Tensor:
    axes = len(kernel_shape)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]

    def pooled(values: Tensor) -> Tensor:
        padded = F.pad(values, _pads(pads)) if pads else values
        return pool(padded, list(kernel_shape), _each(strides, axes))

    return pooled(x) if count_include_pad or not pads else pooled(x) / pooled(torch.ones_like(x))


def _global_average_pool(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: Literal[0] = 0,
) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    a, b = a.T if transA else a, b.T if transB else b
    return alpha * (a @ b) if c is None else torch.addmm(c, a, b, alpha=alpha, beta=beta)


def _add(a: Tensor, b: Tensor) -> Tensor:
    return torch.add(*_together(a, b))


def _sub(a: Tensor, b: Tensor) -> Tensor:
    return torch.sub(*_together(a, b))


def _mul(a: Tensor, b: Tensor) -> Tensor:
    return torch.mul(*_together(a, b))


def _div(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(*_together(a, b), rounding_mode=None if a.is_floating_point() else "trunc")


def _pow(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(*_together(a, b)).to(a.dtype)


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if low is None and high is None:
        return x
    return x.clamp(None if low is None else low.item(), None if high is None else high.item())


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _reduced(x: Tensor, axes: Ints | None) -> tuple[int, ...]:
    return tuple(_ints(axes)) if axes is not None and len(axes) else tuple(range(x.ndim))


def _reduce_mean(
    x: Tensor,
    axes: Ints | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: Literal[0] = 0,
) -> Tensor:
    return x.mean(_reduced(x, axes), keepdim=bool(keepdims))


def _reduce_sum(
    x: Tensor,
    axes: Ints | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: Literal[0] = 0,
) -> Tensor:
    return x.sum(_reduced(x, axes), keepdim=bool(keepdims))


def _reduce_max(
    x: Tensor,
    axes: Ints | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: Literal[0] = 0,
) -> Tensor:
    return x.amax(_reduced(x, axes), keepdim=bool(keepdims))


def _pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: Literal["constant", "reflect", "edge"] = "constant",
) -> Tensor:
    sizes = _ints(pads)
    half = len(sizes) // 2
    for axis, before, after in zip(
        range(x.ndim) if axes is None else _ints(axes), sizes[:half], sizes[half:], strict=True
    ):
        if not before and not after:
            continue
        along = x.movedim(axis, -1)
        rows = along.reshape(1, -1, along.shape[-1])  # all that torch reflects of any rank
        if mode == "constant":
            rows = F.pad(rows, (before, after), value=0 if value is None else value.item())
        else:
            rows = F.pad(rows, (before, after), mode={"edge": "replicate"}.get(mode, mode))
        x = rows.reshape(*along.shape[:-1], rows.shape[-1]).movedim(-1, axis)
    return x


def _slice(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first, last = _ints(starts), _ints(ends)
    along = range(len(first)) if axes is None else _ints(axes)
    by = [1] * len(first) if steps is None else _ints(steps)
    for axis, start, end, step in zip(along, first, last, by, strict=True):
        picked = range(x.shape[axis])[start:end:step]
        if step == 1:
            x = x.narrow(axis, picked.start, len(picked))
        else:  # torch's own slices do not run backwards
            x = x.index_select(axis, torch.tensor(picked, dtype=torch.int64, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    picked = indices.to(x.device).remainder(x.shape[axis])  # negative ones count from the end
    axis %= x.ndim
    return x.index_select(axis, picked.flatten()).reshape(
        *x.shape[:axis], *picked.shape, *x.shape[axis + 1 :]
    )


def _concat(*tensors: Tensor, axis: int) -> Tensor:
    return torch.cat(_together(*tensors), axis)


def _squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_ints(axes)))


def _unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


def _reshape(x: Tensor, shape: Tensor, *, allowzero: Literal[0] = 0) -> Tensor:
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(_ints(shape))])


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    rows = x.shape[:axis]
    return x.reshape(prod(rows), prod(x.shape[len(rows) :]))


def _transpose(x: Tensor, *, perm: Sequence[int] = ()) -> Tensor:
    return x.permute(*(perm or reversed(range(x.ndim))))


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}


def _cast(x: Tensor, *, to: Literal[1, 6, 7, 9, 11], saturate: int = 1) -> Tensor:
    return x.to(TYPES[to])


Operator = Callable[..., Tensor]
OPERATORS: dict[str, Operator] = {
    "Abs": lambda x: x.abs(),
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _div,
    "Erf": lambda x: x.erf(),
    "Exp": lambda x: x.exp(),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "LeakyRelu": _leaky_relu,
    "Log": lambda x: x.log(),
    "MatMul": lambda a, b: a @ b,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "Pad": _pad,
    "Pow": _pow,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": lambda x: x.relu(),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": lambda x: x.sigmoid(),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": lambda x: x.sqrt(),
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Tanh": lambda x: x.tanh(),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def unserved(kind: str, attributes: Mapping[str, Any]) -> list[str]:
    """What of a node cannot be computed here, in words.

    Args:
        kind: name of its operator.
        attributes: attributes of the operator.

    Returns:
        a phrase for each; empty if it can be computed.
    """
    operator = OPERATORS.get(kind)
    if operator is None:
        return [kind]
    known, types = signature(operator).parameters, get_type_hints(operator)
    return [
        f"{kind} with {name} = {value}"
        for name, value in attributes.items()
        if name not in known
        or (get_origin(types.get(name)) is Literal and value not in get_args(types[name]))
    ]
