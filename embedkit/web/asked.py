"""What pages ask for, as JSON: bounded in every number and text."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from embedkit.datasets.stretches import Sign
from embedkit.field.filters import FieldFilter
from embedkit.field.recordings import Recordings
from embedkit.hearing import SPEEDS, Band, Hearing
from embedkit.labels.answers import LONGEST

MOST_S = 1e9  # of a recording: thirty years

Number = Annotated[int, Field(ge=0, le=2**53)]  # of a clip, a segment or an upload
Second = Annotated[float, Field(ge=0, le=MOST_S, allow_inf_nan=False)]
Sort = Literal["best", "name", "longest", "shortest", "folder"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Answer(_Body):
    """A clip and its label; empty: none."""

    clip: Number
    label: str = Field(max_length=LONGEST)


class Passed(_Body):
    """Clips that a person has passed over, and does not want to be asked for now."""

    passed: list[Number] = Field(default=[], max_length=10_000)


class When(_Body):
    """When and where sounds were recorded, as `embedkit search` is asked it."""

    after: str = Field(default="", max_length=LONGEST)
    before: str = Field(default="", max_length=LONGEST)
    hours: str = Field(default="", max_length=LONGEST)
    site: str = Field(default="", max_length=1000)

    def of(self, recordings: Recordings) -> FieldFilter | None:
        """What it asks for, of a collection; None if nothing.

        Raises:
            UsageError: a text is no time or no part of a day, or there is no such site.
        """
        if not (self.after or self.before or self.hours or self.site):
            return None
        return FieldFilter.parse(
            recordings,
            after=self.after or None,
            before=self.before or None,
            hours=self.hours or None,
            sites=[self.site] if self.site else [],
        )


class Filters(When):
    """Which sounds are looked at, in which order they come, and which of them are answered."""

    top: int = Field(default=30, ge=1, le=200)
    offset: Number = 0
    sort: Sort = "best"
    folder: str = Field(default="", max_length=1000)
    label: str = Field(default="", max_length=LONGEST)
    shortest_s: Second = 0.0
    longest_s: Second | None = None


class Words(Filters):
    """A search by words."""

    text: str = Field(max_length=200)


class Named(Words):
    """A search by name."""

    sort: Sort = "name"


class Sounds(Filters):
    """A search by sounds: segments and uploads that it is to be like, or unlike."""

    like: list[Number] = Field(default=[], max_length=50)
    unlike: list[Number] = Field(default=[], max_length=50)
    uploads: list[Number] = Field(default=[], max_length=10)
    size: int | None = None
    elsewhere: bool = False  # in no clip of a segment that it is to be like


class GivenMark(_Body):
    """A mark on a stretch of a clip; without a sign it is taken away."""

    clip: Number
    start_s: Second
    end_s: Second
    label: str = Field(max_length=LONGEST)
    sign: Literal["+", "-", "?", ""] = "+"


class BroughtTable(_Body):
    """A table of labels with times that another program wrote."""

    name: str = Field(min_length=1, max_length=200)
    text: str = Field(max_length=2**20)


class Detections(When):
    """Detections: the score that is enough by label, and which segments are one of them."""

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(max_length=1000)
    gap_s: Second = 0.0
    least_s: Second = 0.0


class Drawn(_Body):
    """Segments of a label to listen to: so many are drawn, if none are yet."""

    label: str = Field(max_length=LONGEST)
    count: int | None = Field(default=None, ge=1, le=1000)


class Answered(_Body):
    """What a person heard in a drawn segment; something else if it is named."""

    label: str = Field(max_length=LONGEST)
    number: Number
    sign: Sign
    other: str = Field(default="", max_length=LONGEST)


@dataclass(frozen=True)
class HeardAs:
    """How a sound is to be heard, or seen, if not as the vectors heard it; of an address."""

    speed: Annotated[
        float | None, Query(ge=SPEEDS[0], le=SPEEDS[1], allow_inf_nan=False)
    ] = None  # fmt: skip
    low_hz: Annotated[float | None, Query(ge=0, le=1e6, allow_inf_nan=False)] = None
    high_hz: Annotated[float | None, Query(gt=0, le=1e6, allow_inf_nan=False)] = None
    gain_db: Annotated[float, Query(ge=-60, le=60, allow_inf_nan=False)] = 0.0

    def of(self, hearing: Hearing) -> Hearing:
        """So, and else as the vectors heard it.

        Raises:
            UsageError: the band is empty.
        """
        band = hearing.band
        if self.low_hz is not None and self.high_hz is not None:
            band = Band.parse(f"{self.low_hz:.2f}-{self.high_hz:.2f}")
        return Hearing(speed=self.speed or hearing.speed, band=band)


class Item(_Body):
    """A sound of a shortlist, or with both times a stretch of it."""

    clip: Number
    start_s: Second | None = None
    end_s: Second | None = None


class Shortlist(_Body):
    """What a person means to keep."""

    items: list[Item] = Field(max_length=1000)
