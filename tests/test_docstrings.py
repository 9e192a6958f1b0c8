"""Each public function with two or more parameters says what it takes, gives and raises."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, name: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Public functions and methods below a node: their name, themselves, and whether a method."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from functions(child, f"{name}{child.name}.")
        elif isinstance(child, Function) and (
            child.name == "__init__" or not child.name.startswith("_")
        ):
            yield f"{name}{child.name}", child, bool(name)


def parameters(function: Function, is_method: bool) -> list[str]:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    is_static = any(ast.unparse(each) == "staticmethod" for each in function.decorator_list)
    return names[1:] if is_method and not is_static else names


def raises(node: ast.AST) -> bool:
    """Whether it raises an error itself, which it does not catch."""
    if isinstance(node, ast.Raise):
        return node.exc is not None
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Try) and node.handlers:
        children = [*node.handlers, *node.orelse, *node.finalbody]
    inner = (*Function.__args__, ast.ClassDef, ast.Lambda)
    return any(raises(child) for child in children if not isinstance(child, inner))


def missing(source: str) -> list[str]:
    """What the docstrings of a module lack: `name: Args`."""
    found = []
    for name, function, is_method in functions(ast.parse(source)):
        text = ast.get_docstring(function) or ""
        is_bare = function.name == "__init__" and not text  # the class says it
        if is_bare or len(parameters(function, is_method)) < 2:
            continue
        gives = function.returns is not None and ast.unparse(function.returns) not in {
            "None", "Self",
        }  # fmt: skip
        lacks = {
            "Args": "Args:" not in text,
            "Returns": gives and "Returns:" not in text and "Yields:" not in text,
            "Raises": raises(function) and "Raises:" not in text,
        }
        found += [f"{name}: {section}" for section, lacking in lacks.items() if lacking]
    return found


ARGS = "Do.\n\n  Args:\n    a: one.\n    b: another.\n  "


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, b) -> None:\n  '''Do.'''", ["f: Args"]),
        ("def f(a) -> int:\n  '''Do.'''", []),
        ("def _f(a, b) -> int:\n  '''Do.'''", []),
        (f"class A:\n def f(self, a, b) -> int:\n  '''{ARGS}'''", ["A.f: Returns"]),
        (f"def f(a, b) -> None:\n  '''{ARGS}'''\n  raise ValueError", ["f: Raises"]),
        ("class A:\n def f(self, a) -> int:\n  '''Do.'''", []),
    ],
)
def test_it_finds_what_is_missing(source: str, expected: list[str]) -> None:
    assert missing(source) == expected


def test_public_functions_say_what_they_take_give_and_raise() -> None:
    lacking = {
        str(path.relative_to(ROOT)): found
        for path in sorted((ROOT / "embedkit").rglob("*.py"))
        if (found := missing(path.read_text(encoding="utf-8")))
    }
    assert not lacking
