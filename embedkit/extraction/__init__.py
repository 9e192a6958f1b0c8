"""From a folder of sound to an embedding folder: a worker, and engines that schedule workers."""

from embedkit.extraction.collection import Shard
from embedkit.extraction.estimate import Estimate, estimate
from embedkit.extraction.run import Extraction, extract
from embedkit.extraction.settings import Settings
from embedkit.runtime import Runtime

__all__ = ["Estimate", "Extraction", "Runtime", "Settings", "Shard", "estimate", "extract"]
