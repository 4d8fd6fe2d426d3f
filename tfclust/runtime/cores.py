"""What a process may use: cores (maybe fewer than all) and memory."""

import os
import pathlib


def usable_cpus():
    """The number of processors that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes():
    """The computer's memory in bytes, free or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def multiplies_bfloat16():
    """Whether the processor multiplies matrices of bfloat16 in hardware.

    False where the system does not say, as outside Linux.
    """
    try:
        words = set(pathlib.Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:
        return False
    return bool({"amx_bf16", "avx512_bf16"} & words)
