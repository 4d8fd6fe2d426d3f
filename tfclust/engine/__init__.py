"""What the methods share: the step, the loop, passes, figures, state."""
