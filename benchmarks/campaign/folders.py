"""A folder of a thousand bad files, and one of awkward names."""

import os
import socket
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np

from campaign.outcome import Outcome
from campaign.runs import whole
from campaign.sounds import FORMATS, RATE, sound, write
from embedkit.audio.files import clip_name
from embedkit.config import DEFAULT_MODEL
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import Kind
from embedkit.extraction import Settings, extract
from embedkit.labels.answers import Answers
from embedkit.labels.join import join_labels
from embedkit.labels.marks import Marks
from embedkit.search.queries import Queries
from embedkit.store import EmbeddingTable, clip_path

Damage = Callable[[Path, np.random.Generator], object]


def _wav(path: Path, size: int | None = None, rate: int = RATE, channels: int = 1) -> None:
    data = (sound(1) * 2**14).astype("<i2").tobytes()
    size = len(data) if size is None else size
    row = 2 * channels % 2**16
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * row % 2**32, row, 16)
    riff = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size)
    path.write_bytes(b"RIFF" + struct.pack("<I", (size + len(riff)) % 2**32) + riff + data)


def _cut(form: str) -> Damage:
    def make(path: Path, rng: np.random.Generator) -> None:
        FORMATS[form](path, sound(4))
        os.truncate(path, round(path.stat().st_size * rng.uniform(0.2, 0.8)))

    return make


def _noisy(form: str) -> Damage:
    def make(path: Path, rng: np.random.Generator) -> None:
        FORMATS[form](path, sound(8))
        data = bytearray(path.read_bytes())
        at = round(len(data) * rng.uniform(0.3, 0.6))
        data[at : at + len(data) // 10] = rng.bytes(len(data) // 10)
        path.write_bytes(data)

    return make


def _spoilt(value: float, start: float) -> Damage:
    def make(path: Path, rng: np.random.Generator) -> None:
        samples = sound(2).astype(np.float64)
        samples[round(start * len(samples)) :] = value
        write(path, samples, subtype="DOUBLE")

    return make


def _film(path: Path, rng: np.random.Generator) -> None:
    with av.open(path, "w", format="mp4") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(picture.encode(image))
        container.mux(picture.encode(None))


def _socket(path: Path, rng: np.random.Generator) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name has a hundred bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _content(make: Callable[[np.random.Generator], bytes]) -> Damage:
    return lambda path, rng: path.write_bytes(make(rng))


DAMAGED = {Kind.TRUNCATED, Kind.UNREADABLE}
# How a file is made, and as which kinds it may end.
BAD: dict[str, tuple[Damage, set[Kind]]] = {
    "empty.wav": (_content(lambda rng: b""), {Kind.EMPTY}),
    "header.wav": (lambda path, rng: write(path, np.zeros(0, np.float32)), {Kind.EMPTY}),
    "text.mp3": (_content(lambda rng: b"just words\n" * 99), {Kind.UNREADABLE}),
    "html.wav": (_content(lambda rng: b"<!doctype html><title>404</title>"), {Kind.UNREADABLE}),
    "noise.flac": (_content(lambda rng: rng.bytes(5000)), {Kind.UNREADABLE}),
    "zeros.ogg": (_content(lambda rng: bytes(5000)), {Kind.UNREADABLE}),
    "riff.wav": (_content(lambda rng: b"RIFF"), {Kind.UNREADABLE}),
    "magic.flac": (_content(lambda rng: b"fLaC" + rng.bytes(2000)), {Kind.UNREADABLE}),
    "magic.ogg": (_content(lambda rng: b"OggS" + rng.bytes(2000)), {Kind.UNREADABLE}),
    "magic.m4a": (_content(lambda rng: b"\0\0\0\x20ftypM4A " + rng.bytes(2000)), {Kind.UNREADABLE}),
    "zip.wav": (_content(lambda rng: b"PK\x03\x04" + rng.bytes(2000)), {Kind.UNREADABLE}),
    "pickle.wav": (_content(lambda rng: b"\x80\x04\x95" + rng.bytes(99)), {Kind.UNREADABLE}),
    "0-hz.wav": (lambda path, rng: _wav(path, rate=0), {Kind.UNREADABLE}),
    "1-hz.wav": (lambda path, rng: _wav(path, rate=1), {Kind.UNREADABLE}),
    "2^32-hz.wav": (lambda path, rng: _wav(path, rate=2**32 - 1), {Kind.UNREADABLE}),
    "0-channels.wav": (lambda path, rng: _wav(path, channels=0), {Kind.UNREADABLE}),
    "65535-channels.wav": (lambda path, rng: _wav(path, channels=65535), {Kind.UNREADABLE}),
    "claims-1-gb.wav": (lambda path, rng: _wav(path, size=10**9), {Kind.TRUNCATED}),
    "cut.wav": (_cut("wav"), {Kind.TRUNCATED}),
    "cut.flac": (_cut("flac"), DAMAGED),
    "cut.ogg": (_cut("ogg"), DAMAGED),
    "cut.mp3": (_cut("mp3"), DAMAGED),
    "cut.m4a": (_cut("m4a"), DAMAGED),
    "noise-amid.flac": (_noisy("flac"), {Kind.GAPS}),
    "noise-amid.ogg": (_noisy("ogg"), {Kind.GAPS}),
    "nan.wav": (_spoilt(np.nan, 0), {Kind.NON_FINITE}),
    "infinite-later.wav": (_spoilt(np.inf, 0.5), {Kind.NON_FINITE}),
    "1e300.wav": (_spoilt(1e300, 0), {Kind.NON_FINITE}),
    "film.mp4": (_film, {Kind.NO_AUDIO}),
    "pipe.wav": (lambda path, rng: os.mkfifo(path), {Kind.NOT_A_FILE}),
    "socket.wav": (_socket, {Kind.NOT_A_FILE}),
    "link.wav": (lambda path, rng: path.symlink_to("nowhere.wav"), {Kind.UNREADABLE}),
}
GOOD = 20


def bad_files(place: Path, share: float) -> Outcome:
    """A thousand bad files, and twenty good ones among them."""
    audio, alone, emb = place / "audio", place / "alone", place / "emb"
    expected = {}
    for folder in (audio, alone):
        for seed in range(GOOD):
            write(folder / f"{seed * 50:04}-good.wav", sound(2, seed))
    names = list(BAD)
    for number in range(round(1000 * share)):
        name = names[number % len(names)]
        path = audio / f"{number:04}-{name}"
        BAD[name][0](path, np.random.default_rng(number))
        expected[path.name] = BAD[name][1]
    command = [_program(), "extract", audio, "--out", emb, "--workers", "2", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    table = EmbeddingTable.open(emb)
    outcome = Outcome(tried=f"bad files of {len(BAD)} kinds, and {GOOD} good ones, in one folder")
    found = {record.clip: record for record in table.journal}
    for name, kinds in expected.items():
        record = found.get(name)
        if record is None:
            outcome.check(False, name, "not in the journal")
            continue
        right = record.kind in kinds and bool(record.message)
        outcome.check(right, name, f"{record.kind or 'good'}: {record.message}", record.kind)
    outcome.check(run.returncode == 3, "exit code", f"{run.returncode}, {run.stderr[-200:]}", "")
    untouched = whole(alone, place).rows()
    for clip in sorted(set(untouched.clips)):
        mine, theirs = table.clip_rows(clip), untouched.embeddings[untouched.clips == clip]
        right = mine.embeddings.shape == theirs.shape and bool(
            np.allclose(mine.embeddings, theirs, rtol=0, atol=1e-5)
        )
        outcome.check(right, clip, "other rows than alone", "good")
    outcome.became.pop("", None)
    return outcome


def _program() -> Path:
    return Path(sys.executable).with_name("embedkit")


PLAIN_NAMES = [
    " leading", "trailing ", "two  spaces", "tab\there", "new\nline", "return\rhere", "bell\x07",
    "escape\x1b[31mred", "-dash", "--out", "-", "~", "~root", ".hidden", "..two", "...",
    "a.wav.wav", "no suffix.", "UPPER", "upper", "$HOME", "${HOME}", "$(touch x)", "`touch x`",
    "; rm -rf x", "a&b", "a|b", "a>b", "a<b", "*", "?", "[a-z]", "{a,b}", "%s", "%n", "{0}",
    "{{x}}", "\\x41", "\\", "\\xe9", "\\x5c", "'", '"', "''", '"a,b";c', "a,b", "a;b", "=1+1", "+1",
    "@SUM(A1)", "#", "a#b?c=d", "%2e%2e%2f", "<script>alert(1)<", "&amp;", "null", "None", "CON",
    "nul", "é", "日本語", "العربية", "👩‍👩‍👧‍👦", "\u202egpj", "\u200b", "\ufeff", "\u2028", "İ",
    "ß", "ﬁ", "skip", "a" * 251,
]  # fmt: skip
NAMES = [
    *(f"{name}.wav".encode() for name in PLAIN_NAMES),
    unicodedata.normalize("NFD", "Ünïcode.wav").encode(),
    unicodedata.normalize("NFC", "Ünïcode.wav").encode(),
    b"\xe9.wav", b"latin-1 \xe9.wav", b"\xff\xfe.wav", b"half \xc3.wav", b"s \xed\xa0\x80.wav",
    b"folder.wav/inside.wav", b"a/b/c/d/e/f.wav", b" /space.wav", b"\n/line.wav",
]  # fmt: skip


def names(place: Path, share: float) -> Outcome:
    """Files with awkward names: embedded, listed, found again, labelled, marked and served."""
    audio, emb = place / "audio", place / "emb"
    made: list[Path] = []
    for seed, name in enumerate(NAMES[:: round(1 / share)]):
        path = audio / os.fsdecode(name)
        with suppress(OSError):  # a file system may not have such a name
            made.append(write(path, sound(1, seed)))
    extract(audio, DEFAULT_MODEL, emb, Settings(workers=1))
    table = EmbeddingTable.open(emb)
    clips = {record.clip for record in table.journal if not record.kind}
    known = [clip_name(path, audio) for path in made]
    answers = Answers(place / "labels.csv", clips)
    marks = Marks(place / "marks.csv", clips)
    for number, clip in enumerate(known):
        answers.set(clip, f"label {number}")
        marks.put(Stretch(clip=clip, start_s=0, end_s=1, label="x", sign=Sign.POSITIVE))
    said, stretches = Answers(place / "labels.csv", clips).labels, marks.stretches()
    joined, queries = _joined(place, emb), Queries(table)
    outcome = Outcome(tried="awkward names of files: embedded, found again, labelled and marked")
    for number, (path, clip) in enumerate(zip(made, known, strict=True)):
        wrong = ""
        if clip not in clips or len(table.clip_rows(clip).clips) != 1:
            wrong = "not in the folder"
        elif not (clip_path(audio, clip).exists() and clip_path(audio, clip).samefile(path)):
            wrong = f"its name leads to {clip_path(audio, clip)}"
        elif said.get(clip) != f"label {number}":
            wrong = f"its label is {said.get(clip)!r}"
        elif sum(stretch.clip == clip for stretch in stretches) != 1:
            wrong = "its mark is lost"
        elif joined.get(clip) != f"label {number}":
            wrong = f"`classify` joins {joined.get(clip)!r} to it"
        elif queries.clip(clip) != clip:
            wrong = f"`search` takes the clip's name for {queries.clip(clip)!r}"
        elif not np.allclose(queries.vector(clip), queries.vector(str(path)), atol=1e-4):
            wrong = "`search` hears another file under its path"
        outcome.check(not wrong, repr(clip), wrong, "found again")
    return outcome


def _joined(place: Path, emb: Path) -> dict[str, str]:
    """What the labels' reader makes of the CSV, joined to the clips."""
    data = join_labels(EmbeddingTable.open(emb), str(place / "labels.csv"))
    return {
        clip: data.labels[row.argmax()] for clip, row in zip(data.clips, data.targets, strict=True)
    }
