"""The regions of the map, and what each is called."""

import threading
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from embedkit.errors import EmbedkitError
from embedkit.web.collection import Collection
from embedkit.web.find import Finder
from embedkit.web.plane import Plane

MOST = 12


class Regions:
    """The regions of the planes of a collection, found when somebody asks."""

    def __init__(self, collection: Collection, plane: Plane, finder: Finder) -> None:
        self._collection, self._plane, self._finder = collection, plane, finder
        self._found: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def of(self, how: str) -> dict[str, Any]:
        """The number of each segment's region; and the middle and the name of each region.

        A name tells the region's sounds from the others: it is one of the names that the model
        brings, or else of the folders.

        Raises:
            HTTPException: 404, there is no such plane.
        """
        points = self._plane.points(how)
        with self._lock:
            if how not in self._found:
                self._found[how] = self._find(points)
            return self._found[how]

    def _find(self, points: Any) -> dict[str, Any]:
        from embedkit.names.groups import folders_of_groups, names_of_groups
        from embedkit.pages.projection import regions  # scikit-learn: seconds, for who asks

        region = regions(points, MOST)
        collection = self._collection
        folders = np.array(_shelves(collection.clips), dtype=object)[collection.clip]
        called = folders_of_groups(folders.tolist(), region)
        try:
            heard = names_of_groups(collection.search.vectors, region, self._finder.namer)
            called = [name or other for name, other in zip(heard, called, strict=True)]
        except EmbedkitError:  # the model brings no names
            pass
        middles = [np.median(points[region == number], axis=0) for number in range(len(called))]
        return {
            "region": region.tolist(),
            "named": [
                [round(float(x), 4), round(float(y), 4), name]
                for (x, y), name in zip(middles, called, strict=True)
            ],
        }


def _shelves(clips: list[str]) -> list[str]:
    """For each clip the first folder of its path that not all clips share; else empty."""
    parts = [PurePosixPath(clip).parts[:-1] for clip in clips]
    shared = 0
    while parts and len({part[shared : shared + 1] for part in parts}) == 1 and parts[0][shared:]:
        shared += 1
    return ["".join(part[shared : shared + 1]) for part in parts]
