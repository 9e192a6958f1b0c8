"""GAP trained from scratch on ESC-10, fold by fold: its own scores, its embeddings, and MFCC.

    python benchmarks/esc10.py DATA [--folds 1 2 3 4 5] [--out runs/esc10]

DATA holds ESC-10 as meta.csv (path,fold,label) and the audio that it names. For each fold the
network is trained on the other four, all clips are extracted, and logistic regression
(standardised clip vectors, C = 0.1) is fitted on the other four folds and scored on this one; so
is the same back-end on the means and deviations of 20 MFCC (librosa, 16 kHz). An interrupted run
goes on.
"""

import argparse
import json
import logging
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray

from embedkit import metrics
from embedkit.classifiers import evaluate as classify
from embedkit.classifiers.logistic import Logistic
from embedkit.classifiers.splits import hold_out_fold
from embedkit.config import FeatureSpec, Schedule, SegmentSpec, TrainSpec
from embedkit.datasets import read_dataset
from embedkit.extraction import extract
from embedkit.labels.join import Labelled, join_labels
from embedkit.models.module import ExtractorModule
from embedkit.models.table import resolve
from embedkit.store import EmbeddingTable
from embedkit.training import train
from embedkit.training.evaluation import evaluate

METHOD = Logistic(c=0.1)


def recipe(fold: str) -> TrainSpec:
    """What every fold is trained with; chosen before any fold was scored."""
    return TrainSpec(
        epochs=30,
        schedule=Schedule.ONE_CYCLE,
        learning_rate=1e-3,
        mixup=0.3,
        time_mask=16,
        band_mask=8,
        hold_out_fold=fold,
    )


def mfcc_vectors(data: Labelled, root: Path) -> NDArray[np.float32]:
    """Mean and deviation over time of 20 MFCC of each clip [clips, 40]."""
    vectors = []
    for clip in data.clips:
        samples, rate = librosa.load(root / clip, sr=16000)
        coefficients = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=20)
        vectors.append(np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)]))
    return np.array(vectors, np.float32)


def run_fold(data_root: Path, out: Path, fold: str) -> dict[str, NDArray[np.float64] | float]:
    """Train, extract and score one fold; 1 for each right clip of it, by system."""
    manifest = read_dataset(data_root / "meta.csv")
    model, embeddings = out / f"gap-fold{fold}", out / f"emb-fold{fold}"
    trained = train(
        manifest,
        model,
        model=resolve("gap"),
        features=FeatureSpec(),
        segments=SegmentSpec(),
        spec=recipe(fold),
        resume=True,
    )
    extract(data_root, model, embeddings)
    data = join_labels(EmbeddingTable.open(embeddings), str(data_root / "meta.csv"))
    split = hold_out_fold(data, fold)
    network = evaluate(ExtractorModule.load(model), manifest.fold(fold))
    own = network.figures
    retrieval = metrics.retrieval(data.vectors[split[1]], data.targets[split[1]])
    mfcc = Labelled(**{**vars(data), "vectors": mfcc_vectors(data, data_root)})
    return {
        "network's own scores": np.repeat(
            [1.0, 0.0], [own["correct"], network.clips - int(own["correct"])]
        ),
        "logistic regression on embeddings": classify.evaluate(data, [split], METHOD).correct,
        "logistic regression on MFCC": classify.evaluate(mfcc, [split], METHOD).correct,
        "retrieval mAP": retrieval[0],
        "precision@5": retrieval[1],
        "training minutes": sum(epoch["seconds"] for epoch in trained.history) / 60,
    }


def main() -> None:
    """Print a Markdown table, and a JSON line for each fold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", nargs="+", default=["1", "2", "3", "4", "5"])
    parser.add_argument("--out", type=Path, default=Path("runs/esc10"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folds = {fold: run_fold(options.data, options.out, fold) for fold in options.folds}
    names = list(next(iter(folds.values())))
    print(f"| | {' | '.join(f'fold {fold}' for fold in folds)} | all |")
    print("|---|" + "---|" * (len(folds) + 1))
    for name in names:
        values = [result[name] for result in folds.values()]
        if isinstance(values[0], float):
            cells = [f"{value:.3f}" for value in values] + [f"{np.mean(values):.3f}"]
        else:
            cells = [_right(value) for value in [*values, np.concatenate(values)]]
        print(f"| {name} | {' | '.join(cells)} |")
    print(json.dumps({"recipe": recipe("").to_dict()}))


def _right(correct: NDArray[np.float64]) -> str:
    low, high = metrics.share_interval(correct)
    return f"{int(correct.sum())} of {len(correct)}, {correct.mean():.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
