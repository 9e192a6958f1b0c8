"""From audio files to features: files are found, decoded, cut into segments, and analysed."""
