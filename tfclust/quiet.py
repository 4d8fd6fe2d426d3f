"""Imports TensorFlow without the notices it writes on standard error.

A command answers bad input with one line. TensorFlow's C++ parts write half a
dozen when they are loaded, before any setting of theirs is read, hence the file
descriptor. Warnings and errors are passed on.
"""

import contextlib
import os
import re
import sys
import tempfile

_NOTICE = re.compile(r"I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log ")
_STDERR = 2


def import_tensorflow():
    """Imports TensorFlow; prints what it has to say above notices."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back(_NOTICE):
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _held_back(notice):
    """Holds standard error back, and then writes it without the notices."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            # "To enable ..." continues the notice before it.
            for line in held.read().decode("utf-8", "replace").splitlines():
                if not notice.match(line) and not line.startswith("To enable"):
                    print(line, file=sys.stderr)


import_tensorflow()
