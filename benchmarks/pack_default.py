"""Put a distilled model into the package as embedkit's own.

    python benchmarks/pack_default.py MODEL_DIR --sounds manifest.parquet --calibration AUDIO_DIR

Its matrices are stored in half precision, without the heads that only training needed; its vectors
are 256 numbers long where nobody asks for another size; its int8 network is calibrated on segments
drawn from all of AUDIO_DIR. SOURCES.csv sums up the packages that its sounds are from, out of a
table with the columns package, licence and duration_s. MODEL_DIR holds config.json and
model.safetensors as `embedkit distil` writes them. The card beside it, README.md, is written by
hand.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas

from embedkit.checkpoint import load_model, save_model
from embedkit.config import DEFAULT_MODEL
from embedkit.export import export

SIZE = 256


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    options = parser.parse_args()
    config, weights = load_model(options.model)
    # Statistics and biases span more than half precision does, and weigh nothing.
    halved = {
        name: values.astype(np.float16) if values.ndim > 1 else values
        for name, values in weights.items()
        if not name.startswith("heads.")
    }
    save_model(DEFAULT_MODEL, replace(config, size=SIZE), halved)
    export(DEFAULT_MODEL)
    done = export(DEFAULT_MODEL, int8=True, calibration=options.calibration)
    table = pandas.read_parquet(options.sounds)
    minutes = table.groupby(["package", "licence"]).duration_s.sum().div(60).round(1)
    minutes.rename("minutes").to_csv(DEFAULT_MODEL / "SOURCES.csv")
    print(f"int8: mean cosine {done.cosine:.5f}")
    for path in sorted(DEFAULT_MODEL.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
