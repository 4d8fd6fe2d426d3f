"""Imports TensorFlow as the commands need it: fast, and without notices.

TensorFlow uses oneDNN's kernels by itself only with AVX-512. They need only
AVX2, and on such a processor a step takes 0.6 of the time with them.

OpenMP's threads (scikit-learn's, faiss's) spin while they wait. Beside other
processes that costs more than the work: 40 small k-means took 6 s in three
processes on two cores, and 0.3 s with threads that sleep.

A command answers bad input with one line. TensorFlow's C++ parts write half a
dozen when they are loaded, before they read any setting, so they are filtered
at the file descriptor. Warnings and errors are passed on.

libjpeg writes a line or two for each damaged image, without the image's name.
"""

import contextlib
import glob
import os
import re
import sys
import threading

_NOTICE = re.compile(
    r"I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log |To enable "
)
# Messages of libjpeg on an image (their beginnings, from its `jerror.h`), and
# of TensorFlow's JPEG reader.
_DECODER_LINE = re.compile(
    r"(Arithmetic table|Bogus (DAC|DHT|DQT|Huffman|JPEG|marker|sampling)|"
    r"CCIR601 sampling|Component index \d|Corrupt JPEG data|DCT coefficient|"
    r"Empty (JPEG image|input file)|Fractional sampling|Huffman (code|table)|"
    r"IDCT output block|Image too wide|Improper call to JPEG library|"
    r"Inconsistent progression|Input file read error|"
    r"Invalid (JPEG|SOS|component|progressive)|JPEG datastream|"
    r"Maximum supported image|Missing Huffman|Not a JPEG file|"
    r"Premature end of (JPEG|input) file|Quantization table|Sampling factors|"
    r"Sorry, arithmetic|Too many color components|Unexpected marker|"
    r"Unknown Adobe color|Unsupported (JPEG|color|marker)|"
    r"Warning: unknown JFIF|[EW]\d{4} .* jpeg_mem\.cc:)"
)
_LEVEL, _ALL = "TF_CPP_MIN_LOG_LEVEL", "0"
_NO_GPU = "failed call to cuInit"
_STDERR = 2
_END = b"\0\n"
_filtering = threading.Lock()


def import_tensorflow():
    """Imports TensorFlow; prints its messages above the level of notices."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault(_LEVEL, "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _without(_is_notice):
        import tensorflow as tf

        # The search for GPUs, which would else come with the first operation.
        tf.config.list_physical_devices()
    # An error must show where it arose: `flags` tells bad input by that.
    tf.debugging.disable_traceback_filtering()


@contextlib.contextmanager
def without_notices():
    """A context in which TensorFlow may be imported without its notices.

    For a person's own program, whose settings stay as they are: with all
    messages if these are asked for.
    """
    if "tensorflow" in sys.modules or os.environ.get(_LEVEL) == _ALL:
        yield
        return
    os.environ.setdefault(_LEVEL, "2")
    with _without(_is_notice):
        yield
        tensorflow = sys.modules.get("tensorflow")
        # Where there are GPUs, the search would keep a program from forking.
        if tensorflow is not None and not _has_gpus():
            tensorflow.config.list_physical_devices()


def without_decoder_lines():
    """A context that keeps libjpeg's lines off standard error."""
    return _without(_DECODER_LINE.match)


@contextlib.contextmanager
def _without(unwanted):
    """Passes on what is written to standard error except `unwanted` lines."""
    if not _filtering.acquire(blocking=False):
        yield  # another thread has put its filter there
        return
    try:
        kept = _put_filter(unwanted)
        try:
            yield
        finally:
            if kept is not None:
                _take_filter(*kept)
    finally:
        _filtering.release()


def _put_filter(unwanted):
    """The old standard error, and an event for the end; None if closed."""
    try:
        kept = os.dup(_STDERR)
    except OSError:
        return None
    begin, end = os.pipe()
    ended = threading.Event()

    def pass_on():
        with os.fdopen(begin, "rb") as lines, os.fdopen(kept, "wb", 0) as out:
            for line in lines:
                whole = line.removesuffix(_END)
                if whole and not unwanted(whole.decode("utf-8", "replace")):
                    # Its reader may be gone; writing here would then block.
                    with contextlib.suppress(OSError):
                        out.write(whole)
                if whole != line:
                    ended.set()

    # A process started meanwhile keeps the pipe open for as long as it lives.
    threading.Thread(target=pass_on, daemon=True).start()
    _flush()
    os.dup2(end, _STDERR)
    os.close(end)
    return os.dup(kept), ended


def _take_filter(kept, ended):
    _flush()
    os.write(_STDERR, _END)
    os.dup2(kept, _STDERR)
    os.close(kept)
    ended.wait()


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()


def _is_notice(line):
    """Whether a line is of no use to a user."""
    # It is not an error that a computer without a GPU has no working driver.
    without_gpu = _NO_GPU in line and not _has_gpus()
    return without_gpu or _NOTICE.match(line) is not None


def _has_gpus():
    return bool(glob.glob("/dev/nvidia*"))
