"""Put a distilled model into the package as one of embedkit's own.

    python benchmarks/pack_own.py MODEL_DIR --name fast
    python benchmarks/pack_own.py MODEL_DIR --name default --sounds manifest.parquet \
        --calibration AUDIO_DIR

Its matrices are stored in half precision, without the heads that only training needed; its vectors
are 256 numbers long where nobody asks for another size. With --calibration it has an int8 network
too, calibrated on segments drawn from all of AUDIO_DIR. With --sounds, SOURCES.csv sums up the
packages that its sounds are from, out of a table with the columns package, licence and duration_s.
MODEL_DIR holds config.json and model.safetensors as `embedkit distil` writes them. The card beside
it, README.md, is written by hand. `embedkit learn-names` makes its names; those of a size may be
taken out, as vectors are named by as many of their first numbers as there are names for.
benchmarks/default_model.py writes figures.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas

from embedkit.checkpoint import load_model, save_model
from embedkit.config import OWN_MODELS
from embedkit.export import export

SIZE = 256


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", choices=OWN_MODELS, required=True)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--calibration", type=Path)
    options = parser.parse_args()
    place = OWN_MODELS[options.name]
    place.mkdir(exist_ok=True)
    config, weights = load_model(options.model)
    # Statistics and biases span more than half precision does, and weigh nothing.
    halved = {
        name: values.astype(np.float16) if values.ndim > 1 else values
        for name, values in weights.items()
        if not name.startswith("heads.")
    }
    save_model(place, replace(config, size=SIZE), halved)
    export(place)
    if options.calibration:
        done = export(place, int8=True, calibration=options.calibration)
        print(f"int8: mean cosine {done.cosine:.5f}")
    if options.sounds:
        table = pandas.read_parquet(options.sounds)
        minutes = table.groupby(["package", "licence"]).duration_s.sum().div(60).round(1)
        minutes.rename("minutes").to_csv(place / "SOURCES.csv")
    for path in sorted(place.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
