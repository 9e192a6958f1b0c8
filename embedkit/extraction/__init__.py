"""From a folder of sound to an embedding folder: one worker, and engines that schedule it."""

from embedkit.extraction.local import Extraction, extract

__all__ = ["Extraction", "extract"]
