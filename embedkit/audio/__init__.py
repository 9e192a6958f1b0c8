"""From audio files to features: files, decode, segments, features, in that order."""
