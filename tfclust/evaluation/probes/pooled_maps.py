"""Maps of layers as some 9,000 values each, so that probes are alike.

Every paper averages (SeLa: takes the maximum of) windows of its network's maps
until about 9,600 values are left; `PUBLISHED` has their windows. Other maps are
cut into n x n parts that cover all, the most with n * n * C at most 9,600.
"""

from typing import NamedTuple

import tensorflow as tf

MOST_VALUES = 9600


class Windows(NamedTuple):
    """Square windows: side, stride and zeros added around the map, pixels."""

    side: int
    stride: int
    border: int


# By side and channels of the map.
PUBLISHED = {
    # DeepCluster, eval_linear.py; SeLa, eval_linear_probes.py: AlexNet at 224.
    (55, 96): Windows(6, 6, 3),  # 10 x 10
    (27, 256): Windows(4, 4, 0),  # 6 x 6
    (13, 384): Windows(3, 3, 1),  # 5 x 5
    (13, 256): Windows(2, 2, 0),  # 6 x 6
    # OpenSelfSup: ResNet-50 at 224. The last is SwAV's, too.
    (112, 64): Windows(10, 10, 4),  # 12 x 12
    (56, 256): Windows(16, 8, 0),  # 6 x 6
    (28, 512): Windows(13, 5, 0),  # 4 x 4
    (14, 1024): Windows(8, 3, 0),  # 3 x 3
    (7, 2048): Windows(6, 1, 0),  # 2 x 2
}


def pooled(maps, kind):
    """Maps `[B, S, S, C]` as `[B, n, n, C]`, by the rule above.

    Args:
      maps: float tensor of static shape but for B.
      kind: "mean" or "max".
    """
    _, side, _, channels = maps.shape
    windows = PUBLISHED.get((side, channels))
    if windows is None:
        return in_parts(maps, num_parts(side, channels), kind)
    border = [windows.border] * 2
    # Zeros count in the mean, as in PyTorch; after a ReLU no maximum is lower.
    maps = tf.pad(maps, [[0, 0], border, border, [0, 0]])
    pool = tf.nn.avg_pool2d if kind == "mean" else tf.nn.max_pool2d
    return pool(maps, windows.side, windows.stride, "VALID")


def num_parts(side, channels):
    """The largest n <= side with n * n * channels <= 9,600; at least 1."""
    most = int((MOST_VALUES / channels) ** 0.5)
    return max(1, min(side, most))


def in_parts(maps, count, kind):
    """`[B, S, S, C]` as `[B, count, count, C]` of parts that cover it.

    Part i goes from floor(i S / count) to ceil((i + 1) S / count).
    """
    reduce = tf.reduce_mean if kind == "mean" else tf.reduce_max
    for axis in (1, 2):
        side = maps.shape[axis]
        spans = [
            range(i * side // count, -(-(i + 1) * side // count))
            for i in range(count)
        ]
        parts = [
            reduce(tf.gather(maps, span, axis=axis), axis) for span in spans
        ]
        maps = tf.stack(parts, axis)
    return maps
