"""The rows of a collection that are searched."""

import numpy as np
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.store import EmbeddingTable
from embedkit.store.table import Rows


def searched(rows: Rows, table: EmbeddingTable) -> NDArray[np.bool_]:
    """Which rows are searched: all but the slivers at the clips' ends.

    Args:
        rows: the rows [n].
        table: the collection.

    Returns:
        bool [n].
    """
    seconds = rows.end_s - rows.start_s
    return scoring.mostly_sound(rows.segments, seconds, table.provenance.segment_s)
