"""The contents of an embedding folder.

    rows/part-<shard>-<n>.parquet    vectors: clip, segment, start_s, end_s, embedding
    files/part-<shard>-<n>.parquet   the journal: one row per finished input file
    manifest.json                    provenance: what the vectors depend on

A rows part counts only if its journal part exists: the journal part is renamed last. A part of
whose clips some are taken out (`folder.forget`) has a successor, part-<shard>-<n>-<revision>; only
the highest revision of a part counts. `locks` says who may write what at which time.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any, get_origin, get_type_hints

import pyarrow as pa
from filelock import FileLock

from embedkit import __version__
from embedkit.atomic import atomic_write
from embedkit.config import FORMER_MODELS
from embedkit.errors import EmbeddingFolderError, UsageError
from embedkit.hearing import Band, Hearing
from embedkit.untrusted import read_json

FORMAT = 1
MANIFEST, ROWS, FILES = "manifest.json", "rows", "files"
METADATA = b"embedkit"
ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")

FILES_SCHEMA = pa.schema(
    [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),  # of what was decoded
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # empty for a good file
        pa.field("message", pa.string(), nullable=False),
    ]
)

# Columns that a journal may have beside them; `describe` adds them.
NOTES_SCHEMA = pa.schema(
    [
        pa.field("recorded_at", pa.timestamp("us", "UTC")),  # when the file's sound begins
        pa.field("timezone", pa.string()),  # of the site: Europe/Berlin, UTC+0100
        pa.field("site", pa.string()),
        pa.field("latitude", pa.float64()),  # degrees
        pa.field("longitude", pa.float64()),
    ]
)
NOTED_SCHEMA = pa.schema([*FILES_SCHEMA, *NOTES_SCHEMA])


def rows_schema(dim: int) -> pa.Schema:
    """The columns of rows parts for vectors of length `dim`."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    return pa.schema(
        [
            pa.field("clip", pa.string(), nullable=False),
            pa.field("segment", pa.int32(), nullable=False),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("end_s", pa.float64(), nullable=False),
            pa.field("embedding", vector, nullable=False),
        ]
    )


IMPORTED = "imported"  # the runtime of vectors that another tool made


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the vectors of a folder depend on; vectors of equal provenance can be compared.

    Attributes:
        audio_root: folder that clip names are relative to.
        model: the model folder, the file that describes somebody else's extractor, or its name.
        fingerprint: SHA-256 of the model's weights; vectors with equal ones can be compared.
        embedding_size: D.
        features: settings of the front-end.
        segment_s: length of a segment, in seconds of the recording, as all times are.
        hop_s: seconds from one segment to the next.
        channel: `mix`, or the channel's number.
        runtime: what computed the network.
        track: which of several sound tracks of a file, from 1 on.
        speed: how many times as fast as recorded files were heard.
        band: the frequencies of the recordings that were heard, as `2000-8000`; empty: all.
        extractor: what is known of somebody else's extractor: its name, licence and source, the
            SHA-256 of its network, and its description; empty for embedkit's models.
    """

    audio_root: str
    model: str
    fingerprint: str
    embedding_size: int
    features: dict[str, Any]
    segment_s: float
    hop_s: float
    channel: str
    runtime: str
    track: int = 1  # version 0.1.0 knows no other, and neither speeds nor bands
    speed: float = 1.0
    band: str = ""
    extractor: dict[str, Any] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """The model's name for a person."""
        return str(self.extractor.get("name") or Path(self.model).name)

    @property
    def sample_rate(self) -> int:
        """Sample rate of a recording as the front-end hears it, in Hz.

        It may be unknown for other tools' vectors; then it is 48,000.
        """
        return round(int(self.features.get("sample_rate", 48000)) / self.speed)

    @property
    def hearing(self) -> Hearing:
        """How the recordings were heard.

        Raises:
            UsageError: speed or band are impossible.
        """
        return Hearing(speed=self.speed, band=Band.parse(self.band) if self.band else None)

    def check_same(self, asked: "Provenance", folder: Path) -> None:
        """Refuse to go on with other settings.

        Args:
            asked: the settings of the run.
            folder: the embedding folder, for the message.

        Raises:
            EmbeddingFolderError: a setting differs; names the first one, with both values.
        """
        mine, other = asdict(self), asdict(asked)
        for told in (mine, other):  # a model may move; its fingerprint says whether it is it
            del told["model"], told["extractor"]
        former = FORMER_MODELS.get(self.fingerprint)
        if former is not None and other["fingerprint"] != self.fingerprint:
            raise EmbeddingFolderError(
                f"{folder}: was made by embedkit's own model of version {former}, and vectors of"
                " two models cannot be compared: extract into a new folder, or name the folder of"
                " the old model with --model"
            )
        for name, value in mine.items():
            if other[name] != value:
                hint = ". If the collection has moved there: --audio-root"
                raise EmbeddingFolderError(
                    f"{folder}: was made with {name} {value!r}, not {other[name]!r}; use the same"
                    f" setting or another folder{hint if name == 'audio_root' else ''}"
                )


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A row of the journal: one finished input file."""

    clip: str
    size: int
    mtime_ns: int
    duration_s: float
    rows: int
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class FieldNote:
    """When and where a file was recorded; None for what is not known.

    Attributes:
        recorded_at: when its sound begins, with an offset from UTC.
        timezone: timezone of the site, by which its hours of the day are told.
        site: name of the site.
        latitude, longitude: in degrees.
    """

    recorded_at: datetime | None = None
    timezone: str | None = None
    site: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def clip_path(folder: Path, clip: str) -> Path:
    r"""The file of a clip in a folder. The clip's name comes from Parquet, which is not trusted.

    An escape in it, `\xe9`, is the byte of a file's name that is not UTF-8; `\x5c` is a backslash.

    Args:
        folder: the root of the collection.
        clip: name of the clip.

    Returns:
        the path of its file.

    Raises:
        EmbeddingFolderError: the name leads out of the folder.
    """
    path = PurePosixPath(clip)
    if path.is_absolute() or ".." in path.parts or "\0" in clip:
        raise EmbeddingFolderError(f"clip {clip!r}: its name leads out of {folder}")
    escaped = clip.encode("utf-8", "surrogateescape")
    return folder / os.fsdecode(ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), escaped))


def start_folder(folder: Path, provenance: Provenance) -> None:
    """Write a folder's manifest, or check that the manifest there has the same settings.

    Args:
        folder: the embedding folder.
        provenance: the settings of the run.

    Raises:
        EmbeddingFolderError: it has other settings, or the folder is used for something else.
    """
    if not (folder / MANIFEST).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".manifest-lock"):  # many runs may begin with it at once
            _write_manifest(folder, provenance)
    read_manifest(folder).check_same(provenance, folder)


def _write_manifest(folder: Path, provenance: Provenance) -> None:
    if (folder / MANIFEST).exists():
        return
    if any(not path.name.startswith(".") for path in folder.glob("*")):
        raise EmbeddingFolderError(
            f"{folder}: not empty, and not an embedding folder; choose another one"
        )
    content = {"format": FORMAT, "embedkit_version": __version__, **asdict(provenance)}
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode())


def read_manifest(folder: Path) -> Provenance:
    """Read a folder's provenance.

    Raises:
        EmbeddingFolderError: it is not an embedding folder, or one of another format.
    """
    path = folder / MANIFEST
    try:
        content = read_json(path)
        if content.pop("format") != FORMAT:
            raise EmbeddingFolderError(f"{path}: this version of embedkit reads format {FORMAT}")
        del content["embedkit_version"]
        return _checked(Provenance(**content))
    except FileNotFoundError as error:
        raise EmbeddingFolderError(
            f"{folder}: not an embedding folder: it has no {MANIFEST}; `embedkit extract` makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise EmbeddingFolderError(
            f"{path}: not an embedding folder's manifest: {error}"
        ) from error


def _checked(provenance: Provenance) -> Provenance:
    for name, wanted in get_type_hints(Provenance).items():
        value = getattr(provenance, name)
        accepted = (int, float) if wanted is float else get_origin(wanted) or wanted
        if not isinstance(value, accepted):
            raise TypeError(f"{name} is {value!r}")
    if provenance.embedding_size < 1:
        raise ValueError(f"embedding_size is {provenance.embedding_size}")
    try:
        _ = provenance.hearing
    except UsageError as error:
        raise ValueError(str(error)) from error
    for name, least in (("segment_s", 0), ("hop_s", 0), ("sample_rate", 1)):
        if not least <= getattr(provenance, name) < inf:
            raise ValueError(f"{name} is {getattr(provenance, name)}")
    return provenance


@dataclass(frozen=True, order=True)
class Part:
    """A part of the folder, by the numbers in its name."""

    shard: int
    number: int
    revision: int = 0

    @classmethod
    def of(cls, path: Path) -> "Part | None":
        """The part that a file belongs to, or None if the file's name is not one of ours."""
        found = re.fullmatch(r"part-(\d+)-(\d+)(?:-(\d+))?\.parquet", path.name)
        return found and cls(*(int(number) for number in found.groups(default="0")))

    @property
    def name(self) -> str:
        """Name of its files, below rows/ and files/."""
        revision = f"-{self.revision}" if self.revision else ""
        return f"part-{self.shard:05d}-{self.number:05d}{revision}.parquet"


def list_parts(folder: Path, shard: int | None = None) -> list[Part]:
    """The parts that count, as they were at one moment.

    Listing a folder takes time. While others rewrite it, one list may have a part and its
    successor, or neither of them. A second list tells. What was only appended between the two does
    no harm.

    Args:
        folder: the embedding folder.
        shard: take only parts of this shard; by default of all.

    Returns:
        the parts.
    """
    later = _list_once(folder, shard)
    while True:
        parts, later = later, _list_once(folder, shard)
        new = later.difference(parts)
        if later.issuperset(parts) and not any(part.revision for part in new):
            break
    latest = {(part.shard, part.number): part for part in sorted(parts)}
    return list(latest.values())


def _list_once(folder: Path, shard: int | None) -> set[Part]:
    pattern = "part-*.parquet" if shard is None else f"part-{shard:05d}-*.parquet"
    return {part for path in (folder / FILES).glob(pattern) if (part := Part.of(path))}


def with_provenance(schema: pa.Schema, provenance: Provenance) -> pa.Schema:
    """A schema whose metadata name what the vectors depend on.

    Args:
        schema: the columns.
        provenance: the settings of the folder.

    Returns:
        the schema with metadata.
    """
    return schema.with_metadata({METADATA: json.dumps(asdict(provenance)).encode()})
