"""Mistakes of a user, with every command: each message says what was found, and what to do."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import run
from made import draw, write_table_of

MISTAKES = {
    # Paths.
    "extract nothing --out out": "nothing: no such file or folder",
    "extract empty --out out": "empty: it is empty; is the disk mounted?",
    "extract noaudio --out out": "no audio file below noaudio: there are 1 .txt",
    "extract sounds --out notes.txt": "notes.txt: a file is there; name a folder to write",
    "extract sounds --out out --model nowhere": "nowhere: not a model folder: it has no"
    " config.json. `embedkit train` makes one.",
    "extract sounds --out out --model model": "model/config.json: not a model's settings",
    "extract sounds --out out --audio-root empty": "sounds: not in the audio root empty",
    "extract sounds --out emb": "use the same setting or another folder",
    "search nothing a/1.wav": "it has no manifest.json; `embedkit extract` makes one",
    "search sounds a/1.wav": "it has no manifest.json; `embedkit extract` makes one",
    "search emb nosuch.wav": "name the folder of the model that made these vectors (it was model)"
    " with --model",
    "tag emb": "(it was model) with --model",
    "info nothing": "nothing: neither a model folder, nor an embedding folder, nor a file",
    "export nowhere": "`embedkit train` makes one.",
    "predict nowhere sounds": "`embedkit train` makes one.",
    "classify predict emb --classifier nowhere": "`embedkit classify fit` makes one.",
    "detect emb --classifier sounds": "`embedkit classify fit` makes one.",
    "convert emb --to npz --out labels.csv": "labels.csv: is there already; name another place",
    "map emb --out map.gif": "map.gif: name a .png or an .html file",
    "mix empty --hours 1 --out out": "empty: it is empty; is the disk mounted?",
    "models add notes.txt": "notes.txt: expected an .onnx or a .tflite file",
    "models add nothing.onnx": "nothing.onnx: cannot be read: No such file or directory; name",
    "bench extractors sounds --labels labels.csv --models nowhere --out out": "nowhere: not a model"
    " folder: it has no config.json. `embedkit train` makes one.",
    "review emb --classifier nowhere --answers r.csv": "`embedkit classify fit` makes one.",
    "learn-names nowhere sounds --teacher more.toml": "`embedkit train` makes one.",
    "evaluate nowhere labels.csv": "`embedkit train` makes one.",
    "convert sounds --from hoplite --name x --out out": "not a folder of hoplite's: it has no",
    # Names of which there are few.
    "extract sounds --out out --runtime fast": "no runtime 'fast'; there are: onnx, onnx-int8,",
    "extract sounds --out out --engine slurm": "'slurm' is not one of 'local'",
    "search emb a/1.wav --metric l3": "no metric 'l3'; there are: cosine, dot",
    "search emb a/1.wav --index tree": "no kind 'tree'; there are: flat, hnsw, ivf-pq",
    "index emb --index hsnw": "no kind 'hsnw'; did you mean hnsw?",
    "classify fit emb --labels labels.csv --method forest --out out": "no method 'forest';"
    " there are: logistic, knn, plda, mlp",
    "cluster emb --method tree": "no method 'tree'; there are: kmeans, hdbscan",
    "map emb --projection sphere --out map.png": "no projection 'sphere'; there are: pca, tsne,",
    "convert emb --to xml --out out": "no format 'xml'; there are: npy, npz, csv,",
    "train labels.csv --model gapp --out out": "no model 'gapp'; did you mean gap?",
    "train --dataset esc51 --root sounds --model gap --out out": "no data set 'esc51'; did you",
    "serch emb a/1.wav": "No such command 'serch'. Did you mean 'search'",
    "search emb a/1.wav --tpo 3": "No such option: --tpo (Possible options: --top)",
    # Values.
    "extract sounds --out out --dim 100": "of 64, 128, 256, 512, 1024, not of 100; `embedkit train",
    "extract sounds --out out --channel middle": "channel 'middle': expected mix, left, right or a",
    "extract sounds --out out --hop 0": "a hop of 0.0 s: must be from 0.01 s to the segment's",
    "extract sounds --out out --shard 3": "shard '3': expected I/N with I from 1 to N, as in 1/8",
    "extract sounds --out out --shard 5/4": "shard '5/4': expected I/N with I from 1 to N",
    "extract sounds --out out --band 8000-2000": "band '8000-2000': expected LOW-HIGH in Hz, as",
    "extract sounds --out out --speed 0": "speed 0: must be from 0.01 to 100",
    "extract sounds --out out --workers 0": "'--workers': Input should be greater than or equal",
    "search emb a/1.wav --top 0": "'--top': Input should be greater than or equal",
    "search emb a/1.wav@9-12": "a/1.wav has no segment from 9 to 12 s",
    "search emb a/1.wav@2-1": "a span from 2 to 1 s is empty; expected FROM-TO with FROM below TO",
    "search emb a/1.wav --hours 25-3": "'25-3' is no part of a day; expected hours from 0 to 24",
    "search emb a/1.wav --after yesterday": "'yesterday' is no date or time; expected 2023-05-01",
    "describe emb --timezone Mars/Base": "no timezone 'Mars/Base'; say it as in Europe/Berlin",
    "describe emb --site-pattern [": "a pattern of sites has one {site}, as in {site}/*",
    "duplicates emb --least 2": "'--least': Input should be less than or equal to 1",
    "explore notes.txt": "notes.txt: neither an embedding folder, which has a manifest.json, nor a",
    "explore emb --token aaa": "--token: it can be guessed; at least 16 characters",
    # Options that need each other.
    "search emb": "name sounds to search for, or --like, with or without --unlike, or --text",
    "search emb a/1.wav --where x": "--labels and --where go together",
    "distil sounds --out out": "name one of --targets, stored vectors, and --teacher",
    "convert emb --to npy --labels labels.csv --out out": "--labels goes with hoplite, whose",
    "detect emb --classifier nowhere --format raven": "--format needs --out: name a file, or a",
    "bench sizes": "name --embeddings and --labels, or --data and --out",
    "bench sizes --embeddings emb": "--embeddings goes with --labels, and without --data, --out,",
    "bench paper --out out": "name a folder or manifest, or --dataset NAME with --root DIR",
    "verify emb a/1.wav --classifier nowhere": "name two sounds, or --trials",
    # Labels and settings.
    "classify fit emb --labels nothing.csv --out out": "nothing.csv: no such file or folder",
    "classify fit emb --labels colours.csv --out out": "has no column label (or labels, category,",
    "classify fit emb --labels elsewhere.csv --out out": "no label joins a clip. Paths of"
    " elsewhere.csv: q.wav, r.wav; clips there: a/1.wav, a/2.wav, b/3.wav.",
    "classify fit emb --labels one.csv --out out": "a classifier needs at least 2 labels",
    "classify evaluate emb --labels labels.csv --hold-out-fold 1": "no fold column: add one, or",
    "scene emb labels.csv --folds": "the labels have no folds: add a fold column, or leave out",
    "search emb a/1.wav --labels labels.csv --where z": "no clip of the collection fits z",
    "label emb --answers notes.txt": "has no column path (or clip, file, filename,",
    "train --dataset esc50 --root sounds --model gap --out out": "it comes with ESC-50, https://",
    "distil sounds --teacher more.toml --out out": "more.toml: what: no such key; there are: name,",
    "--config broken.toml models": "broken.toml: cannot be read as TOML: Invalid statement (at",
    "--config more.toml models": "more.toml: no command 'name'; there are: bench, classify,",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    clips = ("a/1.wav", "a/2.wav", "b/3.wav", "b/4.wav")
    vectors = {clip: draw(3, 64, seed) for seed, clip in enumerate(clips)}
    write_table_of(folder / "emb", vectors, root=folder / "sounds")
    for name in ("empty", "noaudio", "model", "sounds/a"):
        (folder / name).mkdir(parents=True)
    soundfile.write(folder / "sounds/a/1.wav", np.zeros(16000), 16000)
    for name, text in {
        "noaudio/x.txt": "x",
        "model/config.json": "{",
        "notes.txt": "hello\n",
        "labels.csv": "path,label\na/1.wav,x\na/2.wav,x\nb/3.wav,y\nb/4.wav,y\n",
        "colours.csv": "path,colour\na/1.wav,x\n",
        "elsewhere.csv": "path,label\nq.wav,x\nr.wav,y\n",
        "one.csv": "path,label\na/1.wav,x\na/2.wav,x\n",
        "more.toml": 'name = "x"\nwhat = 1\n',
        "broken.toml": "= 1",
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_told_with_what_to_do(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    done = run(*shlex.split(command))
    said = " ".join(done.stderr.replace("│", " ").split())  # a box, where the command is not known
    assert done.returncode in {1, 2}, said
    assert done.stdout == ""
    assert MISTAKES[command] in said
    assert not (place / "out").exists()


def test_there_are_many() -> None:
    assert len(MISTAKES) >= 75
