"""Which segments a filter keeps, beside Python's own clocks, and the commands that filter."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import run, succeed
from made import draw, log_odds, namer, write_table_of

import embedkit
from embedkit.errors import UsageError
from embedkit.field.calendar import Tally, days_of
from embedkit.field.filters import FieldFilter, Hours, parse_time
from embedkit.field.recordings import Recordings
from embedkit.pages.calendar import draw_calendar
from embedkit.store import EmbeddingTable, FieldNote, note

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
STARTS = {
    # Berlin's clocks go from 01:59:59 to 03:00:00 in the second hour of this recording.
    "spring.wav": FieldNote(
        recorded_at=datetime(2023, 3, 26, 0, 15, tzinfo=UTC), timezone=BERLIN, site="lake"
    ),
    # And from 02:59:59 back to 02:00:00 in that of this one.
    "autumn.wav": FieldNote(
        recorded_at=datetime(2023, 10, 29, 0, 15, tzinfo=UTC), timezone=BERLIN, site="lake"
    ),
    "midnight.wav": FieldNote(
        recorded_at=datetime(2023, 6, 30, 14, 15, tzinfo=UTC), timezone=TOKYO, site="wood"
    ),
    "plain.wav": FieldNote(recorded_at=datetime(2023, 6, 30, 22, 15, tzinfo=UTC)),
    "unknown.wav": FieldNote(site="wood"),
}


@pytest.fixture
def table(tmp_path: Path) -> EmbeddingTable:
    """Two hours of each, in segments of a second that begin every ten minutes."""
    folder = tmp_path / "emb"
    write_table_of(folder, {clip: draw(12) for clip in STARTS}, hop_s=600)
    note(folder, STARTS)
    return EmbeddingTable.open(folder)


def kept(table: EmbeddingTable, asked: FieldFilter) -> set[tuple[str, float]]:
    rows = table.rows()
    fits = asked.rows(rows.clips, rows.start_s)
    return set(zip(rows.clips[fits].tolist(), rows.start_s[fits].tolist(), strict=True))


def clock(clip: str, start_s: float) -> datetime:
    known = STARTS[clip]
    assert known.recorded_at is not None
    moment = known.recorded_at + timedelta(seconds=start_s)
    return moment.astimezone(ZoneInfo(known.timezone or "UTC"))


def every(table: EmbeddingTable) -> set[tuple[str, float]]:
    rows = table.rows()
    return {
        (clip, start_s)
        for clip, start_s in zip(rows.clips.tolist(), rows.start_s.tolist(), strict=True)
        if clip != "unknown.wav"
    }


@pytest.mark.parametrize("hours", ["0-2", "1-2", "2-3", "3-4", "22-4", "23-24", "2:30-3", "1:15-1"])
def test_hours_are_those_of_each_segments_own_clock(table: EmbeddingTable, hours: str) -> None:
    start, _, end = hours.partition("-")
    begins, ends = (
        int(h) * 60 + int(m or 0) for h, _, m in (t.partition(":") for t in (start, end))
    )
    expected = set()
    for clip, start_s in every(table):
        here = clock(clip, start_s)
        minute = 60 * here.hour + here.minute
        inside = begins <= minute < ends if begins < ends else minute >= begins or minute < ends
        if inside:
            expected.add((clip, start_s))
    asked = FieldFilter(recordings=Recordings(table), hours=Hours.parse(hours))
    assert kept(table, asked) == expected
    assert asked.unknown == 1
    assert asked.clips(table) == {clip for clip, _ in expected}


@pytest.mark.parametrize(
    "text", ["2023-06-30", "2023-07-01", "2023-07-01T00:05", "2023-03-26T03:00"]
)
def test_bounds_without_an_offset_are_those_of_each_sites_clocks(
    table: EmbeddingTable, text: str
) -> None:
    bound = datetime.fromisoformat(text)
    later = {one for one in every(table) if clock(*one).replace(tzinfo=None) >= bound}
    recordings = Recordings(table)
    assert kept(table, FieldFilter(recordings=recordings, after=parse_time(text))) == later
    earlier = kept(table, FieldFilter(recordings=recordings, before=parse_time(text)))
    assert earlier == every(table) - later


@pytest.mark.parametrize("text", ["2023-06-30T15:00Z", "2023-06-30T17:00+02:00"])
def test_bounds_with_an_offset_are_instants(table: EmbeddingTable, text: str) -> None:
    bound = datetime(2023, 6, 30, 15, tzinfo=UTC)
    later = {one for one in every(table) if clock(*one) >= bound}
    assert kept(table, FieldFilter(recordings=Recordings(table), after=parse_time(text))) == later


def test_sites_need_no_time_and_must_be_known(table: EmbeddingTable) -> None:
    asked = FieldFilter(recordings=Recordings(table), sites=frozenset({"wood"}))
    assert asked.clips(table) == {"midnight.wav", "unknown.wav"}
    assert asked.unknown == 1  # plain.wav
    with pytest.raises(UsageError, match="no site 'woods'; did you mean wood"):
        FieldFilter(recordings=Recordings(table), sites=frozenset({"woods"}))


@pytest.mark.parametrize("hours", ["4", "4-4", "25-3", "4-25", "4:60-5", "dawn", "24-3"])
def test_what_is_no_part_of_a_day_is_refused(hours: str) -> None:
    with pytest.raises(UsageError, match="no part of a day"):
        Hours.parse(hours)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="no date or time"):
        parse_time("May 1st")


def test_search_finds_what_was_recorded_then_and_there(table: EmbeddingTable) -> None:
    emb = table.folder
    found = json.loads(
        succeed("search", emb, "plain.wav", "--hours", "22-3", "--segments", "--top", 99, "--json")
    )
    hits = {(hit["clip"], hit["start_s"]) for hit in found[0]["results"]}
    asked = FieldFilter(recordings=Recordings(table), hours=Hours.parse("22-3"))
    # Slivers at the clips' ends are not searched, nor is the query's own clip.
    assert hits == {one for one in kept(table, asked) if one[0] != "plain.wav" and one[1] < 6600}
    assert hits
    done = run("search", emb, "plain.wav", "--site", "lake", "--after", "2023-04-01")
    assert done.stdout.count(".wav") == done.stdout.count("autumn.wav") == 1
    assert "2 of 5 files are left out" in done.stderr
    assert run("search", emb, "plain.wav", "--after", "2024-01-01").returncode == 2


@pytest.fixture
def calls(tmp_path: Path) -> tuple[Path, Path]:
    """Detections of `owl` in the second and the fifth segment of each clip, half an hour apart."""
    folder = tmp_path / "calls"
    scores = [(0.9, 0.1) if row in {1, 4} else (0.1, 0.1) for row in range(12)]
    write_table_of(folder, {clip: log_odds(*scores) for clip in STARTS}, hop_s=600)
    note(folder, STARTS)
    namer("owl", "fox").save(tmp_path / "classifier")
    return folder, tmp_path / "classifier"


def test_detections_have_the_time_at_which_they_begin(
    calls: tuple[Path, Path], tmp_path: Path
) -> None:
    emb, classifier = calls
    command = "detect", emb, "--classifier", classifier
    found = json.loads(succeed(*command, "--json"))
    times = {(each["path"], each["start_s"]): each["recorded_at"] for each in found}
    assert times == {
        (clip, start_s): None
        if clip == "unknown.wav"
        else clock(clip, start_s).isoformat(timespec="milliseconds")
        for clip in STARTS
        for start_s in (600.0, 2400.0)
    }
    assert {each["path"]: each["site"] for each in found} == {
        clip: known.site for clip, known in STARTS.items()
    }
    for name in ("a.csv", "a.parquet", "a.selections.txt"):
        succeed(*command, "--out", tmp_path / name)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert {row["recorded_at"] or None for row in csv.DictReader(file)} == {*times.values()}
    stored = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert sorted(stored, key=lambda row: (row["path"], row["start_s"])) == found
    with (tmp_path / "a.selections.txt").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["Recorded At"] or None for row in rows} == {*times.values()}
    assert "2023-03-26T01:25:00.000+01:00" in succeed(*command)


def test_what_is_not_asked_for_is_not_detected(calls: tuple[Path, Path]) -> None:
    emb, classifier = calls
    found = json.loads(
        succeed("detect", emb, "--classifier", classifier, "--hours", "22:30-1:30", "--json")
    )
    expected = {
        (clip, start_s)
        for clip in STARTS.keys() - {"unknown.wav"}
        for start_s in (600.0, 2400.0)
        if not (1, 30) <= (clock(clip, start_s).hour, clock(clip, start_s).minute) < (22, 30)
    }
    assert {(each["path"], each["start_s"]) for each in found} == expected


def test_the_calendar_counts_by_day_and_hour_and_knows_what_was_recorded(
    table: EmbeddingTable,
) -> None:
    durations = dict.fromkeys(STARTS, 7200.0)
    tally = Tally(Recordings(table), durations)
    for clip in STARTS:
        for start_s in (600.0, 2400.0):
            tally.add(clip, start_s, "owl")
    calendar = tally.result(["fox"])
    recorded, owls = set(), {}
    for clip in STARTS.keys() - {"unknown.wav"}:
        for second in range(0, 7200, 60):
            here = clock(clip, second)
            recorded.add((here.date(), here.hour))
        for start_s in (600.0, 2400.0):
            here = clock(clip, start_s)
            owls[here.date(), here.hour] = owls.get((here.date(), here.hour), 0) + 1
    days = days_of(calendar)
    assert (days[0], days[-1]) == (date(2023, 3, 26), date(2023, 10, 29))
    where = {(days[day], hour) for day, hour in np.argwhere(calendar.recorded).tolist()}
    assert where == recorded
    assert (date(2023, 3, 26), 2) not in recorded  # an hour that there was not
    counts = calendar.counts["owl"]
    assert {
        (days[day], hour): counts[day, hour] for day, hour in np.argwhere(counts).tolist()
    } == owls
    assert (calendar.counts["fox"].sum(), calendar.without_time) == (0, 2)
    dawn = FieldFilter(recordings=Recordings(table), hours=Hours.parse("3-4"))
    seen = Tally(Recordings(table), durations, dawn).result().recorded
    assert set(np.argwhere(seen)[:, 1].tolist()) == {3}
    few = FieldFilter(recordings=Recordings(table), hours=Hours.parse("3:05-3:10"))
    narrow = Tally(Recordings(table), durations, few)
    assert narrow.result().recorded.sum() == 2
    # What begins in an hour of which no look is in the raster has a place all the same.
    here = clock("plain.wav", 5400.0)
    narrow.add("plain.wav", 5400.0, "owl")
    calendar = narrow.result()
    place = days_of(calendar).index(here.date()), here.hour
    assert (calendar.counts["owl"][place], calendar.counts["owl"].sum()) == (1, 1)
    assert (calendar.recorded[place], calendar.recorded.sum()) == (True, 3)


def test_the_picture_is_grey_where_nothing_was_recorded(table: EmbeddingTable) -> None:
    tally = Tally(Recordings(table), dict.fromkeys(STARTS, 7200.0))
    tally.add("plain.wav", 0.0, "$owl$")
    calendar = tally.result()
    figure = draw_calendar(calendar)
    axes = figure.axes[0]
    shown = axes.collections[0].get_array()
    np.testing.assert_array_equal(shown.mask.T, ~calendar.recorded)
    np.testing.assert_array_equal(shown.data.T, calendar.counts["$owl$"])
    assert axes.get_title(loc="left") == "$owl$: 1"


def test_the_calendar_is_written_beside_the_detections(
    calls: tuple[Path, Path], tmp_path: Path
) -> None:
    emb, classifier = calls
    out = tmp_path / "calendar.png"
    done = run("detect", emb, "--classifier", classifier, "--calendar", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    # Of 1:50 h each: 1, 3 and 4 in spring, 2 and 3 in autumn, 22 to 1 in the last night of June.
    assert "218 days, 9 hours of them recorded" in done.stderr
    assert "2 detections are of files whose time is not known" in done.stderr
    other = write_table_of(tmp_path / "plain", {"a.wav": log_odds((0.9, 0.1))}).folder
    done = run("detect", other, "--classifier", classifier, "--calendar", out)
    assert (done.returncode, "embedkit describe" in done.stderr) == (2, True)


def test_a_map_draws_what_was_recorded_then_and_there(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    done = run("map", table.folder, "--out", tmp_path / "map.png", "--hours", "22-2")
    assert done.stderr.endswith("map.png: 3 sounds\n")
    done = run("map", table.folder, "--out", tmp_path / "map.png", "--site", "wood")
    assert done.stderr.endswith("map.png: 2 sounds\n")


def test_python_searches_what_was_recorded_then_and_there(table: EmbeddingTable) -> None:
    opened = embedkit.open(table.folder)
    asked = opened.recorded(after="2023-04-01", before="2023-07-01", hours="23-1", sites=["wood"])
    hits = opened.search("plain.wav", segments=True, top=99, among=asked)
    assert {(hit.clip, hit.start_s) for hit in hits} == kept(table, asked)
    assert {hit.clip for hit in hits} == {"midnight.wav"}
