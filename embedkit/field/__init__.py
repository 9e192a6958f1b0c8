"""When and where the recordings of a collection were made, and filters by that."""
