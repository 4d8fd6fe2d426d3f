"""Imports TensorFlow without the notices it writes on standard error.

A command answers bad input with one line. TensorFlow's C++ parts write half a
dozen when they are loaded, before any setting of theirs is read, hence the file
descriptor. Warnings and errors are passed on.
"""

import contextlib
import glob
import os
import re
import sys
import tempfile

_NOTICE = re.compile(
    r"I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log |To enable "
)
_NO_GPU = "failed call to cuInit"
_STDERR = 2


def import_tensorflow():
    """Imports TensorFlow; prints what it has to say above notices."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back():
        import tensorflow as tf

        # The look for GPUs, which else comes with the first operation.
        tf.config.list_physical_devices()
    # An error must show where it arose: `flags` tells bad input by that.
    tf.debugging.disable_traceback_filtering()


@contextlib.contextmanager
def _held_back():
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
            for line in held.read().decode("utf-8", "replace").splitlines():
                if not _is_notice(line):
                    print(line, file=sys.stderr)


def _is_notice(line):
    """Whether a line says nothing to a user."""
    # It is no error that a computer without a GPU has no working driver.
    without_gpu = _NO_GPU in line and not glob.glob("/dev/nvidia*")
    return without_gpu or _NOTICE.match(line) is not None


import_tensorflow()
