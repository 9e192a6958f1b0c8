"""What learns labels from vectors: methods, how they are evaluated, and tracks of what they say."""
