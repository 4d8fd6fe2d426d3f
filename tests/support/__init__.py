"""Oracles, tiny networks, processes, damaged bytes."""
