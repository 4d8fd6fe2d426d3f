"""Search by image: an index over a SavedModel's features, and its figures."""
