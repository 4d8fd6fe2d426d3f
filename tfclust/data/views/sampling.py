"""The order of the images, and the random numbers of each view.

Nothing here has state: the order of an epoch is a function of (seed, epoch),
and every random number is a function of (seed, step, row in the global batch,
view). So (seed, step) is the whole position in the data, and neither the number
of replicas nor the number of threads changes a bit.
"""

import hashlib

import tensorflow as tf

NUM_REPLACEMENTS = 16
_PHILOX = 1
_NUMBERS_A_BLOCK = 4  # Philox 4x32 gives four numbers for each counter value


def key_of(seed, purpose):
    """A 64-bit key for `purpose`, a word; int, the same in every process."""
    words = f"{int(seed)}:{purpose}".encode()
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "little")


def keyed_uniform(key, step, first_row, *, num_rows, num_views, num_values):
    """Uniform numbers for `num_rows` rows from `first_row` on.

    The counter of Philox (Salmon et al. 2011) is set to the row, so a slice of
    the batch gets the numbers that the whole batch would get there.

    Args:
      key: int from `key_of`.
      step: scalar int64 tensor.
      first_row: scalar int64 tensor, row in the global batch.
      num_rows: int. num_views: int.
      num_values: int, numbers for each view, a multiple of 4.

    Returns:
      float32 `[num_rows, num_views, num_values]` in [0, 1).
    """
    blocks_a_row = num_views * num_values // _NUMBERS_A_BLOCK
    counter = tf.stack([first_row * blocks_a_row, step])
    return tf.raw_ops.StatelessRandomUniformV2(
        shape=[num_rows, num_views, num_values],
        key=tf.constant([key], tf.uint64),
        counter=tf.cast(counter, tf.uint64),
        alg=_PHILOX,
        dtype=tf.float32,
    )


def replacements(key, step, first_row, *, num_rows, num_images):
    """Images to take, in this order, if a row's own cannot be read.

    Args:
      key: int from `key_of`, the one for the rows' numbers.
      step, first_row, num_rows: as in `keyed_uniform`.
      num_images: int N.

    Returns:
      int64 `[num_rows, NUM_REPLACEMENTS]`; a function of (key, step, row).
    """
    # A Philox block gives two numbers of 64 bits.
    counter = tf.stack([first_row * (NUM_REPLACEMENTS // 2), step])
    numbers = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[num_rows, NUM_REPLACEMENTS],
        key=tf.constant([key_of(key, "replacements")], tf.uint64),
        counter=tf.cast(counter, tf.uint64),
        alg=_PHILOX,
        dtype=tf.uint64,
    )
    return tf.cast(numbers % tf.constant(num_images, tf.uint64), tf.int64)


def shuffled(positions, seed, epoch, num_images, of="epoch"):
    """The images at `positions` of the epoch's permutation.

    Args:
      positions: int64 `[b]`, in [0, num_images).
      seed: int. epoch: int. num_images: int.
      of: "epoch"; or another word, such as "pass", which has permutations of
        its own, with its number given as `epoch`.

    Returns:
      int64 `[b]`.
    """
    key = key_of(seed, f"order of {of} {epoch}")
    return tf.random.experimental.index_shuffle(
        positions,
        seed=tf.constant([key & 0xFFFFFFFF, key >> 32], tf.uint32),
        max_index=tf.constant(num_images - 1, tf.int64),
    )
