"""Sounds that are cut out of their files."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from command import run, succeed
from made import draw, fit, labelled, write_table_of
from numpy.typing import NDArray

from embedkit.audio.blocks import floats
from embedkit.audio.excerpts import excerpts
from embedkit.audio.read import read
from embedkit.classifiers.cuts import cut_out, safe_name
from embedkit.classifiers.tracks import Span
from embedkit.errors import AudioError, EmbeddingFolderError

RATE = 22050


def sound(seconds: float = 3.0, channels: int = 2) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE), channels))
    return noise.astype(np.float32)


def write_mp3(path: Path, samples: NDArray[np.float32]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=RATE)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
        )
        frame.rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def decoded(path: Path) -> NDArray[np.float32]:
    with path.open("rb", buffering=0) as file:
        return np.concatenate([floats(block) for _, block in read(file, path, lambda note: None)])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.ogg", "a.mp3"])
def test_an_excerpt_is_a_part_of_the_whole_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.mp3":
        write_mp3(path, sound())
    else:
        soundfile.write(path, sound(), RATE)
    whole = decoded(path)
    # At the beginning, midway, over each other, beyond both ends, and beyond the end alone.
    spans = [(0.0, 0.5), (1.25, 2.0), (1.0, 1.5), (-1.0, 9.0), (2.9, 3.5), (4.0, 5.0)]
    found = {number: samples for number, rate, samples in excerpts(path, spans) if rate == RATE}
    assert sorted(found) == [0, 1, 2, 3, 4]
    for number, samples in found.items():
        first, last = (max(0, round(time * RATE)) for time in spans[number])
        np.testing.assert_array_equal(samples, whole[first:last])


def test_of_a_file_that_was_cut_short_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(), RATE)
    path.write_bytes(path.read_bytes()[: 44 + RATE * 4])  # a second of it
    found = []
    coming = excerpts(path, [(0.25, 0.5), (0.5, 2.0), (2.0, 2.5)])
    with pytest.raises(AudioError, match="header promises"):
        found.extend(coming)
    assert {e.number: len(e.samples) for e in found} == {0: 5513, 1: RATE // 2}
    assert len(list(excerpts(path, [(0.25, 0.5)]))) == 1  # is not bad as far as it is read


def test_cuts_are_the_files_samples_and_pass_the_spans_on(tmp_path: Path) -> None:
    root = tmp_path / "audio"
    (root / "d").mkdir(parents=True)
    soundfile.write(root / "d" / "a.wav", sound(), RATE, subtype="PCM_16")
    whole = soundfile.read(root / "d" / "a.wav", dtype="int16")[0]
    table = write_table_of(tmp_path / "emb", {"d/a.wav": draw(3), "gone.wav": draw(3)}, root=root)
    spans = [
        Span("d/a.wav", 1.0, 2.0, "x", 0.9),
        Span("gone.wav", 0.0, 1.0, "x", 0.9),
        Span("d/a.wav", 0.25, 0.5, "../y:", 0.9),
    ]
    failures: list[tuple[str, str, str]] = []
    assert list(cut_out(spans, table, tmp_path / "cut", 0.5, failures)) == spans
    assert [(clip, kind) for clip, kind, _ in failures] == [("gone.wav", "unreadable")]
    there = sorted(str(p.relative_to(tmp_path / "cut")) for p in tmp_path.rglob("cut/**/*.flac"))
    assert there == ["%2E.%2Fy%3A/d/a.wav_0.250-0.500.flac", "x/d/a.wav_1.000-2.000.flac"]
    for name, first, last in ((there[1], 0.5, 2.5), (there[0], 0.0, 1.0)):
        found, rate = soundfile.read(tmp_path / "cut" / name, dtype="int16")
        assert rate == RATE
        np.testing.assert_array_equal(found, whole[round(first * RATE) : round(last * RATE)])
    with pytest.raises(EmbeddingFolderError, match="leads out of"):
        list(cut_out([spans[0]._replace(clip="../a")], table, tmp_path / "cut", 0, failures))


def test_what_a_flac_cannot_hold_is_a_wav(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(1.0, 9), RATE, subtype="FLOAT")
    table = write_table_of(tmp_path / "emb", {"a.wav": draw(1)}, root=tmp_path)
    list(cut_out([Span("a.wav", 0.0, 0.5, "x", 1.0)], table, tmp_path / "cut", 0.0, []))
    found, _ = soundfile.read(tmp_path / "cut" / "x" / "a.wav_0.000-0.500.wav", dtype="float32")
    np.testing.assert_array_equal(found, sound(1.0, 9)[: RATE // 2])


def test_each_label_has_a_folder_of_its_own_and_none_leads_elsewhere() -> None:
    names = ["", ".", "..", "a/b", "a%2Fb", "a b", " a", "a ", "a\\b", "a\0", "鸟", "c" * 300]
    names += ["c" * 299 + "d", "CON:", "a\nb", "%", "a.", "Éa"]
    found = [safe_name(name) for name in names]
    assert len(set(found)) == len(names)
    for name in found:
        assert len(name) <= 100
        assert Path(name).name == name
        assert name not in {"", ".", ".."}
        assert name.isprintable()


def test_detect_and_search_cut_out_what_they_find(tmp_path: Path) -> None:
    data = labelled(3)
    fit(data).save(tmp_path / "classifier")
    clips = {"a.wav": data.vectors[:3], "b.wav": data.vectors[3:6]}
    table = write_table_of(tmp_path / "emb", clips, root=tmp_path / "audio", last_s=1.0)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", sound(), RATE)
    soundfile.write(tmp_path / "audio" / "b.wav", sound(), RATE)
    detect = ("detect", table.folder, "--classifier", tmp_path / "classifier", "--threshold", 0)
    succeed(*detect, "--save-clips", tmp_path / "cut", "--out", tmp_path / "found.csv")
    there = sorted(str(p.relative_to(tmp_path / "cut")) for p in tmp_path.rglob("cut/*/*"))
    assert there == [f"{x}/{c}.wav_0.000-3.000.flac" for x in "abc" for c in "ab"]
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 7
    (tmp_path / "audio" / "b.wav").unlink()
    done = run(*detect, "--save-clips", tmp_path / "some", "--padding", 0.5)
    assert done.returncode == 3
    assert "b.wav: unreadable" in done.stderr
    assert len(list(tmp_path.rglob("some/*/*"))) == 3
    assert len(done.stdout.splitlines()) == 7  # the detections are all there
    search = ("search", table.folder, "b.wav", "--segments", "--top", 2)
    succeed(*search, "--save-clips", tmp_path / "hits")
    assert len(list(tmp_path.rglob("hits/b.wav/a.wav_*.flac"))) == 2
