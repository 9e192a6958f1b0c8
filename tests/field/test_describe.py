"""When and where files were recorded: what is taken of what is known, and the command."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from command import run, succeed
from made import draw, write_table_of
from test_recording_headers import guano, info, wav

from embedkit.errors import DatasetError, UsageError
from embedkit.field.describe import Sources, describe
from embedkit.field.sites import Places, SitePattern
from embedkit.store import EmbeddingTable, FieldNote

MOTH = "Recorded at 06:00:01 01/07/2023 (UTC+2) by AudioMoth 24F3190361A1A5C0 at medium gain"


def collection(root: Path, *clips: str) -> EmbeddingTable:
    vectors = {clip: draw(2) for clip in clips}
    return write_table_of(root / "emb", vectors, root=root / "audio")


def start(table: EmbeddingTable, **sources: str) -> datetime | None:
    [note] = describe(table, Sources(**sources)).notes.values()
    return note.recorded_at


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # Berlin is at UTC+1 in winter and at UTC+2 in summer.
        ("A_20230101_060000.wav", {"timezone": "Europe/Berlin"}, datetime(2023, 1, 1, 5)),
        ("A_20230701_060000.wav", {"timezone": "Europe/Berlin"}, datetime(2023, 7, 1, 4)),
        # The clock went at UTC, or at winter time all year; the site's timezone is another thing.
        ("20230701_060000.WAV", {"timezone": "Asia/Tokyo", "clock": "+0"}, datetime(2023, 7, 1, 6)),
        ("20230701_060000.wav", {"timezone": "Asia/Tokyo", "clock": "+1"}, datetime(2023, 7, 1, 5)),
        # 02:30 is twice on the night in October: the first is that of summer.
        ("A_20231029_023000.wav", {"timezone": "Europe/Berlin"}, datetime(2023, 10, 29, 0, 30)),
        # What has an offset needs no timezone, and follows none.
        ("A_20230701_060000_-0400.wav", {}, datetime(2023, 7, 1, 10)),
        ("5E886A48.WAV", {"timezone": "Europe/Berlin"}, datetime(2020, 4, 4, 11, 6, 48)),
    ],
)  # fmt: skip
def test_a_name_is_an_instant(
    tmp_path: Path, name: str, options: dict[str, str], expected: datetime
) -> None:
    assert start(collection(tmp_path, name), **options) == expected.replace(tzinfo=UTC)


def test_what_has_an_offset_is_taken_then_the_header_then_the_name(tmp_path: Path) -> None:
    name = "A_20230701_060000.wav"
    table = collection(tmp_path, name)
    (tmp_path / "audio").mkdir()
    path = wav(tmp_path / "audio" / name, before=info(MOTH))
    assert start(table, timezone="Asia/Tokyo") == datetime(2023, 7, 1, 4, 0, 1, tzinfo=UTC)
    wav(path, behind=guano("Timestamp: 2023-07-01T06:00:02"))
    assert start(table, timezone="UTC+1") == datetime(2023, 7, 1, 5, 0, 2, tzinfo=UTC)
    path = path.rename(path.with_name("A_20230701_060000Z.wav"))
    other = collection(tmp_path / "other", path.name)
    [note] = describe(other, Sources(root=path.parent, timezone="UTC+1")).notes.values()
    assert note.recorded_at == datetime(2023, 7, 1, 6, tzinfo=UTC)


def test_a_clock_without_a_timezone_is_not_guessed(tmp_path: Path) -> None:
    table = collection(tmp_path, "A_20230701_060000.wav", "dog.wav")
    with pytest.raises(UsageError, match=r"A_20230701_060000.wav: what .* --timezone"):
        describe(table, Sources())


def test_a_name_that_tells_another_time_than_the_header_is_told(tmp_path: Path) -> None:
    names = (
        "20230701_060000.wav",
        "20230701_040001.wav",
        "20230701_061000.wav",
        "20240701_060001.wav",
    )
    table = collection(tmp_path, *names)
    (tmp_path / "audio").mkdir()
    for name in names:
        wav(tmp_path / "audio" / name, before=info(MOTH))
    found = describe(table, Sources())
    assert found.doubtful == ["20230701_061000.wav", "20240701_060001.wav"]
    assert {note.recorded_at for note in found.notes.values()} == {
        datetime(2023, 7, 1, 6, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    }
    assert {note.timezone for note in found.notes.values()} == {"UTC+0200"}
    assert found.unread == 0


@pytest.mark.parametrize(
    ("pattern", "clip", "site"),
    [
        ("{site}/*", "lake/2023/a.wav", "lake"),
        ("{site}/*", "a.wav", None),
        ("*/{site}/*", "2023/lake/a.wav", "lake"),
        ("*/{site}_*", "2023/LAKE_20230701_060000.wav", "LAKE"),
        ("{site}.+(x)/*", "lake.+(x)/a.wav", "lake"),
        (r".*/(?P<site>[A-Z_]+)_\d{8}_\d{6}\.wav", "2023/BIG_LAKE_20230701_060000.wav", "BIG_LAKE"),
    ],
)
def test_sites_in_paths(pattern: str, clip: str, site: str | None) -> None:
    assert SitePattern(pattern).site(clip) == site


@pytest.mark.parametrize("pattern", ["*/lake/*", "{site}/{site}", "(?P<site>"])
def test_what_is_no_pattern_of_sites_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"pattern of sites|regular expression"):
        SitePattern(pattern)


def test_a_table_of_places_is_joined_by_path_then_folder_then_site(tmp_path: Path) -> None:
    clips = "lake/a_20230701_060000.wav", "lake/b_20230701_060000.wav", "wood/20230701_060000.wav"
    table = collection(tmp_path, *clips)
    by_path, by_site = tmp_path / "paths.csv", tmp_path / "sites.csv"
    by_path.write_text(
        "path;Site;lat;lon;tz\nlake;Lake;52,5;0;Europe/Berlin\n"
        "lake\\b_20230701_060000.wav;Jetty;;;Asia/Tokyo\nwood;;;;UTC\nhill;Hill;;;\n"
    )
    places = Places(by_path)
    notes = describe(table, Sources(places=places)).notes
    four, day_before = datetime(2023, 7, 1, 4, tzinfo=UTC), datetime(2023, 6, 30, 21, tzinfo=UTC)
    assert notes == {
        clips[0]: FieldNote(
            recorded_at=four, timezone="Europe/Berlin", site="Lake", latitude=52.5, longitude=0.0
        ),
        clips[1]: FieldNote(recorded_at=day_before, timezone="Asia/Tokyo", site="Jetty"),
        clips[2]: FieldNote(recorded_at=datetime(2023, 7, 1, 6, tzinfo=UTC), timezone="UTC"),
    }
    assert places.unused == ["hill"]
    by_site.write_text("site,timezone\nlake,Europe/Berlin\nwood,UTC\n")
    sources = Sources(places=Places(by_site), pattern=SitePattern("{site}/*"))
    found = describe(table, sources).notes
    assert [note.site for note in found.values()] == ["lake", "lake", "wood"]
    assert [note.recorded_at for note in found.values()][::2] == [four, notes[clips[2]].recorded_at]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,latitude\nx,1\n", "neither a column path nor site"),
        ("site,latitude\nx,91\n", "row 2: expected a latitude"),
        ("site,longitude\nx,east\n", "row 2: expected a longitude"),
        ("site,timezone\nx,Europe/Berln\n", "row 2: no timezone .*Europe/Berlin"),
        ("site,lat\nx,1\nx,2\n", "row 3: contradicts an earlier row"),
    ],
)
def test_a_table_that_is_none_of_places_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "places.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=words):
        Places(path)


def test_the_command_notes_what_it_finds_and_completes_it_later(tmp_path: Path) -> None:
    clips = "lake/A_20230701_060000.wav", "wood/A_20230101_060000.wav", "wood/dog.wav"
    emb = collection(tmp_path, *clips).folder
    options = "--timezone", "Europe/Berlin", "--site-pattern", "{site}/*"
    done = run("describe", emb, *options)
    assert done.stdout.splitlines() == [
        "what         value",
        "files        3",
        "with a time  2",
        "with a site  3",
        "first        2023-01-01 06:00:00+01:00",
        "last         2023-07-01 06:00:00+02:00",
        "at lake      1",
        "at wood      2",
    ]
    assert "3 of 3 files could not be opened" in done.stderr  # there is no sound
    notes = EmbeddingTable.open(emb).notes
    assert notes["wood/dog.wav"] == FieldNote(site="wood", timezone="Europe/Berlin")
    assert json.loads(succeed("describe", emb, "--json"))["with_time"] == 2
    assert EmbeddingTable.open(emb).notes == notes  # what is not found anew stays
    assert json.loads(succeed("info", emb, "--json"))["with_site"] == 3
    done = run("describe", emb, "--timezone", "Europe/Berln")
    assert (done.returncode, "did you mean Europe/Berlin?" in done.stderr) == (2, True)
