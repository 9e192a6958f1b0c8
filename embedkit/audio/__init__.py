"""From audio files to features, in the order of the file names' tasks: files, decode, segments, features."""
