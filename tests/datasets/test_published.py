import re
from pathlib import Path

import pytest

from embedkit.datasets import DATASETS, Clip, Manifest, read_published
from embedkit.errors import DatasetError, UsageError

MISSING = "missing"
SHORT = "shorter than 10 s"

CLASSES = """\
index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/t/dd00088,"Gush"
3,/m/0l7xg,"Gears"
"""
HEADER = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882
# YTID, start_seconds, end_seconds, positive_labels
"""
BALANCED = f"""{HEADER}\
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
Y_oo30_40ab, 0.000, 10.000, "/m/05zppz"
-Fby-7z_JpE, 0.000, 8.000, "/m/09x0r"
gone-gone-g, 30.000, 40.000, "/m/0l7xg"
"""
EVAL = f'{HEADER}-0RWZT-miFs, 420.000, 430.000, "/m/05zppz,/m/09x0r"\n'
UNBALANCED = f'{HEADER}---1_cCGK4M, 0.000, 10.000, "/m/0l7xg"\n'

AUDIOSET = {
    "class_labels_indices.csv": CLASSES,
    "balanced_train_segments.csv": BALANCED,
    "eval_segments.csv": EVAL,
    "unbalanced_train_segments.csv": UNBALANCED,
    "audio/--PJHxphWEs.wav": "",
    "audio/Y_oo30_40ab.wav": "",
    "audio/-Fby-7z_JpE.wav": "",
    "audio/---1_cCGK4M.wav": "",
    "audio/-0RWZT-miFs.wav": "",
}

DEV = "TUT-acoustic-scenes-2016-development"
EVA = "TUT-acoustic-scenes-2016-evaluation"
SCENES = {  # the clips' labels in the order of meta.txt; clip n is tested in fold n
    "audio/b020_90_120.wav": "beach",
    "audio/a108_0_30.wav": "cafe/restaurant",
    "audio/b083_82_112.wav": "tram",
    "audio/b020a_0_30.wav": "beach",
}


def labelled(names: list[str]) -> str:
    return "".join(f"{name}\t{SCENES[name]}\n" for name in names)


def tut2016() -> dict[str, str]:
    names = list(SCENES)
    files = {f"{DEV}/meta.txt": labelled(names), **{f"{DEV}/{name}": "" for name in names}}
    for fold, name in enumerate(names, start=1):
        setup = f"{DEV}/evaluation_setup/fold{fold}"
        files[f"{setup}_train.txt"] = labelled([other for other in names if other != name])
        files[f"{setup}_test.txt"] = f"{name}\n"
        files[f"{setup}_evaluate.txt"] = labelled([name])
    return files | {
        f"{EVA}/meta.txt": "audio/75.wav\tforest_path\naudio/153.wav\tbus\n",
        f"{EVA}/evaluation_setup/evaluate.txt": "audio/153.wav\tbus\taudio/a042_53_83.wav\n"
        "audio/75.wav\tforest_path\taudio/b114_83_113.wav\n",
        f"{EVA}/evaluation_setup/test.txt": "audio/153.wav\naudio/75.wav\n",
        f"{EVA}/audio/153.wav": "",
        f"{EVA}/audio/75.wav": "",
    }


ESC = {
    "meta/esc50.csv": "filename,fold,target,category,esc10,src_file,take\n"
    "1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n"
    "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    "2-17250-A-5.wav,2,5,cat,False,17250,A\n"
    "5-9032-B-2.wav,5,2,aaa,True,9032,B\n",
    "audio/1-100038-A-14.wav": "",
    "audio/1-100032-A-0.wav": "",
    "audio/5-9032-B-2.wav": "",
}
PUBLISHED = {
    "audioset": AUDIOSET,
    "audioset-unbalanced": AUDIOSET,
    "tut2016": tut2016(),
    "esc50": ESC,
    "esc10": ESC,
}


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def clip(path: str, *labels: str, **known: str) -> Clip:
    return Clip(path=Path(path), labels=labels, **known)


def expected(name: str, root: Path) -> Manifest:
    audio, dev, eva = f"{root}/audio", f"{root}/{DEV}/audio", f"{root}/{EVA}/audio"
    gush = clip(f"{audio}/--PJHxphWEs.wav", "Speech", "Gush", split="train")
    male = clip(f"{audio}/Y_oo30_40ab.wav", "Male speech, man speaking", split="train")
    gears = clip(f"{audio}/---1_cCGK4M.wav", "Gears", split="train")
    test = clip(f"{audio}/-0RWZT-miFs.wav", "Male speech, man speaking", "Speech", split="test")
    names = ("Speech", "Male speech, man speaking", "Gush", "Gears")
    out = (("-Fby-7z_JpE", SHORT), ("gone-gone-g", MISSING))
    many = "AudioSet with the unbalanced set"
    scenes = (
        clip(f"{dev}/b020_90_120.wav", "beach", fold="1", split="train", group="b020"),
        clip(f"{dev}/a108_0_30.wav", "cafe/restaurant", fold="2", split="train", group="a108"),
        clip(f"{dev}/b083_82_112.wav", "tram", fold="3", split="train", group="b083"),
        clip(f"{dev}/b020a_0_30.wav", "beach", fold="4", split="train", group="b020a"),
        clip(f"{eva}/153.wav", "bus", split="test", group="a042"),
        clip(f"{eva}/75.wav", "forest_path", split="test", group="b114"),
    )
    birds = clip(f"{audio}/1-100038-A-14.wav", "chirping_birds", fold="1", group="100038")
    dog = clip(f"{audio}/1-100032-A-0.wav", "dog", fold="1", group="100032")
    aaa = clip(f"{audio}/5-9032-B-2.wav", "aaa", fold="5", group="9032")
    fifty, cat = ("dog", "aaa", "cat", "chirping_birds"), ("2-17250-A-5.wav", MISSING)
    return {
        "audioset": Manifest((gush, male, test), True, names, out, "AudioSet"),
        "audioset-unbalanced": Manifest((gush, male, gears, test), True, names, out, many),
        "tut2016": Manifest(scenes, False, source="TUT Acoustic Scenes 2016"),
        "esc50": Manifest((birds, dog, aaa), False, fifty, (cat,), "ESC-50"),
        "esc10": Manifest((dog, aaa), False, source="ESC-10"),
    }[name]


@pytest.mark.parametrize("name", list(DATASETS))
@pytest.mark.parametrize("end", ["\n", "\r\n", " \r\n\r\n"], ids=["lf", "crlf", "blanks"])
def test_each_layout_is_read_as_published(tmp_path: Path, name: str, end: str) -> None:
    if end.startswith(" ") and name != "tut2016":
        end = "\n\n"
    lay(tmp_path, {file: text.replace("\n", end) for file, text in PUBLISHED[name].items()})
    assert read_published(name, tmp_path) == expected(name, tmp_path)


@pytest.mark.parametrize("ytid", ["--PJHxphWEs", "Y_oo30_40ab"])
@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("{}.wav", True),
        ("Y{}.WAV", True),
        ("a/b/{}_30.000.wav", True),
        ("{}_30.000_40.000.flac", True),
        ("Y{}_30000_40000.m4a", True),
        ("{}_30_40.mp3", True),
        ("{}.webm", True),
        ("{}.json", False),
        ("{}x.wav", False),
        ("x{}.wav", False),
        ("{}_30_40_50.wav", False),
        ("{}_cut.wav", False),
    ],
)
def test_audio_is_known_by_its_id(tmp_path: Path, ytid: str, form: str, found: bool) -> None:
    tables = {f"csv/{file}": text for file, text in AUDIOSET.items() if file.endswith(".csv")}
    lay(tmp_path, {**tables, form.format(ytid): "", "other/-0RWZT-miFs.wav": ""})
    (tmp_path / "other" / "back").symlink_to(tmp_path)
    manifest = read_published("audioset", tmp_path)
    there = [tmp_path / form.format(ytid)] if found else []
    assert [c.path for c in manifest.clips] == [*there, tmp_path / "other" / "-0RWZT-miFs.wav"]
    assert ((ytid, MISSING) in manifest.left_out) is not found


def test_of_several_files_the_first_is_taken_and_linked_folders_are_followed(
    tmp_path: Path,
) -> None:
    far = lay(tmp_path / "far", {"Y_oo30_40ab.wav": ""})
    twice = {f"{folder}/--PJHxphWEs.wav": "" for folder in ("c", "a/z", "b")}
    root = lay(tmp_path / "root", {**AUDIOSET, **twice})
    (root / "audio" / "Y_oo30_40ab.wav").unlink()
    (root / "linked").symlink_to(far)
    first, second, _ = read_published("audioset", root).clips
    assert first.path == root / "a/z/--PJHxphWEs.wav"
    assert second.path == root / "linked/Y_oo30_40ab.wav"


@pytest.mark.parametrize("gone", ["balanced_train_segments.csv", "eval_segments.csv"])
def test_the_unbalanced_set_does_without_the_others(tmp_path: Path, gone: str) -> None:
    root = lay(tmp_path, {name: text for name, text in AUDIOSET.items() if name != gone})
    names = {c.path.stem for c in read_published("audioset-unbalanced", root).clips}
    rest = {"--PJHxphWEs", "Y_oo30_40ab"} if gone[0] == "e" else {"-0RWZT-miFs"}
    assert names == {"---1_cCGK4M", *rest}


@pytest.mark.parametrize(("part", "count"), [(DEV, 4), (EVA, 2)])
def test_one_set_of_tut2016_is_read_alone(tmp_path: Path, part: str, count: int) -> None:
    files = {name: text for name, text in tut2016().items() if name.startswith(part)}
    clips = expected("tut2016", lay(tmp_path, files)).clips
    for root in (tmp_path, tmp_path / part):
        read = read_published("tut2016", root).clips
        assert (read, len(read)) == (clips[:4] if part == DEV else clips[4:], count)


def test_evaluation_labels_may_be_in_meta_alone_or_unpublished(tmp_path: Path) -> None:
    root = lay(tmp_path, tut2016())
    (root / EVA / "evaluation_setup" / "evaluate.txt").unlink()
    tests = [(c.path.name, c.labels, c.group) for c in read_published("tut2016", root).clips[4:]]
    assert tests == [("75.wav", ("forest_path",), None), ("153.wav", ("bus",), None)]
    (root / EVA / "meta.txt").unlink()
    (root / DEV / "audio" / "b083_82_112.wav").unlink()
    assert read_published("tut2016", root).left_out == (
        ("b083_82_112.wav", MISSING),
        ("153.wav", "no published label"),
        ("75.wav", "no published label"),
    )


FOLD1 = f"{DEV}/evaluation_setup/fold1"


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        # What is not there: None removes the file.
        ("audioset", "balanced_train_segments.csv", None, "no balanced_train_.*csv in .*download"),
        ("audioset", "class_labels_indices.csv", None, "no class_labels_indices.csv in .*download"),
        ("tut2016", f"{DEV}/meta.txt", None, "development/meta.txt: No such file.*zenodo"),
        ("tut2016", f"{FOLD1}_test.txt", None, "fold1_test.txt: No such file"),
        ("tut2016", f"{FOLD1}_train.txt", None, "fold1_train.txt: No such file"),
        ("esc50", "meta/esc50.csv", None, "esc50.csv: no such file; .*github.com/karol"),
        # What is not as published: text to put in place of another.
        ("audioset", "eval_segments.csv", ("-0RWZT-miFs", "#NAME?"), "eval.*, line 4: .*NAME"),
        ("audioset", "eval_segments.csv", ("420.000", "soon"), "line 4: expected <YouTube id>"),
        ("audioset", "eval_segments.csv", (", 430.000", ""), "line 4: expected <YouTube id>"),
        ("audioset", "eval_segments.csv", ("/m/05zppz", "/m/x"), "line 4: '/m/x' is no mid of"),
        ("audioset", "eval_segments.csv", ("-0RWZT-miFs", "../../etc/x"), "line 4: expected"),
        ("audioset", "class_labels_indices.csv", ("3,", "x,"), "number of a class is none: .*'x'"),
        ("audioset", "class_labels_indices.csv", ("mid", "id"), "expected index, mid, d"),
        ("tut2016", f"{FOLD1}_test.txt", ("\n", "\naudio/a108_0_30.wav\n"), "list of fold 1 alr"),
        ("tut2016", f"{FOLD1}_test.txt", ("\n", "\naudio/new.wav\n"), "new.wav is in a test list"),
        ("tut2016", f"{FOLD1}_test.txt", (".wav", ".mp3"), "b020_90_120.wav is in .*meta.txt, and"),
        ("tut2016", f"{FOLD1}_train.txt", ("a108_0_30.wav\tcafe", "b020_90_120.wav\tx"), "same fo"),
        ("tut2016", f"{FOLD1}_train.txt", ("tram", "bus"), "'bus' here and 'tram' in .*meta.txt"),
        ("tut2016", f"{DEV}/meta.txt", ("\ttram", ""), "expected <file><tab><label>, found 'au"),
        ("tut2016", f"{DEV}/meta.txt", ("b083_82_112", "a108_0_30"), "a108_0_30.wav stands .* twi"),
        ("tut2016", f"{EVA}/evaluation_setup/evaluate.txt", ("75", "../75"), r"found '\.\./75.wav"),
        ("esc50", "meta/esc50.csv", ("1-100032-A-0.wav", "../x.wav"), r"esc50.*found '\.\./x.wav'"),
        ("esc10", "meta/esc50.csv", ("1-100032-A-0.wav", "/etc/x"), "found '/etc/x'"),
        ("esc50", "meta/esc50.csv", ("1-100032-A-0.wav", ".."), r"found '\.\.'"),
        ("esc50", "meta/esc50.csv", ("1-100032-A-0.wav", r"..\x"), r"found '\.\."),
        ("esc50", "meta/esc50.csv", ("esc10", "esc"), "expected filename, fold, .*github"),
        ("esc50", "meta/esc50.csv", (",5,cat", ",five,cat"), "number of a class is none: .*five"),
    ],
)
def test_what_is_not_as_published_is_refused(
    tmp_path: Path, name: str, file: str, text: tuple[str, str] | None, message: str
) -> None:
    root = lay(tmp_path, PUBLISHED[name])
    if text is None:
        (root / file).unlink()
    else:
        assert text[0] in PUBLISHED[name][file]
        lay(root, {file: PUBLISHED[name][file].replace(*text)})
    with pytest.raises(DatasetError, match=message):
        read_published(name, root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "audioset",
            r"none of 5 clips of .*balanced.* \(missing: 4, shorter.*: 1\); .*Y<",
        ),
        ("tut2016", r"none of 6 clips of .*meta.txt and .*evaluate.txt has audio .*: 6\).*audio/<"),
        ("esc10", r"none of 2 clips of .*esc50.csv has audio .*: 2\); .* audio/<filename>"),
    ],
)
def test_a_collection_without_audio_says_what_was_looked_for(
    tmp_path: Path, name: str, message: str
) -> None:
    tables = {file: text for file, text in PUBLISHED[name].items() if text}
    with pytest.raises(DatasetError, match=message):
        read_published(name, lay(tmp_path, tables))


def test_a_name_too_long_for_a_file_is_missing(tmp_path: Path) -> None:
    name = "x" * 5000
    root = lay(tmp_path, {**ESC, "meta/esc50.csv": ESC["meta/esc50.csv"].replace("2-17250", name)})
    assert read_published("esc50", root).left_out == ((f"{name}-A-5.wav", MISSING),)


@pytest.mark.parametrize(
    ("name", "folder", "error", "message"),
    [
        ("imagenet", ".", UsageError, "there are: audioset, audioset-unbalanced, tut2016, esc50"),
        ("esc50", "gone", DatasetError, "gone: no such folder; expected the root of esc50"),
        ("tut2016", ".", DatasetError, f"no folder {DEV} or {EVA} in"),
    ],
)
def test_a_wrong_name_or_root_is_refused(
    tmp_path: Path, name: str, folder: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        read_published(name, tmp_path / folder)
