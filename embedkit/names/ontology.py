"""AudioSet's ontology, and our own table of everyday words for its names."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

Table = Mapping[str, list[str]]


@cache
def children() -> Table:
    """The names right below each name of the ontology; one may be below several."""
    found: Table = json.loads(_read("ontology.json"))
    leaves = {name for names in found.values() for name in names} - set(found)
    return {**found, **{name: [] for name in sorted(leaves)}}


@cache
def synonyms() -> Table:
    """Names of the ontology that an everyday word stands for."""
    found: Table = tomllib.loads(_read("synonyms.toml"))
    return found


def parents(name: str) -> list[str]:
    """The names right above a name."""
    return [parent for parent, below in children().items() if name in below]


def and_below(name: str) -> Iterator[str]:
    """A name of the ontology, and then each name below it, once."""
    queue, seen = [name], {name}
    while queue:
        name = queue.pop(0)
        yield name
        new = [child for child in children()[name] if child not in seen]
        queue += new
        seen.update(new)


def _read(name: str) -> str:
    return (files("embedkit.names") / name).read_text(encoding="utf-8")
