"""What happens during a fit: saving, stopping, figures, lines to read."""
