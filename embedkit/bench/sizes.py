"""Networks trained for each size of vector under one budget, and what their vectors are worth."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embedkit.bench.budget import check_budget, trained_on
from embedkit.bench.vectors import labelled_vectors
from embedkit.classifiers.sizes import METHODS, SIZES, How, SizeRow, compare_sizes, score_size
from embedkit.classifiers.splits import training_split
from embedkit.config import FeatureSpec, ModelSpec, SegmentSpec, TrainSpec
from embedkit.datasets import Manifest
from embedkit.errors import UsageError, choices
from embedkit.labels.join import Labelled
from embedkit.models.build import build_model, count_macs
from embedkit.models.module import ExtractorModule
from embedkit.models.network import count_parameters
from embedkit.models.table import FAMILIES, resolve
from embedkit.progress import Track, untracked
from embedkit.training import train
from embedkit.training.evaluation import held_out

log = logging.getLogger(__name__)


def train_sizes(
    manifest: Manifest,
    folder: Path,
    families: Sequence[str],
    spec: TrainSpec,
    *,
    sizes: Sequence[int] = SIZES,
    methods: Sequence[str] = METHODS,
    workers: int = 1,
    device: str = "cpu",
    track: Track = untracked,
) -> Iterator[SizeRow]:
    """Train networks of some families for each size, and score their vectors.

    For each family a network is trained for each size and, where the family allows it, one for all
    sizes (Matryoshka); smaller vectors are made of the latter, else of the largest. A network that
    the folder has is not trained again.

    Args:
        manifest: the recipe's held-out fold is scored; without one, the split `test`.
        folder: gets the networks, the features, and what a next run needs to go on.
        families: families of networks whose size is free.
        spec: the recipe of each network. Weight decay is the paper's for its family.
        sizes: sizes of vectors.
        methods: names of methods of classification.
        workers: number of processes that compute features.
        device: where torch computes.
        track: shows the progress.

    Yields:
        a row for each network and size.

    Raises:
        UsageError: there is no such family, its size is not free, or the folder was begun with
            another budget or other data.
        DatasetError: nothing is held out.
    """
    for family in families:
        if family not in FAMILIES or not FAMILIES[family].sizes:
            able = [name for name, entry in FAMILIES.items() if entry.sizes]
            raise UsageError(f"no family {family!r} of networks of any size{choices(family, able)}")
    held = held_out(manifest, spec)
    check_budget(folder, spec, manifest)
    clips = (trained_on(manifest, spec), held.clips)

    def embed(model: ModelSpec) -> Labelled:
        name = f"{model.name}-matryoshka" if model.dims else f"{model.name}-{model.dim}"
        log.info("training %s, or reading it from %s", name, folder / name)
        train(
            manifest,
            folder / name,
            model=model,
            features=FeatureSpec(),
            segments=SegmentSpec(),
            spec=replace(spec, weight_decay=FAMILIES[model.name].weight_decay),
            cache=folder / "features",
            workers=workers,
            device=device,
            resume=True,  # one that is there is not trained again
            track=track,
        )
        extractor = ExtractorModule.load(folder / name)
        cache = folder / "features"
        return labelled_vectors(extractor, *clips, cache, manifest.several_labels)

    classes = len(manifest.labels)
    for family in families:
        for size in sorted(sizes):
            largest = resolve(family, dim=size, classes=classes)
            data = embed(largest)
            row = score_size(data, [training_split(data)], methods, How.TRAINED, size)
            yield _with_network(row, family, largest)
        if FAMILIES[family].matryoshka:
            largest = resolve(family, dims=sizes, classes=classes)
            data = embed(largest)
        for row in compare_sizes(data, [training_split(data)], methods, sizes=sizes, track=track):
            if row.how is not How.WHOLE or largest.dims:  # else it was trained for that size, above
                yield _with_network(row, family, largest)


def _with_network(row: SizeRow, family: str, largest: ModelSpec) -> SizeRow:
    """The row with what the network costs, without weights that a prefix leaves out."""
    projected = row.how in (How.PCA, How.RANDOM)
    dim = largest.dim if projected else row.size
    assert dim is not None
    spec = replace(largest, dim=dim, dims=())
    extra = dim * row.size if projected else 0
    parameters = count_parameters(build_model(spec))
    return replace(
        row, network=family, parameters=parameters + extra, macs=count_macs(spec) + extra
    )
