"""Break embedkit in one place after another, and see which test notices.

    python benchmarks/mutations.py [WORD ...] [--without-check]

Each change is made in a copy of the repository, where the tests named for it run until one fails.
Before, all of them have to pass as they are. WORDs choose the places whose names have one of them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copy
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """A change of one place, and the tests that are to notice."""

    place: str
    says: str
    before: str
    after: str
    tests: str


MUTATIONS = (
    Mutation(
        "audio/segments.py", "the last segment of a clip ends with its padding",
        "(start, start + len(samples))", "(start, start + length)",
        "tests/audio/test_segments.py",
    ),
    Mutation(
        "audio/decode.py", "channels are added, not averaged",
        "np.float32(channels * full_scale(block))", "np.float32(full_scale(block))",
        "tests/audio/test_decode.py",
    ),
    Mutation(
        "audio/features.py", "the Hann window is symmetric, not periodic",
        "np.arange(length) / length)", "np.arange(length) / (length - 1))",
        "tests/audio/test_features.py",
    ),
    Mutation(
        "audio/files.py", "a link to a folder within the collection is followed",
        "if target in seen or (path.is_symlink() and target.is_relative_to(real_root)):",
        "if target in seen:",
        "tests/audio/test_files.py",
    ),
    Mutation(
        "scoring.py", "a padded tail counts as much as a whole segment",
        "np.maximum(np.asarray(seconds, np.float64), LEAST_S)[:, None]",
        "np.ones(np.shape(seconds))[:, None]",
        "tests/classifiers/test_predictions.py tests/extraction/test_extraction.py"
        " tests/test_scoring.py",
    ),
    Mutation(
        "store/writer.py", "the journal is renamed before the rows",
        "publish(self._rows, self._path(ROWS))\n            publish(files, self._path(FILES))",
        "publish(files, self._path(FILES))\n            publish(self._rows, self._path(ROWS))",
        "tests/store/test_store.py tests/extraction/test_supervision.py -k whatever_write",
    ),
    Mutation(
        "store/layout.py", "a writer goes on with other settings",
        "if other[name] != value:", "if name == 'format':",
        "tests/store/test_store.py",
    ),
    Mutation(
        "store/layout.py", "a clip's name may lead out of the collection",
        'if path.is_absolute() or ".." in path.parts or "\\0" in clip:', "if path.is_absolute():",
        "tests/audio/test_files.py",
    ),
    Mutation(
        "labels/stretches.py", "a segment that is half covered does not carry the label",
        "covered >= rule.cover * (end - begin) - TOLERANCE_S",
        "covered > rule.cover * (end - begin) + TOLERANCE_S",
        "tests/labels/test_stretches.py",
    ),
    Mutation(
        "labels/answers.py", "what an editor saved meanwhile is overwritten",
        "if self._state() != state:\n                return False",
        "if self._state() != state:\n                pass",
        "tests/labels/test_answers.py",
    ),
    Mutation(
        "datasets/manifest.py", "validation clips are drawn one by one, whatever their groups",
        "groups = [clip.group or str(clip.path) for clip in clips]",
        "groups = [str(clip.path) for clip in clips]",
        "tests/datasets/test_datasets.py",
    ),
    Mutation(
        "search/exact.py", "what a query is to be unlike is added to it",
        "positive - unit(np.stack(unlike)", "positive + unit(np.stack(unlike)",
        "tests/web/test_find.py",
    ),
    Mutation(
        "search/index.py", "a kept index of rows that were rewritten is used",
        "any(self.now.get(name) != facts for name, facts in parts.items())",
        "any(name not in self.now for name, facts in parts.items())",
        "tests/search/test_search.py -k kept_index",
    ),
    Mutation(
        "search/duplicates.py", "two copies alone have nothing left but the mean",
        "vectors.sum(axis=0) / (len(vectors) + 1)", "vectors.sum(axis=0) / len(vectors)",
        "tests/search/test_duplicates.py",
    ),
    Mutation(
        "metrics.py", "rare classes weigh as much as frequent ones in the weighted AUC",
        "_mean(_aucs(targets, scores), np.nansum(targets, axis=0))",
        "_mean(_aucs(targets, scores), np.ones(targets.shape[1]))",
        "tests/test_metrics.py",
    ),
    Mutation(
        "classifiers/plda.py", "many known vectors of a class are as uncertain as one",
        "self.between + self.within / count", "self.between + self.within",
        "tests/classifiers/test_plda.py",
    ),
    Mutation(
        "classifiers/knn.py", "neighbours of whom nothing is known vote no",
        "if (votes == UNKNOWN).any():", "if False:",
        "tests/classifiers/test_unknown.py",
    ),
    Mutation(
        "classifiers/splits.py", "a group is fitted on and scored",
        "    if both:\n        raise DatasetError(", "    if False:\n        raise DatasetError(",
        "tests/classifiers/test_splits.py",
    ),
    Mutation(
        "classifiers/detect.py", "overlapping segments speak for all of their time",
        "end_s[first] = start_s[first + 1] = middles", "pass",
        "tests/classifiers/test_detect.py",
    ),
    Mutation(
        "models/recurrent.py", "the LSTM's embedding is the mean of its states, not the last",
        "return states[:, -1]", "return states.mean(dim=1)",
        "tests/models/test_models.py",
    ),
    Mutation(
        "models/compact.py", "gap-lite pools variances, not deviations",
        "(variance + 1e-5).sqrt()", "(variance + 1e-5)",
        "tests/models/test_default_model.py",
    ),
    Mutation(
        "checkpoint.py", "weights kept in half precision stay so",
        "name: values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values",
        "name: values",
        "tests/models/test_checkpoint.py",
    ),
    Mutation(
        "runtime/onnx.py", "a network of other weights is run",
        "if made_from != fingerprint(model):", "if not made_from:",
        "tests/runtime/test_runtime.py -k int8_needs",
    ),
    Mutation(
        "runtime/description.py", "an extractor's files may stand outside its folder",
        'if pure.anchor or ".." in pure.parts:', "if pure.anchor:",
        "tests/runtime/test_description.py",
    ),
    Mutation(
        "runtime/foreign.py", "a waveform is divided by its mean square, not by the root of it",
        "np.sqrt(np.square(waveforms).mean(axis=1, keepdims=True))",
        "np.square(waveforms).mean(axis=1, keepdims=True)",
        "tests/runtime/test_foreign.py",
    ),
    Mutation(
        "export/quantise.py", "weights take all 8 bits, which overflow without VNNI",
        "reduce_range=True", "reduce_range=False",
        "tests/runtime/test_runtime.py -k quantised",
    ),
    Mutation(
        "memory.py", "a batch that does not fit is tried again as it is, less one",
        "most = math.ceil(len(batch) / 2)", "most = len(batch) - 1",
        "tests/test_memory.py",
    ),
    Mutation(
        "training/augment.py", "mixup leaves the targets of one of both",
        "(1 - narrow) * targets[other]", "(1 - narrow) * targets",
        "tests/training/test_training.py -k mix",
    ),
    Mutation(
        "training/objective.py", "the loss of several labels is a sum over the classes",
        "return loss / wanted.shape[1]", "return loss",
        "tests/training/test_training.py",
    ),
    Mutation(
        "extraction/collection.py", "a file of the same size is taken for unchanged",
        "(task.size, task.mtime_ns) != (sizes[index], times[index])", "task.size != sizes[index]",
        "tests/extraction/test_collection.py",
    ),
    Mutation(
        "extraction/collection.py", "what is below a folder that cannot be listed has vanished",
        "and not clip.startswith(tuple(closed))", "",
        "tests/extraction/test_collection.py",
    ),
    Mutation(
        "extraction/worker.py", "audio that two segments share counts twice",
        "(self._overlap_s if segment.index else 0)", "0",
        "tests/extraction/test_extraction.py",
    ),
    Mutation(
        "field/filters.py", "no hour is in a part of the day that goes past midnight",
        "else after | before", "else after & before",
        "tests/field/test_filters.py",
    ),
    Mutation(
        "field/describe.py", "a header without an offset goes before a name with one",
        "min(starts, key=lambda start: start.tzinfo is None, default=None)",
        "next(iter(starts), None)",
        "tests/field/test_describe.py",
    ),
    Mutation(
        "names/groups.py", "a group is called by what is frequent, not by what tells it apart",
        "key=lambda name: (apart[name], mine[name])", "key=lambda name: mine[name]",
        "tests/names/test_groups.py",
    ),
    Mutation(
        "names/tagging.py", "a name that is just likely enough is left out",
        "np.nonzero(scores >= least)", "np.nonzero(scores > least)",
        "tests/names/test_tagging.py",
    ),
    Mutation(
        "exchange/exports.py", "numbers are written with three digits",
        'fmt="%.6g"', 'fmt="%.3g"',
        "tests/exchange/test_exchange.py",
    ),
    Mutation(
        "kits/hear.py", "HEAR's moments are seconds, not milliseconds",
        "1000 * moments", "moments",
        "tests/kits/test_hear.py",
    ),
    Mutation(
        "pages/projection.py", "vectors that were laid out stand among their neighbours",
        "    points[drawn] = placed\n", "",
        "tests/pages/test_projection.py",
    ),
    Mutation(
        "web/guard.py", "any name of a host is answered (DNS rebinding)",
        "if name not in self._hosts:", "if not name:",
        "tests/web/test_guard.py",
    ),
    Mutation(
        "web/guard.py", "the token that a browser is opened with is good for ever",
        "            self._entry = None\n            return True", "            return True",
        "tests/web/test_guard.py",
    ),
    Mutation(
        "atomic.py", "a temporary file stays where a write fails",
        "temporary.unlink(missing_ok=True)", "pass",
        "tests/audio/test_files.py",
    ),
    Mutation(
        "bench/claims.py", "a claim that nothing decides is supported",
        "verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED", "Verdict.SUPPORTED",
        "tests/bench/test_bench.py -k 'claim or verdict'",
    ),
    Mutation(
        "../cli/_output.py", "files that failed are no failure of the command",
        "SOME_FAILED = 3", "SOME_FAILED = 0",
        "tests/cli/test_cli.py",
    ),
)  # fmt: skip


def copied(folder: Path) -> Path:
    """A copy of the repository whose modules go before those that are installed."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, folder / name)
    (folder / "embedkit_cli").symlink_to("cli")
    return folder


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Tests of the copy, until one fails."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = f'"{sys.executable}" -m pytest -x -p no:cacheprovider {tests}'
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def noticed(folder: Path, mutation: Mutation) -> str:
    """The test that fails, of those that are to notice; empty where all pass."""
    path = folder / "embedkit" / mutation.place
    text = path.read_text()
    if text.count(mutation.before) != 1:
        raise SystemExit(f"{mutation.place}: not there once: {mutation.before}")
    path.write_text(text.replace(mutation.before, mutation.after))
    try:
        done = run(folder, mutation.tests)
    finally:
        path.write_text(text)
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) \S*?(\w+\.py)::(\w+)", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    return f"`{found[1]}`: {found[2].removeprefix('test_').replace('_', ' ')}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--without-check", action="store_true", help="the tests are known to pass")
    options = parser.parse_args()
    chosen = [
        mutation
        for mutation in MUTATIONS
        if not options.words or any(word in mutation.place for word in options.words)
    ]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        for tests in () if options.without_check else dict.fromkeys(each.tests for each in chosen):
            done = run(folder, tests)
            if done.returncode:
                raise SystemExit(f"{tests}: do not pass as they are\n{done.stdout}{done.stderr}")
        print("| place | broken so that | noticed by |\n|---|---|---|")
        for mutation in chosen:
            test = noticed(folder, mutation)
            missed += not test
            place = mutation.place.removeprefix("../")
            print(f"| `{place}` | {mutation.says} | {test or '**nothing**'} |", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} noticed")


if __name__ == "__main__":
    main()
