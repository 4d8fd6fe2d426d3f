"""What more than one consumer of a SavedModel needs."""
