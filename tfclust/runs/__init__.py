"""A run on disk: its recipe, checkpoints, figures, and images left out."""
