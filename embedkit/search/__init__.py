"""The segments of a collection that are nearest to a sound, and clips that are nearly the same."""
