"""Sounds from outside: what the explorer and `search` say where one cannot be embedded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import run, succeed

from embedkit.errors import AudioError, EmbeddingFolderError, Kind
from embedkit.extraction import extract
from embedkit.search.query_embedder import QueryEmbedder
from embedkit.store import EmbeddingTable
from embedkit.web.uploads import Uploads


@pytest.fixture(scope="module")
def audio(
    tmp_path_factory: pytest.TempPathFactory,
    make_sound: Callable[..., np.ndarray],
    write_audio: Callable[..., Path],
) -> Path:
    root = tmp_path_factory.mktemp("audio")
    for seed in range(2):
        write_audio(root / f"{seed}.wav", make_sound(1.5, seed=seed))
    return root


def test_a_bad_upload_has_its_decoders_words_and_costs_no_process(
    tmp_path: Path, audio: Path, model_dir: Path
) -> None:
    extract(audio, model_dir, tmp_path / "emb")
    provenance = EmbeddingTable.open(tmp_path / "emb").provenance
    uploads = Uploads(provenance)
    (tmp_path / "upload").write_bytes(b"no sound")
    try:
        for _ in range(2):
            with pytest.raises(AudioError) as found:
                uploads.add(b"no sound")
            with pytest.raises(AudioError) as expected:
                QueryEmbedder(provenance).embed(tmp_path / "upload")
            assert found.value.kind == expected.value.kind == Kind.UNREADABLE
            assert str(found.value) == str(expected.value).removeprefix(f"{tmp_path}/upload: ")
            assert uploads._pool is not None
            processes = set(uploads._pool._processes)
            number = uploads.add((audio / "1.wav").read_bytes())
            assert set(uploads._pool._processes) == processes  # the one that said no
            np.testing.assert_allclose(
                uploads.vector(number),
                QueryEmbedder(provenance).embed(audio / "1.wav"),
                rtol=0,
                atol=1e-5,
            )
    finally:
        uploads.close()


CASES = {
    "missing": ("no such folder", "--model"),
    "foreign": ("not the model that made these", "--model"),
    "damaged": ("model.safetensors: cannot be read", "--model"),
    "imported": ("were imported from BirdNET", "clips of the collection"),
}


@pytest.mark.parametrize("case", CASES)
def test_where_the_model_is_not_the_one_search_and_explorer_say_what_is(
    tmp_path: Path, audio: Path, save_model: Callable[[int], Path], case: str
) -> None:
    model, emb = tmp_path / "model", tmp_path / "emb"
    other = None
    if case == "imported":
        np.save(tmp_path / "vectors.npy", np.eye(2, 4, dtype=np.float32))
        (tmp_path / "rows.csv").write_text("path,start,end\n0.wav,0,1\n1.wav,0,1\n")
        succeed(
            "convert", tmp_path / "vectors.npy", "--from", "npy", "--rows", tmp_path / "rows.csv",
            "--name", "BirdNET", "--audio", audio, "--out", emb,
        )  # fmt: skip
        refused = run("extract", audio, "--out", emb)
        assert (refused.returncode, "imported from BirdNET" in refused.stderr) == (1, True)
    else:
        shutil.copytree(save_model(3), model)
        extract(audio, model, emb)
    if case == "missing":
        shutil.rmtree(model)
    elif case == "foreign":
        other = save_model(4)
    elif case == "damaged":
        (model / "model.safetensors").unlink()
    query = tmp_path / "query.wav"
    shutil.copy(audio / "0.wav", query)
    arguments = () if other is None else ("--model", other)
    searched = run("search", emb, query, *arguments)
    assert (searched.returncode, searched.stdout) == (1, "")
    words = searched.stderr.splitlines()[-1].removeprefix("embedkit: ")
    found, advice = CASES[case]
    assert found in words
    assert advice in words
    if case != "imported":
        assert f"it was {model}" in words  # what was expected
    uploads = Uploads(EmbeddingTable.open(emb).provenance, other)
    try:
        with pytest.raises(EmbeddingFolderError) as error:
            uploads.add(query.read_bytes())
    finally:
        uploads.close()
    assert str(error.value) == words
    # Clips of the collection need no model.
    assert "1.wav" in succeed("search", emb, "0.wav")
