"""Names for what is heard, without any training: a model brings a classifier for them."""
