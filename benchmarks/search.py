"""Search among a million segments: recall, latency, build time and memory, beside plain FAISS.

    python benchmarks/search.py [--rows 1000000] [--sizes 64 256 1024] [--indices flat hnsw ivf-pq]

The vectors are made: 32 numbers drawn around 5,000 centres, mapped to the size, and noise; queries
are some of them, moved. Each index is made and searched in a process of its own. "Plain" is FAISS
called by hand on the same index, for ten segments at one query a time; recall is of segments,
against exact search.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.progress import untracked
from embedkit.search.choice import EVERY
from embedkit.search.index import IndexKind, Metric, open_index
from embedkit.search.segments import EFFORT as SEARCH_EFFORT
from embedkit.search.segments import PARAMETERS, PROBES, SearchIndex
from embedkit.store import EmbeddingTable, EmbeddingWriter, FileRecord, Provenance

TOP, QUERIES, SEGMENTS = 10, 1000, 100  # of a clip


def draw(rows: int, size: int, seed: int) -> NDArray[np.float32]:
    """Vectors like those of sounds: of many kinds, and of fewer dimensions than numbers."""
    rng = np.random.default_rng(0)
    centres, mapping = rng.standard_normal((5000, 32)), rng.standard_normal((32, size))
    rng = np.random.default_rng((1, seed))
    inner = centres[rng.integers(5000, size=rows)] + 0.5 * rng.standard_normal((rows, 32))
    vectors = inner @ mapping + 0.5 * rng.standard_normal((rows, size))
    return vectors.astype(np.float32)


def write(folder: Path, rows: int, size: int) -> None:
    """An embedding folder of that many rows."""
    provenance = Provenance(
        audio_root="/audio", model="made", fingerprint="f" * 64, embedding_size=size,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="none",
    )  # fmt: skip
    index = np.arange(SEGMENTS, dtype=np.int32)
    with EmbeddingWriter(folder, provenance) as writer:
        for clip in range(rows // SEGMENTS):
            name = f"{clip // 1000:04d}/{clip:07d}.wav"
            writer.add_rows(name, index, index * 1.0, index + 1.0, draw(SEGMENTS, size, clip))
            facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
            writer.finish_file(
                FileRecord(clip=name, rows=SEGMENTS, duration_s=float(SEGMENTS), **facts)
            )


def queries(size: int) -> NDArray[np.float32]:
    """Some of the rows, moved."""
    rng = np.random.default_rng(2)
    found = np.concatenate([draw(SEGMENTS, size, clip)[:1] for clip in range(QUERIES)])
    return (found + 0.5 * rng.standard_normal(found.shape)).astype(np.float32)


def measure(folder: Path, cache: Path, kind: IndexKind, size: int) -> dict[str, Any]:
    """Make an index and search it."""
    table = EmbeddingTable.open(folder)
    started = time.perf_counter()
    index = SearchIndex(table, kind=kind, cache=cache)
    made = time.perf_counter() - started
    asked = queries(size)
    index.search(asked[:10], TOP, choice=EVERY)
    seconds, found = [], []
    for query in asked:
        started = time.perf_counter()
        [hits] = index.search(query[None], TOP, choice=EVERY)
        seconds.append(time.perf_counter() - started)
        found.append([(hit.clip, hit.start_s) for hit in hits])
    started = time.perf_counter()
    index.search(asked, TOP, choice=EVERY)
    together = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    plain, _, _ = open_index(table, kind, Metric.COSINE, cache, untracked)
    more = {IndexKind.HNSW: {"efSearch": SEARCH_EFFORT}, IndexKind.IVF_PQ: {"nprobe": PROBES}}.get(
        kind, {}
    )
    by_hand = []
    for query in asked:
        unit = (query / np.linalg.norm(query))[None]
        started = time.perf_counter()
        plain.search(unit, TOP, params=PARAMETERS[kind](**more))
        by_hand.append(time.perf_counter() - started)
    started = time.perf_counter()
    SearchIndex(table, kind=kind, cache=cache)
    return {
        "found": found,
        "made_s": made,
        "opened_s": time.perf_counter() - started,
        "p50_ms": 1000 * float(np.median(seconds)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "per_second": QUERIES / together,
        "plain_p50_ms": 1000 * float(np.median(by_hand)),
        "peak_mb": peak,
    }


def _child(pipe: Any, *arguments: Any) -> None:
    faiss.omp_set_num_threads(2)
    pipe.send(measure(*arguments))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--indices", nargs="+", default=list(IndexKind))
    options = parser.parse_args()
    from embedkit.bench.extraction import processor_name  # loads torch: not in what is measured

    print(f"{processor_name()}, {options.rows:,} segments\n")
    print(
        "| numbers | index | recall@10 | p50 ms | p99 ms | plain FAISS, p50 ms | queries/s, 1,000"
        " at once | made in s | opened in s | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder, cache = Path(name) / "emb", Path(name) / "cache"
            write(folder, options.rows, size)
            print(f"{size}: written", file=sys.stderr)
            exact: list[set[Any]] = []
            for kind in map(IndexKind, options.indices):
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(theirs, folder, cache, kind, size))
                process.start()
                found = ours.recv()
                process.join()
                answers = [set(map(tuple, hits)) for hits in found.pop("found")]
                exact = exact or answers
                recall = np.mean([len(a & b) / TOP for a, b in zip(answers, exact, strict=True)])
                print(json.dumps({"size": size, "kind": kind, **found}), file=sys.stderr)
                print(
                    f"| {size} | {kind} | {recall:.3f} | {found['p50_ms']:.2f} |"
                    f" {found['p99_ms']:.2f} | {found['plain_p50_ms']:.2f} |"
                    f" {found['per_second']:,.0f} | {found['made_s']:.0f} |"
                    f" {found['opened_s']:.1f} | {found['peak_mb']:,.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
