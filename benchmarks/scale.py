"""What grows with a collection, and how: files, hours, segments, parts, and workers.

    python benchmarks/scale.py [--files 1000 10000 100000] [--hours 1 4] [--segments 100000 1000000]
        [--parts 100 1000 10000] [--workers 1 2] [--only files parts] [--work runs/scale]

Every step is a command in a process of its own, and its line goes into steps.jsonl: a second call
goes on with what is missing, and prints all tables. Processor time is user and system time of the
command and of all processes that it started; memory is that of the largest of them. "More" is what
each file, or segment, costs beyond those of the row before: it stays the same where growth is
linear, whatever a command takes to start. Wall time is worth something on a quiet machine alone.

files      sounds of 1 s at 16 kHz, a thousand in a folder, links to one of them; an extractor whose
           network does next to nothing, so that what a file costs shows. Refreshing finds one file
           in a hundred changed and one gone.
hours      embedkit's own model on files of ten minutes, 44.1 kHz stereo WAV, links to one.
segments   256 numbers each, those of search.py, a hundred in a clip of one of 20 labels.
explorer   its start on these: until it answers, then the map's places, then a search.
parts      the same 16,000 clips in more and more parts, by 16 shards.
workers    side by side, as shards and by Ray, on 480 files of a minute, else like those of `hours`;
           so many as the row says, on as many cores (by taskset, of util-linux).
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from embedkit.store import EmbeddingWriter, FileRecord, Provenance

PROGRAM = Path(sys.executable).with_name("embedkit")
FOLDER = 1000  # files in one
CLIP, BLOCK = 100, 10_000  # segments of a clip, and made at a time
SIZE = 256  # numbers
PART_CLIPS, SHARDS = 16_000, 16
MOST_EXPLORED = 1_000_000
DONE = "done"
WORKERS_HOURS = 8
SUBREAPER = 36  # of prctl: what our children leave behind becomes ours
Step = dict[str, Any]


class Log:
    """The steps that are done, in a file."""

    def __init__(self, work: Path) -> None:
        self.path = work / "steps.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.steps = [json.loads(line) for line in lines]

    def has(self, group: str, size: int, step: str) -> bool:
        """Whether a step is done."""
        return any((group, size, step) == (s["group"], s["size"], s["step"]) for s in self.steps)

    def __call__(self, group: str, size: int, step: str, measure: Callable[[], Step]) -> None:
        """Do a step, unless it is done."""
        if self.has(group, size, step):
            return
        print(f"{group} {size:,}: {step}", file=sys.stderr, flush=True)
        self.steps.append({"group": group, "size": size, "step": step, **measure()})
        with self.path.open("a") as file:
            file.write(json.dumps(self.steps[-1]) + "\n")


def ended() -> Iterator[tuple[int, int, Any]]:
    """All that was started and has ended or will, with what it took."""
    while True:
        try:
            yield os.wait4(-1, 0)
        except ChildProcessError:
            return


def spent(*commands: Sequence[object], **env: str) -> Step:
    """What commands take that run side by side, with all that they start."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    started = time.perf_counter()
    own = set()
    for command in commands:
        words = [str(word) for word in command]
        own.add(os.posix_spawn(words[0], words, {**os.environ, **env}))
    seconds, peak, walls = 0.0, 0, []
    for pid, status, usage in ended():
        if pid in own:
            assert os.waitstatus_to_exitcode(status) == 0, commands
            walls.append(time.perf_counter() - started)
        seconds += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
    return {"cpu_s": seconds, "peak_mb": peak / 2**10, "wall_s": max(walls)}


def embedkit(*arguments: object, **env: str) -> Step:
    """An embedkit command, whose results nobody reads."""
    quiet = 'exec "$0" --quiet "$@" > /dev/null'
    return spent(["/bin/sh", "-c", quiet, PROGRAM, *arguments], **env)


def python(code: str, *arguments: object) -> Step:
    """A few lines of Python."""
    return spent([sys.executable, "-c", code, *arguments])


def made(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that is made whole, or again.

    In a fork: what this process ever held counts as held by all that it starts.
    """
    half = folder.with_name(f"{folder.name}-half")
    if not folder.exists():
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        maker = multiprocessing.get_context("fork").Process(target=make, args=(half,))
        maker.start()
        maker.join()
        assert maker.exitcode == 0
        half.rename(folder)
    return folder


def link_files(folder: Path, count: int, seconds: float, rate: int, channels: int) -> None:
    """So many sounds, a thousand in a folder, links to the first of each."""
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((round(seconds * rate), channels))
    for number in range(count):
        path = folder / f"{number // FOLDER:04}" / f"{number:07}.wav"
        if number % FOLDER == 0:  # file systems bound how many links a file may have
            path.parent.mkdir(parents=True)
            soundfile.write(path, noise, rate)
            first = path
        else:
            os.link(first, path)


def change_files(folder: Path, count: int) -> None:
    """Change one file in a hundred, and take another one away."""
    for number in range(0, count, 100):
        changed, gone = (
            folder / f"{one // FOLDER:04}" / f"{one:07}.wav" for one in (number + 50, number + 51)
        )
        content = changed.read_bytes()
        changed.unlink()
        changed.write_bytes(content)
        gone.unlink(missing_ok=True)


def small_extractor(folder: Path) -> Path:
    """An extractor whose network does next to nothing: means of 64 samples, mixed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    mixing = np.random.default_rng(0).standard_normal((250, SIZE)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["waveform", "shape"], ["pieces"]),
            helper.make_node("ReduceMean", ["pieces"], ["means"], axes=[2], keepdims=0),
            helper.make_node("MatMul", ["means", "mixing"], ["embedding"]),
        ],
        "small",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", 16000])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", SIZE])],
        [
            numpy_helper.from_array(np.array([-1, 250, 64]), "shape"),
            numpy_helper.from_array(mixing, "mixing"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "small.onnx")
    (folder / "extractor.toml").write_text(
        'name = "small"\n[network]\nfile = "small.onnx"\n[input]\nname = "waveform"\n'
        'sample_rate = 16000\nwindow_s = 1.0\nlayout = "batch samples"\n'
        '[output]\nembedding = "embedding"\n'
    )
    return folder / "extractor.toml"


def made_rows(rows: int) -> Iterator[tuple[str, Any]]:
    """Clips of a hundred segments: their names and vectors."""
    from search import draw

    for block in range(0, rows, BLOCK):
        vectors = draw(min(BLOCK, rows - block), SIZE, block)
        for start in range(0, len(vectors), CLIP):
            clip = (block + start) // CLIP
            yield f"{clip // FOLDER:04}/{clip:07}.wav", vectors[start : start + CLIP]


def write_clips(
    folder: Path, clips: Iterator[tuple[str, Any]], shard: int = 0, each: int = 0
) -> None:
    """An embedding folder of clips; with `each` a part for so many of them."""
    provenance = Provenance(
        audio_root="/", model="made", fingerprint="f" * 64, embedding_size=SIZE,
        features={"sample_rate": 16000}, segment_s=1.0, hop_s=1.0, channel="mix", runtime="none",
    )  # fmt: skip
    facts = {"size": 1, "mtime_ns": 1, "kind": "", "message": ""}
    with EmbeddingWriter(folder, provenance, shard) as writer:
        for number, (clip, vectors) in enumerate(clips, start=1):
            index = np.arange(len(vectors), dtype=np.int32)
            writer.add_rows(clip, index, index * 1.0, index + 1.0, vectors)
            seconds = float(len(vectors))
            writer.finish_file(
                FileRecord(clip=clip, rows=len(vectors), duration_s=seconds, **facts)
            )
            if each and number % each == 0:
                writer.close_part()


LIST = "import sys; from pathlib import Path; from embedkit.audio.files import walk\n"
LIST += "assert sum(found.is_audio for found in walk(Path(sys.argv[1]))) == int(sys.argv[2])"
READ = "import sys; from embedkit.store import EmbeddingTable\n"
READ += "table = EmbeddingTable.open(sys.argv[1])\n"
READ += "assert sum(len(rows.clips) for rows in table.batches()) == len(table)"
START = "import sys; from pathlib import Path\n"
START += "from embedkit.store import read_journal, remove_leftovers\n"
START += "remove_leftovers(Path(sys.argv[1])); read_journal(Path(sys.argv[1]))"
RAY = "import sys, ray; from pathlib import Path; from embedkit.config import DEFAULT_MODEL\n"
RAY += "from embedkit.extraction.cluster import extract_on_ray\n"
RAY += "ray.init(num_cpus=int(sys.argv[3]), log_to_driver=False)\n"
RAY += "extract_on_ray(Path(sys.argv[1]), DEFAULT_MODEL, Path(sys.argv[2]), shards=8)"

Did = Callable[
    [str, Callable[[], Step]], None
]  # a step of a group at a size: its name, and what it does


def files(do: Did, work: Path, size: int) -> None:
    """What a file costs."""
    audio = made(work / "audio", lambda folder: link_files(folder, size, 1.0, 16000, 1))
    emb = work / "embeddings"
    run = ("extract", audio, "--out", emb, "--model", small_extractor(work / "small"))
    do("list", lambda: python(LIST, audio, size))
    do("extract", lambda: embedkit(*run))
    do("resume", lambda: embedkit(*run))

    def refresh() -> Step:
        change_files(audio, size)
        return embedkit(*run, "--refresh")

    do("refresh", refresh)
    do("info", lambda: embedkit("info", emb, "--json"))


def hours(do: Did, work: Path, size: int) -> None:
    """What an hour of sound costs with embedkit's own model."""
    audio = made(work / "audio", lambda folder: link_files(folder, 6 * size, 600.0, 44100, 2))
    do("extract", lambda: embedkit("extract", audio, "--out", work / "embeddings"))


def segments(do: Did, work: Path, size: int) -> None:
    """What a segment costs, and the explorer's start."""
    emb = made(work / "embeddings", lambda folder: write_clips(folder, made_rows(size)))
    labels, model = work / "labels.csv", work / "classifier"
    draw = random.Random(0)
    names = [f"{clip // FOLDER:04}/{clip:07}.wav" for clip in range(size // CLIP)]
    lines = [f"{name},kind{draw.randrange(20)}" for name in names]
    labels.write_text("\n".join(["path,label", *lines]))
    do("read", lambda: python(READ, emb))
    ask = ("search", emb, f"{names[0]}@0-1", "--top", 10)
    for step in ("search, first", "search, again"):
        do(step, lambda: embedkit(*ask, XDG_CACHE_HOME=str(work / "cache")))
    fit = ("fit", emb, "--labels", labels, "--method", "logistic", "--out", model)
    do("classify fit", lambda: embedkit("classify", *fit, "--segments"))
    predict = ("predict", emb, "--classifier", model, "--segments", "--out", work / "out.parquet")
    do("classify predict", lambda: embedkit("classify", *predict))
    find = ("--threshold", 0.5, "--out", work / "out.csv")
    do("detect", lambda: embedkit("detect", emb, "--classifier", model, *find))
    if size <= MOST_EXPLORED:
        explorer(do, emb)


def explorer(do: Did, emb: Path) -> None:
    """The explorer's start: its processor time until it answers, and for the first answers."""
    from explorer import base, request

    begun, before = time.perf_counter(), 0.0
    command = [PROGRAM, "explore", emb, "--audio-root", emb, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    link = server.stdout.readline().strip()
    place = base(link)

    def look(since: float) -> Step:
        nonlocal before
        now = psutil.Process(server.pid).cpu_times()
        took, before = now.user + now.system - before, now.user + now.system
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 2**10
        return {"cpu_s": took, "peak_mb": peak, "wall_s": time.perf_counter() - since}

    def asked(path: str, body: bytes | None = None) -> Step:
        since = time.perf_counter()
        request(link, f"{place}/{path}", body)
        return look(since)

    do("explore, until it answers", lambda: look(begun))
    do("explore, the map", lambda: asked("points/pca"))
    do("explore, a search", lambda: asked("search", b'{"like": [300]}'))
    server.terminate()
    server.communicate(timeout=60)
    for _ in ended():  # what it had started is not of the next step
        pass


def parts(do: Did, work: Path, size: int) -> None:
    """What a part costs."""

    def write(folder: Path) -> None:
        os.fsync = lambda _: None  # of a fork: so many parts take long to be safe
        vector = np.ones((1, SIZE), np.float32)
        for shard in range(SHARDS):
            names = (f"{shard}/{number:05}.wav" for number in range(PART_CLIPS // SHARDS))
            clips = ((name, vector) for name in names)
            write_clips(folder, clips, shard, PART_CLIPS // size)

    emb = made(work / "embeddings", write)
    do("a run's start", lambda: python(START, emb))
    do("read", lambda: python(READ, emb))


def workers(do: Did, work: Path, size: int) -> None:
    """What workers gain."""
    count, emb = 60 * WORKERS_HOURS, work / "embeddings"
    audio = made(work / "audio", lambda folder: link_files(folder, count, 60.0, 44100, 2))
    shard = ("--quiet", "extract", audio, "--out", emb, "--workers", 1, "--shard")
    shares = [[*on_core(one, one), PROGRAM, *shard, f"{one + 1}/{size}"] for one in range(size)]
    do("shards", lambda: spent(*shares))
    shutil.rmtree(emb, ignore_errors=True)
    by_ray = [*on_core(0, size - 1), sys.executable, "-c", RAY, audio, emb, size]
    do("ray", lambda: spent(by_ray))


def on_core(first: int, last: int) -> list[str]:
    """The beginning of a command that has some cores, by number."""
    return ["/bin/sh", "-c", 'exec taskset -c "$0" "$@"', f"{first}-{last}"]


def table(log: Log, group: str, one: str) -> None:
    """Print what a group's steps took."""
    steps = sorted(
        (s for s in log.steps if s["group"] == group and s["step"] != DONE), key=lambda s: s["size"]
    )
    if not steps:
        return
    print(f"\n| {one}s | step | processor time, s | more for each {one} | peak MB | wall, s |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(step["step"] for step in steps):
        before: Step = {}
        for step in (step for step in steps if step["step"] == name):
            more = ""
            if before:
                extra = (step["cpu_s"] - before["cpu_s"]) / (step["size"] - before["size"])
                more = f"{extra:.2f} s" if abs(extra) > 0.1 else f"{1e6 * extra:,.1f} µs"
            print(
                f"| {step['size']:,} | {name} | {step['cpu_s']:,.1f} | {more} |"
                f" {step['peak_mb']:,.0f} | {step['wall_s']:,.1f} |"
            )
            before = step


GROUPS = {
    "files": (files, "file", [1000, 10_000, 100_000]),
    "hours": (hours, "hour", [1, 4]),
    "segments": (segments, "segment", [100_000, 1_000_000]),
    "parts": (parts, "part", [100, 1000, 10_000]),
    "workers": (workers, "worker", [1, 2]),
}


def main() -> None:
    """Do what is missing, and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for group, (_, _, sizes) in GROUPS.items():
        parser.add_argument(f"--{group}", nargs="+", type=int, default=sizes)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    log = Log(options.work)
    for group in options.only:
        for size in getattr(options, group):
            work = options.work.absolute() / f"{group}-{size}"
            if not log.has(group, size, DONE):
                GROUPS[group][0](partial(log, group, size), work, size)
                log(group, size, DONE, dict)
            shutil.rmtree(work, ignore_errors=True)
    for group, (_, one, _) in GROUPS.items():
        table(log, group, one)


if __name__ == "__main__":
    main()
