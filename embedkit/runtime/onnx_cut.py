"""Parts of an ONNX file's graph: other outputs of it, and what stands between two of its values.

An ONNX file is a protobuf message (onnx.proto, whose field numbers stand here by name). Only the
messages that matter are parsed to fields; the bytes of all others are kept as they are, so that no
library is needed to read or write them.
"""

from collections.abc import Iterable, Iterator, Sequence

GRAPH = 7  # of a model
NODE, INITIALIZER, INPUT, OUTPUT = 1, 5, 11, 12  # of a graph
# What is said anew of a graph that is cut, or was said of values that it has not: their types,
# quantisation and sparse weights.
LEFT_OUT = {NODE, INPUT, OUTPUT, 13, 14, 15}
NODE_INPUT, NODE_OUTPUT, NODE_KIND = 1, 2, 4
INITIALIZER_NAME, VALUE_NAME, VALUE_TYPE, TENSOR_TYPE, ELEMENT_TYPE = 8, 1, 2, 1, 1
FLOAT32 = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields
# Operators that keep all numbers of their first input, in order, as they are.
VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}

Field = tuple[int, int, bytes]  # its number, its kind, and its value as it is written


def cut(content: bytes, start: str, end: str) -> tuple[bytes, str]:
    """The graph from one value to another, as a file with one input and one output.

    Where `start` is only a view of another value, the graph may begin with that one.

    Args:
        content: content of an ONNX file.
        start: name of the value that goes in.
        end: name of the value that comes out.

    Returns:
        the file, and the name of the value that goes in.

    Raises:
        ValueError: `end` depends on more than `start`, or the file is damaged.
    """
    model = list(_fields(content))
    [graph] = [list(_fields(value)) for number, _, value in model if number == GRAPH]
    nodes = [_Node(value) for number, _, value in graph if number == NODE]
    makers = {name: place for place, node in enumerate(nodes) for name in node.outputs}
    given = {_text(value, INITIALIZER_NAME) for number, _, value in graph if number == INITIALIZER}
    starts = [start]
    while (place := makers.get(starts[-1])) is not None and nodes[place].kind in VIEWS:
        starts.append(nodes[place].inputs[0])
    for name in starts:
        needed = _needed(nodes, makers, given, name, end)
        if needed is not None:
            break
    else:
        raise ValueError(f"{end} is made of more than {start}")
    places, used = needed
    kept: list[Field] = []
    for number, kind, value in graph:
        if number == INITIALIZER:
            stays = _text(value, INITIALIZER_NAME) in used
        else:
            stays = number not in LEFT_OUT
        if stays:
            kept.append((number, kind, value))
    kept += [(NODE, BYTES, nodes[place].content) for place in places]
    kept += [(INPUT, BYTES, _value(name)), (OUTPUT, BYTES, _value(end))]
    whole = [
        (number, kind, _written(kept) if number == GRAPH else value)
        for number, kind, value in model
    ]
    return _written(whole), name


def expose(content: bytes, names: Sequence[str]) -> bytes:
    """The file with other values of its graph as its outputs.

    Args:
        content: content of an ONNX file.
        names: names of the values.

    Returns:
        the file.

    Raises:
        ValueError: the file is damaged.
    """
    model = list(_fields(content))
    [graph] = [list(_fields(value)) for number, _, value in model if number == GRAPH]
    kept = [field for field in graph if field[0] != OUTPUT]
    kept += [(OUTPUT, BYTES, _value(name)) for name in names]
    return _written(
        (number, kind, _written(kept) if number == GRAPH else value)
        for number, kind, value in model
    )


def value_names(content: bytes) -> list[str]:
    """Names of all values that the graph computes, in order.

    Raises:
        ValueError: the file is damaged.
    """
    [graph] = [value for number, _, value in _fields(content) if number == GRAPH]
    nodes = [_Node(value) for number, _, value in _fields(graph) if number == NODE]
    return [name for node in nodes for name in node.outputs if name]


class _Node:
    """An operator with the names of its inputs and outputs."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        fields = list(_fields(content))
        self.inputs = [value.decode() for number, _, value in fields if number == NODE_INPUT]
        self.outputs = [value.decode() for number, _, value in fields if number == NODE_OUTPUT]
        self.kind = _text(content, NODE_KIND)


def _needed(
    nodes: list[_Node], makers: dict[str, int], given: set[str], start: str, end: str
) -> tuple[list[int], set[str]] | None:
    """The nodes from `start` to `end` and all names that they use; None if more is needed."""
    found: set[int] = set()
    used: set[str] = {start}
    waiting = [end]
    while waiting:
        name = waiting.pop()
        if name in used or not name:
            continue
        used.add(name)
        if name in makers:
            place = makers[name]
            found.add(place)
            waiting += nodes[place].inputs
        elif name not in given:
            return None  # the network's own input
    return (sorted(found), used) if found else None


def _value(name: str) -> bytes:
    """A float32 value of any shape."""
    tensor = _written([(ELEMENT_TYPE, VARINT, _varint(FLOAT32))])
    kind = _written([(TENSOR_TYPE, BYTES, tensor)])
    return _written([(VALUE_NAME, BYTES, name.encode()), (VALUE_TYPE, BYTES, kind)])


def _text(message: bytes, field: int) -> str:
    return next((value.decode() for number, _, value in _fields(message) if number == field), "")


def _fields(message: bytes) -> Iterator[Field]:
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == BYTES:
            length, place = _read_varint(message, place)
            end = place + length
        elif kind == VARINT:
            _, end = _read_varint(message, place)
        elif kind in {FIXED32, FIXED64}:
            end = place + (4 if kind == FIXED32 else 8)
        else:
            raise ValueError(f"a field of kind {kind}")
        if end > len(message):
            raise ValueError("a message ends before its end")
        yield key >> 3, kind, message[place:end]
        place = end


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("a number without an end")


def _written(fields: Iterable[Field]) -> bytes:
    parts = []
    for number, kind, value in fields:
        parts.append(_varint(number << 3 | kind))
        if kind == BYTES:
            parts.append(_varint(len(value)))
        parts.append(value)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
