"""A model in a few lines and images for tests of the assignment."""

import csv

import numpy as np
import tensorflow as tf

from tests.support.commands import write_digits
from tfclust import data
from tfclust.assignment import assigning
from tfclust.assignment.config import ClusterConfig
from tfclust.assignment.model import Model
from tfclust.assignment.unit_features import UnitFeatures

SIDE = 8
WIDTH = 16 * 3
CENTROIDS = np.random.default_rng(4).normal(size=(WIDTH, 5)).astype("f4")


def compute(images):
    """Features are means of 2 x 2 pixels, less grey; clusters by projection."""
    pooled = tf.nn.avg_pool2d(images, 2, 2, "VALID") - 0.3
    features = tf.reshape(pooled, [-1, WIDTH])
    scores = features @ CENTROIDS
    return {
        "features": features,
        "cluster": tf.argmax(scores, axis=1),
        "cluster_score": tf.reduce_max(scores, axis=1),
    }


def model(**changes):
    found = Model(compute, WIDTH, True, SIDE, SIDE, "digest", None, 7)
    return found._replace(**changes)


def config(**knobs):
    """A `ClusterConfig` for a run that need not exist."""
    return ClusterConfig(
        **{
            "workdir": "/dev/null/run",
            "batch_size": 16,
            "output": "a.csv",
            **knobs,
        }
    )


def assign(folder, source, *, of=None, **knobs):
    """The rows of the table `a.csv`, and what was said."""
    said = []
    folder.mkdir(exist_ok=True)
    output = folder / "a.csv"
    assigning.assign_source(
        config(**knobs), of or model(), source, output, said.append
    )
    with open(output, newline="") as file:
        return list(csv.DictReader(file)), said


def photos(folder, count=100):
    """A folder of digits as files, and its source."""
    write_digits(folder, count=count, by_class=False)
    return data.open_source(f"folder:{folder}")


def unit_features(rows):
    rows = np.asarray(rows, np.float32)
    return UnitFeatures(rows, np.arange(len(rows)))


def blobs(num_clusters, each=60, width=32, spread=0.15, seed=0):
    """Unit rows around random directions, and which each belongs to."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(num_clusters, width))
    labels = np.repeat(np.arange(num_clusters), each)
    rows = centres[labels] + spread * random.normal(size=(len(labels), width))
    return unit_features(rows), labels
