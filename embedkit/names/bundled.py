"""The names that a model brings: its folder has a classifier for each size of its vectors.

names/<size>/    the folder of a classifier, as `embedkit classify fit` writes it, with several
                 labels a vector, fitted on the vectors of the model's own weights

A vector is named by as many of its first numbers as there are names for: they are the vector that
the same model gives at that size.

Somebody else's extractor brings the head of its network instead, where it has one.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.method import Floats, Model, Vectors
from embedkit.errors import EmbedkitError
from embedkit.runtime import Runtime
from embedkit.runtime.description import is_description, read_description
from embedkit.runtime.head import Head
from embedkit.runtime.origin import find_model
from embedkit.store import IMPORTED, EmbeddingTable

log = logging.getLogger(__name__)

NAMES = "names"


def named_sizes(model: Path) -> list[int]:
    """The sizes of vectors for which a model brings names, ascending."""
    return sorted(int(path.name) for path in (model / NAMES).glob("*") if path.name.isdecimal())


def check_named(model: Path, size: int | None) -> None:
    """Refuse a model that brings no names, or none for vectors of a size or of their first numbers.

    Args:
        model: the model folder.
        size: length of the vectors; None: any.

    Raises:
        EmbedkitError: it brings none.
    """
    if is_description(model):
        Head(read_description(model))
        return
    if not model.is_dir():
        raise EmbedkitError(f"{model}: no such folder; name that of a model")
    sizes = named_sizes(model)
    if not sizes:
        raise EmbedkitError(
            f"{model}: this model brings no names for what it hears; embedkit's own does, and"
            " `embedkit classify fit` learns yours from labels"
        )
    if size is not None and size < sizes[0]:
        raise EmbedkitError(
            f"{model}: this model brings names for vectors of {', '.join(map(str, sizes))} numbers,"
            f" and not of {size}; extract with one of these as --dim"
        )


@dataclass(frozen=True)
class _First:
    """Scores vectors by their first numbers."""

    model: Model
    size: int

    def scores(self, vectors: Vectors) -> Floats:
        return self.model.scores(vectors[:, : self.size])


def load_names(table: EmbeddingTable, model: Path | None = None) -> Classifier:
    """The names of the model that made an embedding folder, for vectors of its size.

    Names are fitted on vectors in float32, and serve every runtime of the same weights.

    Args:
        table: the embedding folder.
        model: where its model is now, if it has moved.

    Returns:
        a classifier of the folder's vectors, in which each name has a probability of its own.

    Raises:
        EmbedkitError: the vectors were imported; their model is not there, brings no names, or none
            for their size; or the names are damaged, or those of other weights.
    """
    provenance = table.provenance
    if provenance.runtime == IMPORTED:
        raise EmbedkitError(
            f"{table.folder}: its vectors were imported from {provenance.model}, which brings no"
            " names; `embedkit classify fit` learns yours from labels"
        )
    folder = find_model(provenance, Runtime.that_made(provenance), model)
    if is_description(folder):
        head = Head(read_description(folder))
        return Classifier(
            labels=head.labels,
            several_labels=True,
            fingerprint=provenance.fingerprint,
            size=head.size,
            model=head,
        )
    check_named(folder, table.embedding_size)
    size = max(size for size in named_sizes(folder) if size <= table.embedding_size)
    names = Classifier.load(folder / NAMES / str(size))
    if (names.fingerprint, names.size) != (weights_fingerprint(folder), size):
        raise EmbedkitError(
            f"{folder / NAMES / str(size)}: these names were fitted on another model's vectors, or"
            " on vectors of another size"
        )
    return replace(
        names,
        fingerprint=provenance.fingerprint,
        size=table.embedding_size,
        model=_First(names.model, size),
    )


def find_names(table: EmbeddingTable) -> Classifier | None:
    """As `load_names`, where names are welcome but not needed: None where there are none."""
    try:
        return load_names(table)
    except EmbedkitError as error:
        log.debug("without names: %s", error)
        return None
