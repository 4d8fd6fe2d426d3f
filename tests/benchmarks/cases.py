"""Cases of a benchmark in processes of their own, and their peak of memory."""

import json
import resource
import subprocess
import sys


def measured_apart(file, *words, timeout):
    """What `--case words` of a benchmark prints last, by a fresh process.

    It has made no other peak. Where the peak counts, the process that asks must
    stay small: a child's `ru_maxrss` begins at its parent's.

    Args:
      file: the benchmark's `__file__`.
      words: of the case.
      timeout: seconds.
    """
    done = subprocess.run(
        [sys.executable, file, "--case", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak_bytes():
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but on macOS bytes.
    return peak * (1 if sys.platform == "darwin" else 1024)
