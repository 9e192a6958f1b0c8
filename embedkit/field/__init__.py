"""When and where the recordings of a collection were made, and what is asked by that."""
