"""The map from projections to clusters."""

import numpy as np
import tensorflow as tf

from tfclust.ops import clusterer as clusterers
from tfclust.ops.clusterer import Clusterer


def test_assign_takes_the_first_of_equal_scores():
    head = Clusterer(np.ones([2, 3], np.float32), unit_rows=False)
    cluster, score = clusterers.assign(head, tf.constant([[1.0, 2.0]]))
    assert cluster.dtype == tf.int64
    assert (int(cluster[0]), float(score[0])) == (0, 3.0)
