"""What a run is on disk: recipe, checkpoints, figures, files left out."""
