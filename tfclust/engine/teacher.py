"""A teacher: the mean of a network's own past weights.

MoCo's key encoder, BYOL's target and DINO's teacher. A method asks for one with
`has_teacher = True`, says in `teacher_decay` how slowly it follows, and calls
it in `targets`. Its weights are state like all others.
"""

import math

import keras
import tensorflow as tf

from tfclust.backbones.copying import copy_of
from tfclust.backbones.dropout import over_replicas
from tfclust.engine.forward import forward


class Teacher(keras.layers.Layer):
    """A copy of backbone and projector that gets no gradient.

    It starts equal to the student. Its batch norms use the statistics of its
    own passes, as in the sources; only trained weights are averaged.

    Args:
      backbone: `keras.Model`, images to features.
      projector: `keras.Model`, features to raw projections.

    Raises:
      ValueError: if a layer cannot be rebuilt from its configuration.

    Source:
      He et al. 2020, arXiv:1911.05722, eq. 2; Grill et al. 2020,
      arXiv:2006.07733, section 3.1.
    """

    def __init__(self, backbone, projector, *, grouping, name="teacher"):
        super().__init__(name=name)
        self.backbone = _copied(backbone)
        self.projector = _copied(projector)
        self.grouping = grouping
        self.built = True

    def call(self, views, training=True):
        """`Outputs` without scores, for a tuple over sizes of `[n, B, S, S,
        3]`.

        No gradient flows back; `targets` is called outside the tape anyway.
        """
        found = forward(
            self.backbone,
            self.projector,
            views,
            training=training,
            grouping=self.grouping,
        )
        return tf.nest.map_structure(tf.stop_gradient, found)

    def follow(self, backbone, projector, decay):
        """teacher <- decay * teacher + (1 - decay) * student; in a step.

        Args:
          backbone, projector: the student's, after the optimizer's update.
          decay: scalar in [0, 1], the same on every replica.
        """
        pairs = [
            *_pairs(self.backbone, backbone),
            *_pairs(self.projector, projector),
        ]

        def move(strategy, decay):
            for own, other in pairs:
                strategy.extended.update(
                    own.value, _blend, args=(other.value, decay), group=False
                )

        context = tf.distribute.get_replica_context()
        context.merge_call(move, args=(tf.cast(decay, tf.float32),))


def rising(step, *, start, total_steps):
    """A decay that rises from `start` to 1 on half a cosine.

    Args:
      step: scalar int, optimizer steps done.
      start: float in [0, 1]. 0.996 in BYOL and DINO.
      total_steps: int, steps of the whole run.

    Returns:
      Scalar float32, 1 from `total_steps` on.

    Source:
      BYOL, arXiv:2006.07733, section 3.2.
    """
    share = tf.cast(step, tf.float64) / max(1, total_steps)
    share = tf.clip_by_value(share, 0.0, 1.0)
    cosine = (tf.cos(math.pi * share) + 1.0) / 2.0
    return tf.cast(1.0 - (1.0 - start) * cosine, tf.float32)


def _blend(own, other, decay):
    decay = tf.cast(decay, own.dtype)
    own.assign(decay * own + (1.0 - decay) * tf.cast(other, own.dtype))


def _pairs(own, other):
    """Variables to average, of two networks of the same layers."""
    return [
        (mine, theirs)
        for mine, theirs in zip(own.variables, other.variables, strict=True)
        if theirs.trainable
    ]


def _copied(model):
    def copied(layer):
        copy = type(layer).from_config(layer.get_config())
        if isinstance(copy, keras.layers.Dropout):
            return over_replicas(copy)
        return copy

    copy = copy_of(
        model,
        copied,
        "a teacher is a copy, so the network's layers must be described by "
        "their get_config.",
        recursive=True,
    )
    for variable in copy.variables:
        # Not the layers: a batch norm that is not trainable does not use the
        # statistics of its batch.
        variable.trainable = False
    return copy
