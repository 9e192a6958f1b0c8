"""Put a distilled model into the package as embedkit's own.

    python benchmarks/pack_default.py MODEL_DIR --sources sources.csv [...]

Its matrices are stored in half precision, its vectors are 256 numbers long where nobody asks for
another size, and it comes with an int8 network, calibrated on a sample of its training segments.
SOURCES.csv sums up the packages that its sounds are from, out of tables with the columns package,
licences and duration_s. The card beside it, README.md, is written by hand.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import pandas

from embedkit.checkpoint import CALIBRATION, load_model, save_model
from embedkit.config import DEFAULT_MODEL
from embedkit.runtime.export import export

SIZE = 256


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    model = options.model
    config, tensors = load_model(model)
    # Statistics and biases span more than half precision does, and weigh nothing.
    halved = {
        name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()
    }
    save_model(DEFAULT_MODEL, replace(config, size=SIZE), halved)
    sample = DEFAULT_MODEL / CALIBRATION
    shutil.copy(model / CALIBRATION, sample)
    done = export(DEFAULT_MODEL, int8=True)
    sample.unlink()
    table = pandas.concat(map(pandas.read_csv, options.sources)).fillna("")
    minutes = table.groupby(["package", "licences"]).duration_s.sum().div(60).round(1)
    minutes.rename("minutes").to_csv(DEFAULT_MODEL / "SOURCES.csv")
    print(f"int8: mean cosine {done.cosine:.5f}")
    for path in sorted(DEFAULT_MODEL.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
