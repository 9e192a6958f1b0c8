"""The campaign of faults: what embedkit withstands, line by line, and what was lost.

    python benchmarks/faults.py [--only kills,cuts] [--share 1] [--json] [--afresh] [--out FOLDER]

Everything is made here: the sounds, the damage, the hostile files. A line is a process of its own;
what came of it is kept in the folder of `--out`, so that a campaign goes on where it was stopped.
The table goes to the standard output; the aim of its column "lost or wrong" is 0 in every row.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from campaign.outcome import SHOWN, Outcome
from embedkit.atomic import atomic_write

# Where each line is: a function of an empty folder and of the share that is tried of all cases.
LINES = {
    "kills": "kills",
    "torn": "kills",
    "suspended": "kills",
    "networks": "kills",
    "two_runs": "kills",
    "rewriters": "sharing",
    "labellers": "sharing",
    "ray_worker": "kills",
    "cuts": "decoding",
    "flips": "decoding",
    "lies": "decoding",
    "bad_files": "folders",
    "names": "folders",
    "mutants": "untrusted",
    "models": "untrusted",
    "arrays": "untrusted",
    "pickles": "untrusted",
    "fuzz": "fuzzing",
    "hostile": "explorer",
    "uploads": "explorer",
    "memory": "growing",
    "writes": "writes",
    "full_disks": "writes",
}


def run_line(name: str, share: float, result: Path) -> None:
    """Try one line, and keep what came of it."""
    module = import_module(f"campaign.{LINES[name]}")
    line: Callable[[Path, float], Outcome] = getattr(module, name)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
        outcome = line(Path(folder), share)
    found = vars(outcome) | {
        "line": name,
        "share": share,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - started),
    }
    with atomic_write(result) as file:
        file.write(json.dumps(found, indent=2).encode())


def table(found: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        "| line | what was tried | times | what came of it | lost or wrong | s |",
        "|---|---|---:|---|---:|---:|",
    ]
    for line in found:
        became = sorted(line["became"].items(), key=lambda item: -item[1])
        said = "; ".join(f"{count:,} {word}" if count > 1 else word for word, count in became)
        share = "" if line["share"] == 1 else f" ({line['share']:.0%} of it)"
        lines.append(
            f"| {line['line']} | {line['tried']}{share} | {line['times']:,} | {said} |"
            f" {len(line['wrong'])} | {line['seconds']:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the lines that have no result yet, and print all that there are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default=",".join(LINES), help="names, with commas between")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases, files and minutes")
    parser.add_argument("--json", action="store_true", help="instead of a table")
    parser.add_argument("--afresh", action="store_true", help="try again what has a result")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"))
    parser.add_argument("--line", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.line:
        run_line(options.line, options.share, options.out / f"{options.line}.json")
        return
    found, broken = [], []
    for name in options.only.split(","):
        if name not in LINES:
            parser.error(f"no line {name!r}; there are: {', '.join(LINES)}")
        result = options.out / f"{name}.json"
        if options.afresh:
            result.unlink(missing_ok=True)
        if not result.exists():
            print(f"{name} ...", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--line", name, "--out", options.out]
            done = subprocess.run([*command, "--share", str(options.share)], check=False)
            if done.returncode or not result.exists():
                broken.append(f"{name} (exit code {done.returncode})")
                continue
        found.append(json.loads(result.read_bytes()))
        for text in found[-1]["wrong"][:SHOWN]:
            print(f"{name}: {text}", file=sys.stderr)
    print(json.dumps(found, indent=2) if options.json else table(found))
    if broken:
        sys.exit(f"these did not come to their end: {', '.join(broken)}")
    sys.exit(any(line["wrong"] for line in found))


if __name__ == "__main__":
    main()
