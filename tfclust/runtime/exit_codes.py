"""What a command ends with."""

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
