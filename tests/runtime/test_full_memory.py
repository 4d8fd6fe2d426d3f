"""A full memory is told in a sentence."""

import pytest
import tensorflow as tf

from tfclust.runtime.full_memory import FullMemory, telling


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("OOM when allocating tensor with shape[64,9]", FullMemory),
        ("Out of memory while trying to allocate", FullMemory),
        ("No space left on device", tf.errors.ResourceExhaustedError),
    ],
)
def test_a_full_memory_is_told_from_a_full_disk(words, expected):
    with pytest.raises(expected) as caught, telling(64):
        raise tf.errors.ResourceExhaustedError(None, None, words)
    told = "Received: batch_size=64. Give --batch_size=32"
    assert (told in str(caught.value)) == (expected is FullMemory)
