"""The names that a model brings: in its folder a classifier for each size of its vectors.

names/<size>/    a classifier's folder, as `embedkit classify fit` writes it, of several labels a
                 vector, fitted on the vectors of the model's own weights
"""

from dataclasses import replace
from pathlib import Path

from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.classifiers.classifier import Classifier
from embedkit.errors import EmbedkitError
from embedkit.runtime import Runtime
from embedkit.runtime.origin import find_model
from embedkit.store import EmbeddingTable

NAMES = "names"


def named_sizes(model: Path) -> list[int]:
    """The sizes of its vectors that a model brings names for, ascending."""
    return sorted(int(path.name) for path in (model / NAMES).glob("*") if path.name.isdecimal())


def load_names(table: EmbeddingTable, model: Path | None = None) -> Classifier:
    """The names of the model that made an embedding folder, for vectors of its size.

    Names are fitted on vectors in float32, and serve those of every runtime of the same weights.

    Args:
        table: the embedding folder.
        model: where its model is now, if it has moved.

    Returns:
        a classifier of the folder's vectors: each name has a probability of its own.

    Raises:
        EmbedkitError: the vectors were imported, their model is not there, brings no names, or none
            for their size; or the names are damaged, or those of other weights.
    """
    provenance = table.provenance
    folder = find_model(provenance, Runtime.that_made(provenance), model)
    sizes = named_sizes(folder)
    if not sizes:
        raise EmbedkitError(
            f"{folder}: this model brings no names for what it hears; embedkit's own does, and"
            " `embedkit classify fit` learns yours from labels"
        )
    if table.embedding_size not in sizes:
        raise EmbedkitError(
            f"{table.folder}: its vectors have {table.embedding_size} numbers, and {folder} brings"
            f" names for {', '.join(map(str, sizes))}; extract with one of these as --dim"
        )
    names = Classifier.load(folder / NAMES / str(table.embedding_size))
    if names.fingerprint != weights_fingerprint(folder):
        raise EmbedkitError(f"{folder / NAMES}: these names were fitted on another model's vectors")
    return replace(names, fingerprint=provenance.fingerprint)
