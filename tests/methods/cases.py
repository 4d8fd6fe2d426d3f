"""What the contract's tests must know of each method: one row a method."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.support.probe_method import Probe
from tests.support.teacher_method import Student
from tfclust import methods
from tfclust.engine.clustering import ClusteringMethod

NUM_CLUSTERS = 5
NARROW = {"projection_width": 4, "hidden_width": 5}
ONE_HEAD = {"num_clusters": (NUM_CLUSTERS,)}
TWO_HEADS = {"num_clusters": (NUM_CLUSTERS, NUM_CLUSTERS)}


class Case(NamedTuple):
    """A method, tiny, and what is unlike the others about it."""

    make: type
    knobs: dict
    # With which its loss falls on 24 images within 20 epochs, and whether it
    # needs images that no colour changes.
    calm: dict = {}
    calm_images: bool = False
    # Scores `[B, K]` of the first view by which it assigns, where they are not
    # those of the softmax: function of (method, head, outputs).
    assigning: Callable | None = None


class GivenLabels(methods.FixedLabels):
    """Is given labels as its memory is made: other ones in each head.

    Squares name some classes more often, which shows in few steps.
    """

    def build_memories(self, views):
        super().build_memories(views)
        index = np.arange(views.num_images)
        labels = np.stack([index, index // 2], axis=1) ** 2 % NUM_CLUSTERS
        labels[3::7, 1] = -1
        self.take_labels(labels)


def _nearest_centroids(method, head, outputs):
    """DeepCluster's k-means in float64: (1 - squared distance) / 2."""
    rows = np.float64(outputs.projections[0]) - method.mean.array
    rows = rows @ np.float64(method.components.array)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centroids = np.float64(method.centroids.array)
    squares = np.sum((rows[:, None] - centroids) ** 2, axis=2)  # [B, K]
    return (1 - squares[:, : int(method.classifier.num_open)]) / 2


def _by_current_centroids(method, head, outputs):
    clusters = method.online_clusters[head]
    units = outputs.units[0].numpy()
    return units @ clusters.current.numpy() + clusters.duals.numpy()


CASES = {
    "swav": Case(
        methods.SwAV,
        {
            **NARROW,
            **ONE_HEAD,
            "epsilon": None,  # fitted; published ones are in test_swav
            "freeze_steps": 2,
            "queue_rows": 32,
            "queue_start_epoch": 0,
        },
        calm={"queue_rows": 0},
    ),
    "deepcluster_v2": Case(
        methods.DeepClusterV2, {**NARROW, **TWO_HEADS, "kmeans_iters": 3}
    ),
    "odc": Case(
        methods.ODC,
        {
            **ONE_HEAD,
            "projection_width": 8,
            "hidden_width": 16,
            "centroid_steps": 3,
            "kmeans_iters": 3,
        },
        # Labels that stand still, and few: they follow the images' ink.
        calm={"num_clusters": 2, "memory_weight": 0.0, "dropout": 0.0},
        calm_images=True,
        # By the centroids of the memory, while the classifier learns to follow.
        assigning=lambda method, head, outputs: (
            outputs.units[0].numpy() @ method.centroids.array.T
        ),
    ),
    "fixed_labels": Case(GivenLabels, {**TWO_HEADS, "projection_width": 0}),
    "sela": Case(
        methods.SeLa,
        {**TWO_HEADS, "sinkhorn_lambda": 3.0, "num_label_steps": 5},
        calm={"projection_width": 0, "num_label_steps": 1, "rate": 0.5},
        assigning=lambda method, head, outputs: (
            outputs.scores[head][0]
            + method.balance.array[head] / method.config.sinkhorn_lambda
        ),
    ),
    "sela_v2": Case(
        methods.SeLaV2,
        {**NARROW, **TWO_HEADS},
        calm={"rate": 0.005},
        assigning=lambda method, head, outputs: (
            outputs.scores[head][0]
            + method.balance.array[head] * method.config.epsilon
        ),
    ),
    "coke": Case(
        methods.CoKe,
        {
            **NARROW,
            **TWO_HEADS,
            "second_stage_epoch": 1,
            "temperature": 0.2,  # at 0.05 steps amplify rounding far more
        },
        # By today's centroids and duals; the loss has those of the last epoch.
        assigning=_by_current_centroids,
    ),
    "deepcluster": Case(
        methods.DeepCluster,
        {
            **ONE_HEAD,
            "projection_width": 0,
            "pca_width": 3,
            "kmeans_iters": 4,
        },
        calm={"reassign_epochs": 1000, "balance": "weights", "rate": 0.3},
        # Labels of eval crops are learnt slowly from colours that jump.
        calm_images=True,
        assigning=_nearest_centroids,
    ),
    "probe": Case(
        Probe,
        {**NARROW, **ONE_HEAD},
        calm={"fresh_epochs": 1000, "relabel_steps": 1000, "rate": 0.2},
    ),
    # Its teacher moves the goal: at a decay of 1 it stands still.
    "student": Case(Student, NARROW, calm={"start_decay": 1.0}),
}
CLUSTERING = [
    name
    for name, case in CASES.items()
    if issubclass(case.make, ClusteringMethod)
]
