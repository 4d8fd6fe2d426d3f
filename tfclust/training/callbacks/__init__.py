"""What happens along a fit: saves, ends, figures, lines to read."""
