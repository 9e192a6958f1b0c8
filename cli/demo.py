"""embedkit demo: the whole way on sounds that embedkit makes itself."""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from ._app import app
from ._extraction import extraction_progress
from ._output import Json, message, print_figures, print_json, print_table, track
from ._outputs import OutFolder


@app.command()
def demo(
    out: Annotated[Path, OutFolder(help="The folder to write.")] = Path("demo"),
    json: Json = False,
) -> None:
    """Make sounds, extract, classify and search them, and write a report page.

    It needs no network and no data. A second run keeps what is there.

    Example: embedkit demo --out demo
    """
    from embedkit.demo.run import run_demo

    with extraction_progress() as report:
        done = run_demo(out, track, report)
    figures = {
        "clips": done.clips,
        "labels": done.labels,
        **{f"held_out_{name}": value for name, value in done.evaluation.figures().items()},
        "held_out_retrieval_map": done.retrieval_map,
        "held_out_precision_at_5": done.precision_at_5,
        **{f"{step}_seconds": value for step, value in done.seconds.items()},
    }
    if json:
        print_json(
            {
                **figures,
                "query": done.query,
                "results": [asdict(hit) for hit in done.hits],
                "report": str(done.report),
            }
        )
        return
    print_figures(figures)
    print(f"\nNearest to {done.query}:")
    print_table(
        ["similarity", "start_s", "end_s", "clip"],
        [
            [f"{hit.similarity:.4f}", f"{hit.start_s:.2f}", f"{hit.end_s:.2f}", hit.clip]
            for hit in done.hits
        ],
    )
    message(
        f"\nOpen {done.report} in a browser. To see, hear, search and label the collection there:"
        "\n\n"
        f"{_program()} explore {out / 'embeddings'}\n\n"
        f"The same for a folder of yours:\n\n{done.commands}"
    )


def _program() -> str:
    """How this program was called."""
    found = shutil.which("embedkit")
    same = found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve()
    return "embedkit" if same else sys.argv[0]
