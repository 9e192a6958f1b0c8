"""Searches the segments of a collection by a sound or by words; finds clusters and near-copies."""
