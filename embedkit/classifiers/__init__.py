"""Methods that learn labels from vectors, their evaluation, and tracks of what they predict."""
