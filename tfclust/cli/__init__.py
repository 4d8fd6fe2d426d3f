"""From dataclasses to flags and back, help texts, exit codes."""
