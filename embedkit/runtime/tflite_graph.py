"""Reads a TensorFlow Lite file, and writes it with other inputs and outputs.

It is a flatbuffer: tables of fields, each found by its number (Google's schema.fbs, whose numbers
stand here by name). Offsets point forward, so that a replacement is written behind everything else.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SUBGRAPHS, CODES = 2, 1  # fields of a model
TENSORS, INPUTS, OUTPUTS, OPERATORS = range(4)  # of a subgraph, and of an operator from inputs on
SHAPE, TYPE, NAME = 0, 1, 3  # of a tensor
OLD_CODE, CODE = 0, 3  # of an operator code: one byte, and where it does not fit, four
FLOAT32 = 0
FULLY_CONNECTED = 9  # a code of operators, as the next: those keep all numbers as they are
RESHAPE, SQUEEZE, EXPAND_DIMS = 22, 43, 70


@dataclass(frozen=True)
class Tensor:
    """A tensor of the main graph."""

    name: str
    shape: tuple[int, ...]
    is_float: bool


@dataclass(frozen=True)
class Operator:
    """An operator of the main graph: its code, and the numbers of its tensors; -1 is none."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class TfliteGraph:
    """The main graph of a TensorFlow Lite file.

    Attributes:
        tensors: by their number.
        operators: in the order in which they are computed.
        inputs, outputs: numbers of tensors.
    """

    def __init__(self, content: bytes) -> None:
        """Read the file.

        Raises:
            ValueError: it is no such file, or damaged.
        """
        if content[4:8] != b"TFL3":
            raise ValueError("not a TensorFlow Lite file")
        self._content = content
        try:
            model = self._follow(0)
            codes = [self._code(table) for table in self._tables(model, CODES)]
            self._graph = self._tables(model, SUBGRAPHS)[0]
            self.tensors = [self._tensor(table) for table in self._tables(self._graph, TENSORS)]
            self.inputs = self._numbers(self._graph, INPUTS)
            self.outputs = self._numbers(self._graph, OUTPUTS)
            self.operators = [
                Operator(
                    codes[self._number(table, 0, "I")],
                    self._numbers(table, INPUTS),
                    self._numbers(table, OUTPUTS),
                )
                for table in self._tables(self._graph, OPERATORS)
            ]
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"a damaged TensorFlow Lite file: {error}") from error

    def find(self, name: str) -> int:
        """The number of a tensor.

        Raises:
            KeyError: none has the name, or several have.
        """
        found = [number for number, tensor in enumerate(self.tensors) if tensor.name == name]
        if len(found) != 1:
            raise KeyError(name)
        return found[0]

    def with_ends(
        self,
        outputs: Sequence[int],
        inputs: Sequence[int] | None = None,
        operators: Sequence[int] | None = None,
    ) -> bytes:
        """The file with other outputs and inputs, and with only some of its operators.

        Args:
            outputs: numbers of the tensors that come out.
            inputs: numbers of the tensors that go in; None: as they are.
            operators: numbers of the operators that are kept; None: all.

        Returns:
            the content of the file.
        """
        changed = bytearray(self._content)
        if operators is not None:
            start = self._vector(self._graph, OPERATORS)
            tables = self._tables(self._graph, OPERATORS)
            struct.pack_into("<I", changed, start, len(operators))
            for place, number in enumerate(operators):
                entry = start + 4 + 4 * place
                struct.pack_into("<I", changed, entry, tables[number] - entry)
        for field, numbers in ((INPUTS, inputs), (OUTPUTS, outputs)):
            if numbers is None:
                continue
            there = self._field(self._graph, field)
            assert there is not None  # it was read
            changed += bytes(-len(changed) % 4)
            struct.pack_into("<I", changed, there, len(changed) - there)
            changed += struct.pack(f"<I{len(numbers)}i", len(numbers), *numbers)
        return bytes(changed)

    def _tensor(self, table: int) -> Tensor:
        start = self._vector(table, NAME)
        name = self._content[start + 4 : start + 4 + self._at(start, "I")] if start else b""
        shape = self._numbers(table, SHAPE)
        return Tensor(name.decode(), shape, self._number(table, TYPE, "B") == FLOAT32)

    def _code(self, table: int) -> int:
        return max(self._number(table, OLD_CODE, "b"), self._number(table, CODE, "i"))

    def _tables(self, table: int, field: int) -> list[int]:
        start = self._vector(table, field)
        count = self._at(start, "I") if start else 0
        return [self._follow(start + 4 + 4 * place) for place in range(count)]

    def _numbers(self, table: int, field: int) -> tuple[int, ...]:
        start = self._vector(table, field)
        count = self._at(start, "I") if start else 0
        return struct.unpack_from(f"<{count}i", self._content, start + 4) if count else ()

    def _number(self, table: int, field: int, kind: str) -> int:
        place = self._field(table, field)
        return 0 if place is None else self._at(place, kind)

    def _vector(self, table: int, field: int) -> int:
        place = self._field(table, field)
        return 0 if place is None else self._follow(place)

    def _field(self, table: int, field: int) -> int | None:
        """The place of a table's field, or None."""
        layout = table - self._at(table, "i")
        if 4 + 2 * field >= self._at(layout, "H"):
            return None
        offset = self._at(layout + 4 + 2 * field, "H")
        return table + offset if offset else None

    def _follow(self, place: int) -> int:
        return place + self._at(place, "I")

    def _at(self, place: int, kind: str) -> int:
        [value] = struct.unpack_from(f"<{kind}", self._content, place)
        return int(value)
