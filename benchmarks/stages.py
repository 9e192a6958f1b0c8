"""What a second of audio costs in each stage of the library, one after the other on one thread.

    python benchmarks/stages.py MODEL_DIR AUDIO_DIR

Uses only what every version of embedkit has had (torch executes the network), so that a checkout of
an older one can be measured by the same script: PYTHONPATH=CHECKOUT python benchmarks/stages.py ...
"""

import argparse
import time
from pathlib import Path

import torch

from embedkit.audio.decode import decode
from embedkit.audio.files import find_audio
from embedkit.audio.segments import cut, in_batches, stack
from embedkit.models.module import ExtractorModule

BATCH = 32


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("audio", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    extractor = ExtractorModule.load(options.model)
    spec, rate = extractor.config.segments, extractor.sample_rate
    spent = {"decode": 0.0, "features": 0.0, "network": 0.0}
    audio_s = 0.0
    for path in find_audio(options.audio).paths:
        started = time.perf_counter()
        segments = list(cut(decode(path, rate), spec, rate))
        spent["decode"] += time.perf_counter() - started
        audio_s += segments[-1].end_s
        for batch in in_batches(segments, BATCH):
            waveforms = torch.from_numpy(stack(batch))
            with torch.inference_mode():
                started = time.perf_counter()
                features = extractor.front_end(waveforms)
                between = time.perf_counter()
                extractor.network.embedding(extractor.normalise(features))
                spent["features"] += between - started
                spent["network"] += time.perf_counter() - between
    total = sum(spent.values())
    print("| stage | ms for a second of audio | share |\n|---|---|---|")
    for stage, seconds in {**spent, "all": total}.items():
        print(f"| {stage} | {1000 * seconds / audio_s:.2f} | {100 * seconds / total:.0f} % |")


if __name__ == "__main__":
    main()
