"""SeLa: among labels that fill all clusters equally, those that are predicted
best (Asano, Rupprecht and Vedaldi 2020, arXiv:1911.05371).

Follows yukimasano/self-label, `main.py` and `sinkhornknopp.py` (ImageNet) and
`cifar.py`. Differs in three places: the label step works on logarithms, in
float32 with float64 vectors, and starts from the last one's log r; its passes
stop by the mean change per image; label times that fall between the same two
steps are one label step.
"""

import numpy as np

from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.label_steps import Balance
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import projectors
from tfclust.layers.classifiers import Classifier
from tfclust.layers.memories import RowMemory
from tfclust.methods.configs.sela import SeLaConfig
from tfclust.ops import transport
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.cross_entropy import hard_label_losses
from tfclust.ops.filling import check_filling
from tfclust.ops.kmeans import kmeans

# Label steps may be due a little after the last epoch; these are not made.
_SPAN_BEYOND = 1.01
_KMEANS_ITERS = 20  # DeepCluster's


class SeLa(ClusteringMethod):
    """SeLa as a Keras model."""

    Config = SeLaConfig
    unit_projections = False

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        counts = self.config.num_clusters
        self.classifier = Classifier(
            self.projection_width, counts, start=self.config.head_start
        )
        self.balance = Balance(self.config)

    def build_projector(self, features_width, synchronized):
        if self.config.projection_width:
            return super().build_projector(features_width, synchronized)
        return projectors.rectifier(features_width)

    def build_memories(self, views):
        num_images, counts = views.num_images, self.config.num_clusters
        check_filling(num_images, max(counts))
        self.labels = RowMemory(num_images, len(counts), name="labels")
        start = [
            balanced_start(num_images, count, seed=(views.seed, head))
            for head, count in enumerate(counts)
        ]
        self.labels.replace(np.stack(start, axis=1))

    def score(self, projections, units):
        return self.classifier(projections)

    def reassign_due(self, step):
        return step in label_steps(
            self.config.num_label_steps,
            self.config.label_schedule,
            epochs=self.total_steps / self.views.steps_per_epoch,
            num_images=self.views.num_images,
            batch_size=self.views.batch_size,
        )

    def reassign(self, extract):
        """Labels from features as training sees them: augmented, batch BN."""
        rows = extract("projections", views="train", training=True)[:, 0]
        label = self._nearest_means
        if self.config.assignment == "sinkhorn":
            label = self._balanced
            rows = transport.place(
                rows,
                max(self.config.num_clusters),
                strategy=self.distribute_strategy,
            )
        labels = self.labels.rows.numpy()
        for head in self._heads_due():
            labels[:, head] = label(rows, head)
        self.labels.replace(labels)

    def assign(self, outputs, index):
        """Pseudo-labels `[B, H]`."""
        return self.labels.read(index)

    def example_losses(self, outputs, assignments):
        return ExampleLosses(*hard_label_losses(outputs.scores, assignments))

    def figures(self):
        return {**super().figures(), **self.balance.figures()}

    def clusterer(self):
        """argmax of lambda * log p + log r, all divided by lambda."""
        return tuple(
            Clusterer(
                dense.kernel.numpy(),
                unit_rows=False,
                bias=dense.bias.numpy()
                + self.balance.log_r(head) / self.config.sinkhorn_lambda,
            )
            for head, dense in enumerate(self.classifier.heads)
        )

    def _heads_due(self):
        num_heads = len(self.config.num_clusters)
        if self.config.relabel == "cyclic":
            return [int(self.epoch.numpy()) % num_heads]
        return list(range(num_heads))

    def _balanced(self, rows, head):
        dense = self.classifier.heads[head]
        return self.balance.label(
            head,
            rows,
            dense.kernel.value,
            dense.bias.value,
            power=self.config.sinkhorn_lambda,
        )

    def _nearest_means(self, rows, head):
        return kmeans(
            rows,
            self.config.num_clusters[head],
            num_iters=_KMEANS_ITERS,
            seed=(self.views.seed, int(self.step.numpy()), head),
            empty="split",
            strategy=self.distribute_strategy,
        ).pseudo_labels


def balanced_start(num_images, num_clusters, *, seed):
    """Random labels for clusters whose sizes differ by at most 1.

    Args:
      num_images: int N. num_clusters: int K.
      seed: tuple of ints >= 0.

    Returns:
      `[N]` int64, a random permutation of i mod K.
    """
    key = np.random.SeedSequence(seed)
    generator = np.random.Generator(np.random.Philox(key))
    return generator.permutation(num_images) % num_clusters


def label_steps(count, schedule, *, epochs, num_images, batch_size):
    """Steps before which labels are made, in a run over `epochs`.

    With t from 0 to 1 in `count` even parts, a label step is due as soon as
    (epochs + 1.01) * N * t^2 images have been seen (t, not t^2, if even).

    Args:
      count: int, label steps.
      schedule: "quadratic" or "even".
      epochs: float, epochs of the whole run.
      num_images: int N.
      batch_size: int B.

    Returns:
      Set of ints, 0 among them.

    Source:
      self-label, `optimize_times` in `main.py` and `cifar.py`.
    """
    times = np.linspace(0, 1, count)
    if schedule == "quadratic":
        times = times**2
    seen = (epochs + _SPAN_BEYOND) * num_images * times
    return {int(step) for step in np.ceil(seen / batch_size)}
