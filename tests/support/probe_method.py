"""A method that exists to exercise the clauses of the contract that SwAV and
DeepCluster-v2 leave alone.

It relabels within an epoch, draws its own order from the labels, so that an
image can come twice in a batch, starts its classifier afresh each epoch with
cleared momentum, weights its examples, and keeps a feature memory on the host.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfclust import optimizers
from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.config import ClusteringConfig
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import dense
from tfclust.layers.memories import HostMemory, RowMemory
from tfclust.ops.clusterer import Clusterer
from tfclust.options import option
from tfclust.runtime import replicas

HOST_STEPS = 2


@dataclasses.dataclass(frozen=True)
class ProbeConfig(ClusteringConfig):
    fresh_epochs: int = option(1, "Epochs that a classifier lives.", lower=1)
    relabel_steps: int = option(3, "Steps that labels live.", lower=1)


class Probe(ClusteringMethod):
    Config = ProbeConfig
    unit_projections = False
    view_grouping = "view"

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        (self.count,) = self.config.num_clusters
        self.classifier = dense.linear(
            self.count, self.projection_width, name="classifier"
        )
        self.classifier.build([None, self.projection_width])
        self.fresh_epoch = keras.Variable(
            -1, dtype="int64", trainable=False, name="fresh_epoch"
        )
        self.class_weights = self.add_weight(
            shape=(self.count,),
            initializer="ones",
            trainable=False,
            name="class_weights",
        )

    def build_memories(self, views):
        self.labels = RowMemory(views.num_images, 1, name="labels")
        self.last_loss_rank = RowMemory(views.num_images, 1, name="rank")
        shape = (views.num_images, self.projection_width)
        self.samples = HostMemory(shape, np.float32)
        self.host_calls = HostMemory((1,), np.int64)

    def variable_rules(self):
        rule = optimizers.Rule(momentum=0.0, rate=0.5)
        return {v.path: rule for v in self.classifier.trainable_variables}

    def score(self, projections, units):
        return (self.classifier(projections),)

    def begin_epoch(self, epoch):
        begun = int(self.fresh_epoch.numpy()) == epoch
        if begun or epoch % self.config.fresh_epochs:
            return
        generator = np.random.default_rng((self.views.seed, epoch))
        kernel, bias = self.classifier.trainable_variables
        values = generator.normal(0, 0.01, kernel.shape).astype(np.float32)
        self.reset([(kernel, values), (bias, np.zeros(bias.shape, "float32"))])
        self.fresh_epoch.assign(epoch)

    def reassign_due(self, step):
        return step % self.config.relabel_steps == 0

    def reassign(self, extract):
        rows = extract("projections", views="eval")
        generator = np.random.default_rng(self.views.seed)
        directions = generator.normal(size=(rows.shape[1], self.count))
        rows = rows - rows.mean(axis=0)
        self.labels.replace(np.argmax(rows @ directions, axis=1)[:, None])

    def order(self, epoch):
        """Uniform over clusters, with replacement."""
        labels = self.labels.rows.numpy()[:, 0]
        weights = 1.0 / np.bincount(labels, minlength=self.count)[labels]
        generator = np.random.default_rng((self.views.seed, epoch))
        return generator.choice(
            len(labels), len(labels), p=weights / weights.sum()
        )

    def assign(self, outputs, index):
        return self.labels.read(index)[:, 0]

    def example_losses(self, outputs, assignments):
        (scores,) = outputs.scores
        target = tf.one_hot(assignments, self.count)
        entropy = tf.reduce_mean(
            -tf.reduce_sum(target * tf.nn.log_softmax(scores), axis=-1), axis=0
        )
        weight = tf.gather(self.class_weights.value, assignments)
        return ExampleLosses(entropy, weight)

    def update_memory(self, outputs, assignments, index):
        batch = replicas.all_gather(index)
        places = tf.range(tf.shape(batch)[0])[:, None]
        self.last_loss_rank.write(batch, places)

    def host_rows(self, outputs, assignments):
        return {"rows": outputs.projections[0]}

    def after_step_due(self, step):
        return step % HOST_STEPS == HOST_STEPS - 1

    def after_step(self, rows):
        index = rows["index"]
        mixed = 0.5 * self.samples.array[index] + 0.5 * rows["rows"]
        self.samples.write(index, mixed)
        self.host_calls.array += 1
        counts = np.bincount(
            self.labels.rows.numpy()[:, 0], minlength=self.count
        )
        self.class_weights.assign(np.float32((counts + 1.0) ** -0.5))

    def clusterer(self):
        kernel, bias = self.classifier.trainable_variables
        return (Clusterer(kernel.numpy(), unit_rows=False, bias=bias.numpy()),)
