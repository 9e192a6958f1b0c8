"""What recorders write into WAV files, put there as the standard and the makers' firmware say.

GUANO's fields are those of the specification (https://guano-md.org) and of the manual of Elekon's
BATLOGGER M2; the comments are those of AudioMoth-Firmware-Basic, 1.0 to 1.8: without a timezone, in
UTC, with hours, and with hours and minutes.
"""

import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile

from embedkit.field.headers import Stated, read_header


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def info(comment: str) -> bytes:
    artist = chunk(b"IART", b"AudioMoth 24F3190361A1A5C0\0\0")
    return chunk(b"LIST", b"INFO" + chunk(b"ICMT", comment.encode().ljust(384, b"\0")) + artist)


def guano(*lines: str) -> bytes:
    return chunk(b"guan", "\n".join(["GUANO|Version: 1.0", *lines, ""]).encode())


def wav(path: Path, before: bytes = b"", behind: bytes = b"", samples: int = 1001) -> Path:
    sound = chunk(b"data", np.zeros(2 * samples + 1, np.uint8).tobytes())
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    content = b"WAVE" + form + before + sound + behind
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    return path


COMMENTS = {
    "Recorded at 20:00:00 01/02/2023 by AudioMoth 00D9F0D0 at gain setting 2 while": 0,
    "Recorded at 20:00:00 01/02/2023 (UTC) by AudioMoth 24F3190361A1A5C0 at medium gain while": 0,
    "Recorded at 20:00:00 01/02/2023 (UTC-5) by AudioMoth 24F3190361A1A5C0 at gain setting 2": -5,
    "Recorded at 20:00:00 01/02/2023 (UTC+5:30) by AudioMoth 24F3190361A1A5C0 at low": 5.5,
    "Recorded at 20:00:00 01/02/2023 (UTC-3:30) by AudioMoth 24F3190361A1A5C0 at low": -3.5,
}


@pytest.mark.parametrize("comment", COMMENTS)
@pytest.mark.parametrize("first", [True, False])
def test_the_comment_of_an_audiomoth_is_an_instant(
    tmp_path: Path, comment: str, first: bool
) -> None:
    place = {"before" if first else "behind": info(comment)}
    zone = timezone(timedelta(hours=COMMENTS[comment]))
    found = read_header(wav(tmp_path / "a.wav", **place))
    assert found == Stated(datetime(2023, 2, 1, 20, tzinfo=zone))


def test_guano_is_read_before_and_behind_the_sound(tmp_path: Path) -> None:
    lines = "Timestamp: 2019-01-21T22:14:29", "Loc Position: 52.52 -13.4", "TE: 1"
    expected = Stated(datetime(2019, 1, 21, 22, 14, 29), 52.52, -13.4)
    assert read_header(wav(tmp_path / "a.wav", before=guano(*lines))) == expected
    assert read_header(wav(tmp_path / "b.wav", behind=guano(*lines))) == expected
    comment = info("Recorded at 20:00:00 01/02/2023 (UTC) by AudioMoth 24F3190361A1A5C0 at")
    both = wav(tmp_path / "c.wav", before=comment, behind=guano(*lines))
    assert read_header(both) == expected
    silent = wav(tmp_path / "d.wav", before=comment, behind=guano("Timestamp: "))
    assert read_header(silent).start == datetime(2023, 2, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2014-04-02T22:59:59-05:00", datetime(2014, 4, 3, 3, 59, 59, tzinfo=UTC)),
        ("2014-04-02T22:59:59.250Z", datetime(2014, 4, 2, 22, 59, 59, 250_000, UTC)),
        ("2014-04-02 22:59:59", datetime(2014, 4, 2, 22, 59, 59)),
    ],
)
def test_timestamps_of_guano(tmp_path: Path, text: str, start: datetime) -> None:
    assert read_header(wav(tmp_path / "a.wav", behind=guano(f"Timestamp:{text}"))).start == start


@pytest.mark.parametrize(
    "behind",
    [
        b"", b"guan", guano("Timestamp: yesterday", "Loc Position: 91 0", "no colon"),
        chunk(b"guan", b"\xff\xfe\x00"), b"guan\xff\xff\xff\xff", chunk(b"LIST", b"INFO"),
        info("Recorded at 20:00:00 31/02/2023 (UTC) by AudioMoth 24F3190361A1A5C0"),
        info("Recorded at the lake"), chunk(b"LIST", b"INFOICMT\xff\xff\xff\xff"),
    ],
)  # fmt: skip
def test_what_states_nothing_or_nonsense_gives_nothing(tmp_path: Path, behind: bytes) -> None:
    assert read_header(wav(tmp_path / "a.wav", behind=behind)) == Stated()


def test_other_files_state_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(800), 8000)
    (tmp_path / "empty.wav").touch()
    assert read_header(tmp_path / "a.flac") == read_header(tmp_path / "empty.wav") == Stated()
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "gone.wav")
