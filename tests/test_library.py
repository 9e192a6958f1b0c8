"""What `import embedkit` offers, as its docstrings show it."""

import doctest
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import succeed

import embedkit
from embedkit.audio.decode import decode
from embedkit.errors import AudioError, EmbedkitWarning, UsageError

ROOT = Path(__file__).parent.parent
NAMES = [
    "Extractor", "embed", "extract", "EmbeddingTable", "open", "classify", "Embeddings",
    "Embeddings.search_text", "Embeddings.tags", "Embeddings.to_pandas",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    write_audio: Callable[..., Path],
    make_sound: Callable[..., Any],
) -> Path:
    """A folder with two sounds, a copy of one beside it, and labels."""
    place = tmp_path_factory.mktemp("place")
    write_audio(place / "sounds" / "rooster.wav", make_sound(2.5, seed=1))
    write_audio(place / "sounds" / "crow.wav", make_sound(1.5, seed=2))
    write_audio(place / "rooster.wav", make_sound(2.5, seed=1))
    (place / "labels.csv").write_text("path,label\nrooster.wav,farm\ncrow.wav,bird\n")
    return place


def run_example(name: str, names: dict[str, Any]) -> None:
    found: Any = embedkit
    for part in name.split("."):
        found = getattr(found, part)
    [example] = doctest.DocTestFinder(recurse=False).find(found, name, globs=names)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append, clear_globs=False)
    assert not said, "".join(said)
    names.update(example.globs)


def test_the_examples_of_all_names_do_what_they_say(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    names: dict[str, Any] = {"embedkit": embedkit, "waveform": np.zeros(40000, np.float32)}
    for name in NAMES:
        run_example(name, names)
    shown = {name.partition(".")[0] for name in NAMES}
    assert set(embedkit.__all__) - shown == {"__version__"}
    assert dir(embedkit) == sorted(embedkit.__all__)
    classifier, table = names["classifier"], names["table"]
    assert [span.start_s for span in classifier.predict(table, segments=True)] == [0, 1, 0, 1, 2]
    [hit] = table.search_text("birds", classifier=classifier, top=1)
    scores = classifier.scores(table.rows().embeddings)[:, classifier.labels.index("bird")]
    assert (hit.name, hit.clip) == ("bird", table.rows().clips[scores.argmax()])
    assert hit.score == pytest.approx(scores.max())


def test_the_functions_do_what_the_commands_do(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    run = embedkit.extract("sounds", tmp_path / "function", dim=64, channel="left", workers=1)
    assert (run.files, run.rows) == (2, 5)
    succeed("extract", "sounds", "--out", tmp_path / "command", "--dim", 64, "--channel", "left")
    tables = [embedkit.open(tmp_path / name) for name in ("function", "command")]
    np.testing.assert_allclose(
        tables[0].rows().embeddings, tables[1].rows().embeddings, rtol=0, atol=1e-5
    )
    mine = tables[0].rows().clips == "rooster.wav"
    found = embedkit.embed("rooster.wav", dim=64)
    np.testing.assert_allclose(found, tables[0].rows().embeddings[mine], rtol=0, atol=1e-5)
    waveform = np.concatenate(list(decode(place / "rooster.wav", 16000)))
    wanted = embedkit.Extractor.load(dim=64).embed(waveform)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    # A file from outside finds the clip that it is a copy of; a clip leaves itself out.
    assert [hit.clip for hit in tables[0].search("./rooster.wav", top=1)] == ["rooster.wav"]
    assert [hit.clip for hit in tables[0].search("rooster.wav")] == ["crow.wav"]
    words = succeed("search", tables[0].folder, "--text", "rain", "--segments", "--json")
    heard = tables[0].search_text("rain", segments=True)
    assert [vars(hit) for hit in heard] == json.loads(words)[0]["results"]
    frame = tables[0].to_pandas()
    assert frame["clip"].tolist() == ["crow.wav"] * 2 + ["rooster.wav"] * 3
    np.testing.assert_array_equal(np.stack(frame["embedding"]), tables[0].rows().embeddings)


def test_a_damaged_file_is_embedded_as_far_as_it_goes_and_an_empty_one_is_an_error(
    tmp_path: Path, write_audio: Callable[..., Path], make_sound: Callable[..., Any]
) -> None:
    whole = write_audio(tmp_path / "whole.wav", make_sound(4.0))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: 44 + 2 * 32000])
    with pytest.warns(EmbedkitWarning, match=r"cut\.wav: truncated"):
        found = embedkit.embed(cut)
    np.testing.assert_allclose(found, embedkit.embed(whole)[:2], rtol=0, atol=1e-5)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav: "):
        embedkit.embed(tmp_path / "text.wav")
    with pytest.raises(UsageError, match="no setting 'worker'; did you mean workers"):
        embedkit.extract(tmp_path, tmp_path / "out", worker=1)


def test_a_script_needs_no_guard(place: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import embedkit\n"
        "print('begun')\n"
        f"run = embedkit.extract({str(place / 'sounds')!r}, {str(tmp_path / 'emb')!r}, workers=2)\n"
        "print(run.files)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "begun\n2\n"


def test_nothing_of_it_warns_of_itself(place: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embedkit.embed(place / "rooster.wav").shape == (3, 256)
