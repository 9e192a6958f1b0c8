"""Where recordings were made: by the paths of clips, and by a table of places."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from embedkit.datasets.columns import find
from embedkit.datasets.names import spell
from embedkit.datasets.table import Table, read_table
from embedkit.errors import DatasetError, UsageError
from embedkit.field.zones import find_zone

FACTS = ("site", "latitude", "longitude", "timezone")
LIMITS = {"latitude": 90.0, "longitude": 180.0}


@dataclass(frozen=True)
class Place:
    """Where a recorder stood; None for what is not known.

    Attributes:
        site: name of the site.
        latitude, longitude: in degrees.
        timezone: a name that `find_zone` knows.
    """

    site: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str | None = None

    def over(self, other: "Place") -> "Place":
        """This place, completed by another one where something is not known."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return replace(other, **known)


class SitePattern:
    """Finds the site in the path of a clip.

    `{site}/*` takes the first folder, `*/{site}/*` the second or a later one, `{site}_*` what
    stands before the first `_`. A star stands for anything, `{site}` for a part of one name. A
    regular expression with a group `(?P<site>...)` can do more.
    """

    def __init__(self, pattern: str) -> None:
        """Read a pattern of the whole path of a clip.

        Raises:
            UsageError: it has no `{site}`, or more than one, or is no regular expression.
        """
        if "(?P<site>" not in pattern:
            if pattern.count("{site}") != 1:
                raise UsageError(
                    f"{pattern!r}: a pattern of sites has one {{site}}, as in {{site}}/* or"
                    " */{site}_*"
                )
            before, after = map(_escape, pattern.split("{site}"))
            pattern = f"{before}(?P<site>[^/]+?){after}"
        try:
            self._pattern = re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise UsageError(f"{pattern!r}: no regular expression: {error}") from error

    def site(self, clip: str) -> str | None:
        """The site of a clip; None if its path does not fit."""
        found = self._pattern.fullmatch(clip)
        return found["site"] if found else None


def _escape(text: str) -> str:
    return ".*?".join(map(re.escape, re.split(r"\*+", text)))


class Places:
    """A table of places: its rows are about clips and folders by `path`, or sites by `site`."""

    def __init__(self, path: Path) -> None:
        """Read a CSV or Parquet file with a column path or site, or both.

        Raises:
            DatasetError: it cannot be read, says two things about one place, or has no such column.
        """
        table = read_table(path)
        columns = {name: find(name, table.headings, path) for name in ("path", *FACTS)}
        if columns["path"] is None and columns["site"] is None:
            raise DatasetError(
                f"{path}: has neither a column path nor site; it has: {', '.join(table.headings)}"
            )
        by_path = columns["path"] is not None
        self._by_path: dict[str, Place] = {}
        self._by_site: dict[str, Place] = {}
        known = self._by_path if by_path else self._by_site
        keys = table.texts(str(columns["path"] if by_path else columns["site"]))
        for row, key, place in zip(table.rows, keys, _places(table, columns), strict=True):
            name = spell(key or "") if by_path else (key or "").strip()
            if known.setdefault(name, place) != place:
                raise DatasetError(f"{path}, row {row}: contradicts an earlier row about {key!r}")
        self._used: set[str] = set()

    def find(self, clip: str, site: str | None) -> Place:
        """What the table says about a clip.

        Its own path comes first, then that of a folder above it, then its site.

        Args:
            clip: name of the clip.
            site: its site, if the pattern found one.

        Returns:
            the place.
        """
        name = PurePosixPath(spell(clip))
        for above in (name, *name.parents):
            if str(above) in self._by_path:
                self._used.add(str(above))
                return self._by_path[str(above)]
        if site in self._by_site:
            self._used.add(str(site))
            return self._by_site[str(site)]
        return Place()

    @property
    def unused(self) -> list[str]:
        """The names in the table for which no clip was found."""
        return [name for name in (*self._by_path, *self._by_site) if name not in self._used]


def _places(table: Table, columns: dict[str, str | None]) -> Iterable[Place]:
    cells = [_texts(table, columns[name]) for name in FACTS]
    for row, site, latitude, longitude, zone in zip(table.rows, *cells, strict=True):
        where = f"{table.path}, row {row}"
        if zone:
            try:
                find_zone(zone)
            except UsageError as error:
                raise DatasetError(f"{where}: {error}") from error
        yield Place(
            site,
            _degrees(latitude, "latitude", table.decimal, where),
            _degrees(longitude, "longitude", table.decimal, where),
            zone,
        )


def _texts(table: Table, heading: str | None) -> list[str | None]:
    if heading is None:
        return [None] * len(table.rows)
    return [(text or "").strip() or None for text in table.texts(heading)]


def _degrees(text: str | None, name: str, decimal: str, where: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.replace(decimal, "."))
    except ValueError:
        value = float("nan")
    if not abs(value) <= LIMITS[name]:
        raise DatasetError(
            f"{where}: expected a {name} in degrees, as 52.1234, not beyond {LIMITS[name]:g}; found"
            f" {text!r}"
        )
    return value
