"""A step that needs more memory than the GPU, or the computer, has."""

import contextlib
import re

import tensorflow as tf

_MEMORY = re.compile("OOM|[Mm]emory")


class FullMemory(RuntimeError):
    """A step needs more memory than there is."""


@contextlib.contextmanager
def telling(batch_size):
    """A context that turns TensorFlow's failure into "memory is full".

    Args:
      batch_size: int, images of a step.

    Raises:
      FullMemory: instead of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if not _MEMORY.search(str(error)):
            raise  # a full disk
        raise FullMemory(
            "the memory of the GPU, or of the computer, is full: a step needs "
            f"more. Received: batch_size={batch_size}. Give --batch_size="
            f"{max(1, batch_size // 2)}, or a smaller --image_size or "
            "--backbone."
        ) from error
