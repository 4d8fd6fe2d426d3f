"""What the processor can do that a benchmark hangs on."""

import pathlib

_CPU_INFO = pathlib.Path("/proc/cpuinfo")


def has_bfloat16():
    """Whether it multiplies in bfloat16; else a step takes many times as long.

    False where the system does not tell.
    """
    if not _CPU_INFO.is_file():
        return False
    flags = _CPU_INFO.read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
