"""The model card: what a model is, what it was made of, and how good it seemed."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from embedkit import __version__
from embedkit.atomic import atomic_write
from embedkit.config import TrainSpec
from embedkit.datasets import Manifest
from embedkit.models.build import count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.network import count_parameters
from embedkit.models.table import FAMILIES

CARD = "README.md"
MARKUP = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#&"})


def write_card(
    folder: Path,
    extractor: ExtractorModule,
    manifest: Manifest,
    counts: Mapping[str, int],
    best: Mapping[str, float],
) -> None:
    """Write README.md beside the weights.

    Args:
        folder: the model folder.
        extractor: the network and its settings.
        manifest: the clips that it was trained on.
        counts: number of clips and of segments, by name.
        best: the figures of the epoch, or checkpoint, whose weights were kept.
    """
    environment = Environment(
        loader=PackageLoader("embedkit.training", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["escaped"] = _escaped
    config, network = extractor.config, extractor.network
    text = environment.get_template("card.md.j2").render(
        version=__version__,
        config=config,
        structure=FAMILIES[config.model.name].structure,
        # Heads of what was distilled on the way are thrown away.
        parameters=count_parameters(network.embedding if config.teachers else network),
        macs=count_macs(config.model, config.feature_shape, heads=not config.teachers),
        size=network.embedding_size,
        sizes=", ".join(map(str, network.sizes)),
        source=_escaped(manifest.source),
        left_out=len(manifest.left_out),
        counts=counts,
        labels=", ".join(map(_escaped, config.labels)),
        best={name: f"{value:.4g}" for name, value in best.items()},
        epochs=config.training.epochs if isinstance(config.training, TrainSpec) else None,
        settings={
            f"{group}.{name}": _escaped(str(value))
            for group in ("model", "features", "segments", "training")
            for name, value in config.to_dict()[group].items()
        },
    )
    with atomic_write(folder / CARD) as file:
        file.write(text.encode("utf-8", "replace"))


def _escaped(text: str) -> str:
    """A label is somebody's text, not markup."""
    return " ".join(text.translate(MARKUP).split())
