"""The exit codes of commands."""

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
