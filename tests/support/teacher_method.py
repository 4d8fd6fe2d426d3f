"""A method that exists to exercise what no method of the library needs yet.

It has a teacher and no clusters: each view predicts the teacher's projection of
the other (Grill et al. 2020, arXiv:2006.07733).
"""

import dataclasses

import tensorflow as tf

from tfclust.engine import teacher
from tfclust.engine.config import MethodConfig
from tfclust.engine.losses import ExampleLosses
from tfclust.engine.method import Method
from tfclust.layers import projectors
from tfclust.ops.units import unit_vectors
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class StudentConfig(MethodConfig):
    start_decay: float = option(0.8, "Of the teacher.", lower=0.0, upper=1.0)


class Student(Method):
    Config = StudentConfig
    view_grouping = "view"
    has_teacher = True

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.predictor = projectors.projector(
            self.projection_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.projection_width,
            synchronized=self.synchronizes_batch_norm,
        )

    def teacher_decay(self):
        return teacher.rising(
            self.step,
            start=self.config.start_decay,
            total_steps=self.total_steps,
        )

    def targets(self, outputs, index, images):
        """The teacher's projections `[V, B, D]`, of the other view."""
        return self.teacher(images).units[::-1]

    def example_losses(self, outputs, targets):
        losses = []
        for projections, target in zip(
            tf.unstack(outputs.projections), tf.unstack(targets), strict=True
        ):
            predicted = self.predictor(projections, training=True)
            cosine = tf.reduce_sum(unit_vectors(predicted) * target, axis=-1)
            losses.append(2.0 - 2.0 * cosine)  # [B]
        loss = tf.add_n(losses) / len(losses)
        return ExampleLosses(loss, tf.ones_like(loss))
