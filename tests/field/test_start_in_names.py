"""Starts in the names of files, as the recorders' makers and users give them.

Where the names are from:
- AudioMoth: the README of `aru_metadata_parser` 1.0.0, which gives 5E886A48 and 20200404_102500.
- Song Meter: Wildlife Acoustics, Song Meter Mini 2 User Guide, section 8 (WALDEN), SM3BAT User
  Guide, section 8.1 (`$`, channels), SMART System User Guide, File Name Conventions (microseconds).
- OwlSense, Swift, SBT: the docstrings of `aru_metadata_parser` 1.0.0.
- BATLOGGER: Elekon, manual of the BATLOGGER M2, Recordings and Files (10160435 is no time).
"""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from embedkit.field.names import start_in_name


def hours(number: float) -> timezone:
    return timezone(timedelta(hours=number))


STARTS = {
    "5E886A48.WAV": datetime(2020, 4, 4, 11, 6, 48, tzinfo=UTC),
    "5e886a48.wav": datetime(2020, 4, 4, 11, 6, 48, tzinfo=UTC),
    "card 3/20200404_102500.WAV": datetime(2020, 4, 4, 10, 25),
    "20200404_102500T.WAV": datetime(2020, 4, 4, 10, 25),
    "24F319046_20230101_200000.WAV": datetime(2023, 1, 1, 20),
    "Data/WALDEN_20240601_140505.wav": datetime(2024, 6, 1, 14, 5, 5),
    "ARIZONA-1_20161023$195550.wac": datetime(2016, 10, 23, 19, 55, 50),
    "SBT-6-76-18_0+1_0_20160621_080000.wav": datetime(2016, 6, 21, 8),
    "S4U00112_20170821_210514_123.wav": datetime(2017, 8, 21, 21, 5, 14, 123_000),
    "S4U00112_20170821$210514$123.wav": datetime(2017, 8, 21, 21, 5, 14, 123_000),
    "MIC1_20230801_221530_000250.w4v": datetime(2023, 8, 1, 22, 15, 30, 250),
    "OWL_123456_2022-07-19_T00-00-00.WAV": datetime(2022, 7, 19),
    "SwiftOne_20220719_000000_-0400.wav": datetime(2022, 7, 19, tzinfo=hours(-4)),
    "2022-07-19T05-30-00Z.flac": datetime(2022, 7, 19, 5, 30, tzinfo=UTC),
    "2022-07-19T05:30:00.250+05:30.flac": datetime(2022, 7, 19, 5, 30, 0, 250_000, hours(5.5)),
    "20220719T053000+0200.flac": datetime(2022, 7, 19, 5, 30, tzinfo=hours(2)),
    "2022.07.19 05.30.00 dawn.mp3": datetime(2022, 7, 19, 5, 30),
    "site 12_20220719053000.ogg": datetime(2022, 7, 19, 5, 30),
    "20220719_053000_20220719_060000.wav": datetime(2022, 7, 19, 5, 30),
    "99999999_999999_20220719_053000.wav": datetime(2022, 7, 19, 5, 30),
    "20220719_053000_001.wav": datetime(2022, 7, 19, 5, 30, 0, 1000),
    "20220719_053000-0007.wav": datetime(2022, 7, 19, 5, 30),
    "20220719_053000_Zaunkoenig.wav": datetime(2022, 7, 19, 5, 30),
}
NONE = [
    "dog.wav", "10160435.wav", "20230501.wav", "deadbeef.wav", "00000000.WAV",
    "20221319_053000.wav", "20220230_053000.wav", "20220719_253000.wav",
    "120220719_053000.wav", "20220719_0530001.wav", "19700101_000032.WAV", "1-26806-A.ogg",
    "20220719_053000/dog.wav", "2022-07-19.wav",
]  # fmt: skip


@pytest.mark.parametrize("clip", STARTS)
def test_the_start_is_found_in_the_name(clip: str) -> None:
    found = start_in_name(clip)
    assert found == STARTS[clip]
    assert found is not None
    assert found.utcoffset() == STARTS[clip].utcoffset()


@pytest.mark.parametrize("clip", NONE)
def test_what_is_no_time_is_none(clip: str) -> None:
    assert start_in_name(clip) is None
