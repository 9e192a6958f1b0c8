"""embedkit predict: a network's own scores of audio without labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._app import app
from ._output import Device, Dim, Json, print_json, print_table, report_failures, track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@app.command()
def predict(
    model_dir: Annotated[Path, typer.Argument(help="The model folder.")],
    audio: Annotated[Path, typer.Argument(help="An audio file, or a folder of them.")],
    segments: Annotated[
        bool,
        typer.Option("--segments", help="Print one line for each segment, not one for each clip."),
    ] = False,
    top: Annotated[int, typer.Option(help="The number of labels to print.", min=1)] = 3,
    dim: Dim = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Score audio with the network itself, by segment and by clip.

    The scores of a clip are the mean of its segments' scores, weighted by their real duration.
    `--json` prints all scores of both.

    Example: embedkit predict model dog.wav
    """
    from embedkit.audio.files import clip_name, find_audio
    from embedkit.models.module import ExtractorModule
    from embedkit.training.evaluation import score_file

    extractor = ExtractorModule.load(model_dir, device, dim=dim)
    labels = extractor.config.labels
    paths = find_audio(audio).paths
    rows: list[list[str]] = []
    clips: list[dict[str, Any]] = []
    failures = []
    for path in track(paths, "Scoring", len(paths)):
        scores = score_file(extractor, path)
        name = clip_name(path, audio)
        if scores.kind:
            failures.append((name, scores.kind, scores.message))
        if not len(scores.segments):
            continue
        spans = list(zip(scores.start_s, scores.end_s, scores.segments, strict=True))
        if json:
            clips.append(
                {
                    "clip": name,
                    "scores": _by_label(labels, scores.clip),
                    "segments": [
                        {"start_s": start, "end_s": end, "scores": _by_label(labels, values)}
                        for start, end, values in spans
                    ],
                }
            )
        elif segments:
            rows += [
                [name, f"{start:.2f}", f"{end:.2f}", _best(labels, values, top)]
                for start, end, values in spans
            ]
        else:
            rows.append([name, "0.00", f"{scores.end_s[-1]:.2f}", _best(labels, scores.clip, top)])
    if json:
        print_json(clips)
    else:
        print_table(["clip", "start_s", "end_s", "labels"], rows)
    report_failures(failures, of=len(paths))


def _by_label(labels: tuple[str, ...], scores: "NDArray[np.floating]") -> dict[str, float]:
    return dict(zip(labels, map(float, scores), strict=True))


def _best(labels: tuple[str, ...], scores: "NDArray[np.floating]", top: int) -> str:
    order = (-scores).argsort(kind="stable")[:top]
    return ", ".join(f"{labels[index]} {scores[index]:.3f}" for index in order)
