"""Clients of an explorer's server that runs in the tests' own process."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.testclient import TestClient

from embedkit.labels.answers import Answers
from embedkit.web.app import create_app
from embedkit.web.collection import Collection
from embedkit.web.edition import edition_of
from embedkit.web.guard import Guard, served_as
from embedkit.web.uploads import Uploads

HOST = "127.0.0.1:8765"
HOSTS = served_as("127.0.0.1")
TOKEN = "only-for-these-tests-0123"
COOKIE = {"Cookie": f"embedkit-8765={TOKEN}"}
BYTES = {"Content-Type": "application/octet-stream"}
MARKUP = "<img src=x onerror=alert(1)>.wav"


def open_page(
    collection: Collection, uploads: Uploads, labels: Path, **options: Any
) -> tuple[TestClient, TestClient]:
    """Two clients of one server: one asks by its edition, one by whole addresses."""
    entry = options.pop("entry", None)
    app = create_app(collection, Answers(labels), uploads, **options)
    made = Guard(app, HOSTS, TOKEN, entry)
    base = f"http://{HOST}/api/{edition_of(collection, labels)}"
    return TestClient(made, base_url=base, headers=COOKIE), TestClient(
        made, base_url=f"http://{HOST}", headers=COOKIE
    )


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def brute_force(
    collection: Collection, query: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """The cosine of each segment with a query of length 1."""
    vectors = collection.search.vectors[:, :size].astype(float)
    return vectors @ query / np.linalg.norm(vectors, axis=1)
