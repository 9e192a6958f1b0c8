"""Reads the text of a file that a person, a spreadsheet or a script wrote, in any encoding."""

import codecs
import logging
import re
from pathlib import Path

from embedkit.errors import DatasetError

log = logging.getLogger(__name__)

# Those of UTF-32 first: that of its little-endian form begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SPREADSHEETS = (
    (b"PK\x03\x04", "a spreadsheet program's own file (.xlsx, .ods) or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet program's own file (.xls)"),
)
BEYOND_ASCII = re.compile(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*")
LOST = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as `surrogateescape` decodes it


def read_text(path: Path) -> str:
    """Decode by the byte order mark, else as UTF-8, UTF-16 or, with a warning, Windows-1252.

    Line ends are not changed.

    Raises:
        OSError: it cannot be read.
        DatasetError: it is no text, a spreadsheet program's own file, or damaged UTF-8.
    """
    data = path.read_bytes()
    for magic, what in SPREADSHEETS:
        if data.startswith(magic):
            raise DatasetError(f"{path}: is {what}; save the table as CSV and name that file")
    encoding = next((encoding for mark, encoding in MARKS if data.startswith(mark)), None)
    try:
        if encoding is None and b"\0" in data[:2]:
            # UTF-16 without a mark: its header begins with a character of ASCII.
            encoding = "utf-16-be" if data.startswith(b"\0") else "utf-16-le"
        text = data.decode(encoding) if encoding else _decode_unmarked(data, path)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: {_NO_TEXT} ({error})") from error
    if "\0" in text:
        raise DatasetError(f"{path}: {_NO_TEXT} (it holds NUL characters)")
    return text


_NO_TEXT = "is not text, or damaged; expected a table saved as CSV in UTF-8"


def _decode_unmarked(data: bytes, path: Path) -> str:
    text = data.decode("utf-8", "surrogateescape")
    lost = LOST.findall(text)
    if not lost:
        return text
    # Text in another encoding is hardly ever UTF-8 by chance: of such text most is a damaged file.
    if sum(not character.isascii() for character in text) - len(lost) > len(lost):
        line = len(text[: text.index(lost[0])].splitlines()) or 1
        raise DatasetError(
            f"{path}, line {line}: a byte that is not UTF-8, as the rest is; save it as UTF-8"
        )
    text = data.decode("cp1252")
    found = BEYOND_ASCII.search(text)
    log.warning(
        "%s: is not UTF-8; read as Windows-1252, in which it says %r. If that is wrong, save it as"
        " UTF-8",
        path,
        found[0] if found else "",
    )
    return text
