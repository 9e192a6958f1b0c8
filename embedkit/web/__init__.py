"""The explorer: a collection in the browser, to see, hear, search and label."""
