"""The cores that a process may use, which may be fewer than the machine has."""

import os


def usable_cpus():
    """Their number, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
