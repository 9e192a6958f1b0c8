"""Counts of a run while it goes on."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from embedkit.store import FileRecord

EXAMPLES = 1000


@dataclass(kw_only=True)
class Progress:
    """What a run has done so far.

    Attributes:
        total_files: number of files to do.
        total_bytes: their bytes.
        files: number of files that are finished, good or not.
        bytes: their bytes.
        audio_s: seconds of audio that are embedded.
        errors: number of finished files with a kind, by kind.
        remarks: number of finished files without a kind about which the journal says something.
        rows: number of vectors that are on the disk.
        failures: records of the first thousand files with a kind.
        peak_bytes: the most memory that a worker held.
        stopped: whether it ended early because of too many errors.
    """

    total_files: int = 0
    total_bytes: int = 0
    files: int = 0
    bytes: int = 0
    audio_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    remarks: int = 0
    rows: int = 0
    failures: list[FileRecord] = field(default_factory=list)
    peak_bytes: int = 0
    stopped: bool = False

    def count(self, records: Collection[FileRecord], seconds: float, sign: int = 1) -> None:
        """Add finished files, or subtract those of a worker that died before they were stored.

        Args:
            records: records of the files.
            seconds: seconds of their audio.
            sign: 1 to add, -1 to subtract.
        """
        self.audio_s += sign * seconds
        self.files += sign * len(records)
        for record in records:
            self.bytes += sign * record.size
            if record.kind:
                self.errors[record.kind] += sign
            elif record.message:
                self.remarks += sign

    def store(self, record: FileRecord) -> None:
        """Note that a file's rows and record are on the disk."""
        self.rows += record.rows
        if record.kind and len(self.failures) < EXAMPLES:
            self.failures.append(record)
