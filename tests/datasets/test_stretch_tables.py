"""Labels with a beginning and an end: the same, whichever tool wrote them."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from embedkit.classifiers.tracks import Span, TrackFormat, write_tracks
from embedkit.datasets import Manifest, read_dataset
from embedkit.datasets.stretches import Sign
from embedkit.datasets.times import seconds
from embedkit.errors import DatasetError

Said = tuple[str, float, float, str, str]  # sound, start, end, label, sign

CALLS: list[Said] = [
    ("a/one.wav", 0.5, 1.25, "wren", "+"),
    ("a/one.wav", 61.0, 63.5, "wren", "+"),
    ("a/one.wav", 62.0, 62.0, "blue tit", "+"),
    ("b/two.wav", 3.0, 4.75, "wren", "+"),
]


def said(manifest: Manifest, root: Path) -> list[Said]:
    """What a manifest says, by the paths of its sounds below a folder."""
    return [
        (clip.path.relative_to(root).as_posix(), each.start_s, each.end_s, each.label, each.sign)
        for clip in manifest.clips
        for each in clip.stretches
    ]


def of(sound: str) -> list[Said]:
    return [call for call in CALLS if call[0] == sound]


def manifest_csv(root: Path) -> Path:
    frame = pd.DataFrame(CALLS, columns=["path", "start_s", "end_s", "label", "sign"])
    frame.to_csv(root / "labels.csv", index=False)
    return root / "labels.csv"


def manifest_parquet(root: Path) -> Path:
    frame = pd.DataFrame(CALLS, columns=["clip", "start", "end", "label", "sign"])
    frame.to_parquet(root / "labels.parquet")
    return root / "labels.parquet"


def several_labels_a_cell(root: Path) -> Path:
    (root / "labels.csv").write_text(
        "path;onset;offset;labels\na/one.wav;0,5;1,25;wren\na/one.wav;0:01:01;0:01:03,5;wren\n"
        "a/one.wav;1:02;1:02,000;blue tit\nb/two.wav;3;4,75; wren;\n"
    )
    return root / "labels.csv"


def with_lengths(root: Path) -> Path:
    lines = [f"{path},{start},{end - start},{label}" for path, start, end, label, _ in CALLS]
    (root / "labels.csv").write_text("\n".join(["file,start_s,duration_s,class", *lines]))
    return root / "labels.csv"


def raven(calls: list[Said], heading: str, more: Callable[[Said], str] = lambda call: "") -> str:
    """Raven Pro: each selection in both of its views."""
    lines = [
        f"{number}\t{view} 1\t1\t{start:.9f}\t{end:.9f}\t0.0\t8000.0\t{label}{more(call)}"
        for number, call in enumerate(calls, start=1)
        for _, start, end, label, _ in [call]
        for view in ("Waveform", "Spectrogram")
    ]
    start = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
    return "\n".join([f"{start}\t{heading}", *lines, ""])


def raven_tables_beside_the_sounds(root: Path) -> Path:
    for sound in ("a/one.wav", "b/two.wav"):
        table = (root / sound).with_suffix(".Table.1.selections.txt")
        table.write_text(raven(of(sound), "Annotation"))
    return root


def raven_table_of_all(root: Path) -> Path:
    """Times count from the first sound's start; where in its file, the offset says."""
    begins = {"a/one.wav": 0.0, "b/two.wav": 120.0}
    later = [
        (sound, begins[sound] + start, begins[sound] + end, label, sign)
        for sound, start, end, label, sign in CALLS
    ]

    def more(call: Said) -> str:
        path = "C:\\field\\" + call[0].replace("/", "\\")
        return f"\t{path}\t{call[0]}\t{call[1] - begins[call[0]]:.9f}\tme"

    heading = "Species\tBegin Path\tBegin File\tFile Offset (s)\tanalyst"
    (root / "all.selections.txt").write_text(raven(later, heading, more))
    return root / "all.selections.txt"


def audacity(root: Path) -> Path:
    for sound in ("a/one.wav", "b/two.wav"):
        lines = [f"{start:.6f}\t{end:.6f}\t{label}\n" for _, start, end, label, _ in of(sound)]
        lines.insert(1, "\\\t500.0\t4000.0\n")
        (root / sound).with_suffix(".txt").write_text("".join(lines))
    return root


def birdnet_csv(root: Path) -> Path:
    for sound in ("a/one.wav", "b/two.wav"):
        lines = [
            f"{start},{end},Troglodytes sp.,{label},0.9,/elsewhere/{sound}"
            for _, start, end, label, _ in of(sound)
        ]
        text = "\n".join(
            ["\ufeffStart (s),End (s),Scientific name,Common name,Confidence,File", *lines]
        )
        # The File column names the sound by a path of the machine that it was on.
        text = text.replace("/elsewhere/", str(root) + "/")
        (root / sound).with_suffix(".BirdNET.results.csv").write_text(text)
    return root


def birdnet_raven(root: Path) -> Path:
    for sound in ("a/one.wav", "b/two.wav"):
        text = raven(
            of(sound),
            "Common Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)",
            lambda call: f"\tcode\t0.9\t{root / call[0]}\t{call[1]}",
        )
        (root / sound).with_suffix(".BirdNET.selection.table.txt").write_text(text)
    return root


def hoplite(root: Path) -> Path:
    """As perch-hoplite's documentation has it (docs/metadata.md)."""
    signs = {"+": "positive", "-": "negative", "?": "uncertain"}
    lines = [
        f"{path},{start},{end},{label},{signs[sign]}" for path, start, end, label, sign in CALLS
    ]
    header = "recording,start_offset_s,end_offset_s,label,label_type"
    (root / "hoplite_annotations.csv").write_text("\n".join([header, *lines]))
    return root / "hoplite_annotations.csv"


def crowsetta(root: Path) -> Path:
    """As crowsetta's GenericSeq writes it."""
    lines = [
        f"{label},{start},{end},{round(start * 32000)},{round(end * 32000)},{root / path},x.csv,0,0"
        for path, start, end, label, _ in CALLS
    ]
    header = (
        "label,onset_s,offset_s,onset_sample,offset_sample,notated_path,annot_path,sequence"
        ",annotation"
    )
    (root / "generic.csv").write_text("\n".join([header, *lines]))
    return root / "generic.csv"


FORMATS = [
    manifest_csv,
    manifest_parquet,
    several_labels_a_cell,
    with_lengths,
    raven_tables_beside_the_sounds,
    raven_table_of_all,
    audacity,
    birdnet_csv,
    birdnet_raven,
    hoplite,
    crowsetta,
]


def sounds(root: Path) -> Path:
    for sound in ("a/one.wav", "b/two.wav"):
        (root / sound).parent.mkdir(parents=True)
        (root / sound).touch()
    return root


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_every_format_says_the_same(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    root = sounds(tmp_path)
    manifest = read_dataset(write(root))
    assert manifest.has_times
    found = said(manifest, root)
    assert [call[0::3] for call in dict.fromkeys(found)] == [call[0::3] for call in CALLS]
    for one, other in zip(dict.fromkeys(found), CALLS, strict=True):
        assert one[1:3] == pytest.approx(other[1:3], abs=1e-9)
        assert one[4] == other[4]
    assert manifest.labels == ("blue tit", "wren")


@pytest.mark.parametrize("form", list(TrackFormat))
def test_what_we_write_we_read(tmp_path: Path, form: TrackFormat) -> None:
    spans = [
        Span(path, start, end, label, 0.75) for path, start, end, label, _ in CALLS if start < end
    ]
    write_tracks(tmp_path, form, spans, sample_rate=32000)
    # The clip's whole name is in that of the track: no sound has to be there.
    assert said(read_dataset(tmp_path), tmp_path) == [call for call in CALLS if call[1] < call[2]]


def test_a_folder_may_mix_formats_and_says_what_was_looked_at_in_vain(tmp_path: Path) -> None:
    root = sounds(tmp_path)
    audacity(root)
    (root / "b/two.txt").write_text("")
    (root / "README.txt").write_text("Labels of 2024.\n")
    (root / "b/third.selections.txt").write_text(raven([], "Annotation"))
    manifest = read_dataset(root)
    assert said(manifest, root) == of("a/one.wav")
    assert [clip.path.name for clip in manifest.clips] == ["one.wav", "third", "two.wav"]
    assert manifest.clips[1].labels == ()


def test_class_folders_stay_class_folders_whatever_tables_lie_there(tmp_path: Path) -> None:
    root = sounds(tmp_path)
    manifest_csv(root)
    (root / "README.txt").write_text("1\tone\n2\ttwo\n")
    (root / "a/notes.txt").write_text("")
    (root / "broken.csv").write_text("path,start,end,label\na,1\n")
    assert {clip.labels for clip in read_dataset(root).clips} == {("a",), ("b",)}
    for sound in [*root.rglob("*.wav"), root / "broken.csv", root / "a/notes.txt"]:
        sound.unlink()
    assert said(read_dataset(root), root) == CALLS  # here no sounds are classes


def test_a_table_broken_within_is_never_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.selections.txt").write_text(raven(CALLS, "Annotation") + "9\tSpectrogram 1\n")
    with pytest.raises(DatasetError, match=r"x\.selections\.txt, row 10"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.wav,1,2,x\na.wav,-1,2,x", r"row 3: goes from -1 to 2 s; no clip begins before 0"),
        ("a.wav,3,2,x", r"row 2: goes from 3 to 2 s; expected an end that is no earlier"),
        ("a.wav,1,2,x\na.wav,1,,x", r"row 3: has a time in start_s and none in end_s"),
        ("a.wav,1,2,x\na.wav,,2,x", r"row 3: has a time in end_s and none in start_s"),
        ("a.wav,1,2,x\na.wav,nan,2,x", r"row 3: expected seconds, .* found 'nan'"),
        ("a.wav,1,2,x\na.wav,1,inf,x", r"row 3: expected seconds, .* found 'inf'"),
        ("a.wav,1,2,x\na.wav,1,5 s,x", r"row 3: expected seconds, .* found '5 s'"),
        ("a.wav,1,2,x\na.wav,1,0:75,x", r"row 3: expected seconds, .* found '0:75'"),
        ("a.wav,1,2,x\n,1,2,x", r"row 3: no path"),
        ("a.wav,1,2,", r"found: 1 no label"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(f"path,start_s,end_s,label\n{rows}\n")
    with pytest.raises(DatasetError, match=rf"t\.csv.*{message}"):
        read_dataset(tmp_path / "t.csv")


def test_signs_are_those_of_any_tool_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    words = ["+", "positive", "", "-", "−", "Negative", "?", "UNCERTAIN"]
    rows = [f"a.wav,{n},{n + 1},x{n},{word}" for n, word in enumerate(words)]
    path.write_text("\n".join(["path,start_s,end_s,label,sign", *rows]))
    [clip] = read_dataset(path).clips
    assert "".join(each.sign for each in clip.stretches) == "+++---??"
    assert clip.labels == ("x0", "x1", "x2")  # what is there
    path.write_text("path,start_s,end_s,label,sign\na.wav,1,2,x,-\na.wav,1,2,x,perhaps\n")
    with pytest.raises(DatasetError, match=r"row 3: expected \+, - or \? .* found 'perhaps'"):
        read_dataset(path)
    path.write_text("path,start_s,end_s,label,sign\na.wav,1,2,x,-\nb.wav,0,9,x,\na.wav,1.5,3,x,+\n")
    with pytest.raises(DatasetError, match=r"t\.csv, row 2: says .*t\.csv, row 4 that"):
        read_dataset(path)


def test_signs_alone_are_of_whole_clips_and_another_column_of_that_name_is_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("path,label,sign\na.wav,x,+\na.wav,y,-\nb.wav,y,\n")
    manifest = read_dataset(path)
    assert (manifest.is_marked, manifest.has_times) == (True, False)
    assert said(manifest, tmp_path) == [
        ("a.wav", 0, math.inf, "x", Sign.POSITIVE),
        ("a.wav", 0, math.inf, "y", Sign.NEGATIVE),
        ("b.wav", 0, math.inf, "y", Sign.POSITIVE),
    ]
    path.write_text("path,label,sign\na.wav,x,Aries\nb.wav,y,Leo\n")
    assert not read_dataset(path).is_marked


def test_the_column_of_the_labels_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "one.wav").touch()
    path = tmp_path / "one.selections.txt"
    path.write_text(raven(CALLS[:2], "Tag 1\tTag 2", lambda call: "\tmale"))
    with pytest.raises(DatasetError, match=r"which column holds the labels.*--label-column"):
        read_dataset(path)
    for name, label in (("Tag 2", "male"), ("tag_1", "wren")):
        [clip] = read_dataset(path, name).clips
        assert (clip.path.name, clip.labels) == ("one.wav", (label,))
    with pytest.raises(DatasetError, match="has no column 'Tag 3'; it has: Selection, View"):
        read_dataset(path, "Tag 3")


def test_facts_of_a_sound_are_the_same_in_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    header = "path,start_s,end_s,label,split,group\n"
    path.write_text(f"{header}a.wav,1,2,x,Train,g\n./a.wav,3,4,y,train,g\nb.wav,1,2,x,test,h\n")
    clips = read_dataset(path).clips
    assert [(clip.split, clip.group, len(clip.stretches)) for clip in clips] == [
        ("train", "g", 2),
        ("test", "h", 1),
    ]
    path.write_text(f"{header}a.wav,1,2,x,train,g\na.wav,3,4,y,test,g\n")
    with pytest.raises(DatasetError, match=r"row 3: a\.wav has the split 'test', and 'train' in"):
        read_dataset(path)


def test_rows_without_times_or_labels_say_what_they_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "path,start_s,end_s,label\na.wav,1,2,x\nb.wav,,,rain\nc.wav,,,\nd.wav,1,2,skip\n"
        "a.wav,5,6,\n"
    )
    manifest = read_dataset(path)
    assert [(clip.path.name, clip.labels) for clip in manifest.clips] == [
        ("a.wav", ("x",)),
        ("b.wav", ("rain",)),
        ("c.wav", ()),
        ("d.wav", ()),
    ]
    assert manifest.clips[1].stretches[0].is_whole
    assert "t.csv: rows left out: 2 no label, 1 labelled `skip`" in caplog.text


def test_birdnets_word_for_nothing_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    header = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    path.write_text(f"{header}0,3,nocall,nocall,1.0,a.wav\n3,6,T. t.,wren,0.5,a.wav\n")
    [clip] = read_dataset(path).clips
    assert clip.labels == ("wren",)


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("12.5", ".", 12.5),
        (" 12,5 ", ",", 12.5),
        ("12.5", ",", 12.5),
        ("1e3", ".", 1000),
        ("1:02", ".", 62),
        ("1:02:03.25", ".", 3723.25),
        ("100:00:00", ".", 360000),
        ("0:00:03,5", ",", 3.5),
        ("1,000", ".", None),
        ("1:60", ".", None),
        ("1:60:00", ".", None),
        ("PT5S", ".", None),
        ("", ".", None),
        ("inf", ".", None),
    ],
)
def test_times_of_any_form(text: str, decimal: str, expected: float | None) -> None:
    assert seconds(text, decimal) == expected
