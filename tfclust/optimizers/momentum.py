"""SGD and LARS as in PyTorch: L2 in the gradient, the rate outside.

    v <- momentum * v + g + decay * p
    p <- p - rate * v

Keras keeps the rate inside the buffer and its decay is decoupled: the two
differ as soon as the rate changes, and at momentum 0.9 Keras decays a tenth as
much.
"""

import keras
import tensorflow as tf

from tfclust.optimizers.rules import Ruled


class _Momentum(Ruled):
    """What SGD and LARS share: one buffer per variable and its update."""

    slot_lists = ("_momentums",)
    takes_momentum = True

    def __init__(
        self, learning_rate, momentum, weight_decay, nesterov, **options
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **options
        )
        for argument, value in (
            ("momentum", momentum),
            ("weight_decay", weight_decay),
        ):
            if not value >= 0.0:
                raise ValueError(
                    f"{argument} must be 0 or more. Received: "
                    f"{argument}={value}."
                )
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def _update(self, gradient, variable, rate):
        momentum = self.rule_of(variable).momentum
        if momentum is None:
            momentum = self.momentum
        step = self.decayed(gradient, variable, self.decay_of(variable))
        (buffer,) = self.slots_of(variable)
        velocity = momentum * tf.convert_to_tensor(buffer) + step
        self.assign(buffer, velocity)
        if self.nesterov:
            velocity = momentum * velocity + step
        self.assign_sub(variable, rate * velocity)

    def decayed(self, gradient, variable, decay):
        """What is added to the buffer: gradient and L2, scaled or not."""
        return gradient if decay is None else gradient + decay * variable

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
        }


@keras.saving.register_keras_serializable(package="tfclust")
class SGD(_Momentum):
    """Stochastic gradient descent, v <- m v + g + wd p; p <- p - rate v.

    Args:
      learning_rate: float or a Keras schedule.
      momentum: float m, 0 for none.
      weight_decay: float wd, factor of the L2 term inside the momentum.
      nesterov: whether p uses g + wd p + m v instead of v.
      **options: those of `Ruled` and of `keras.optimizers.Optimizer`.

    Source:
      `torch.optim.SGD` with dampening 0, which all the papers use.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        nesterov=False,
        **options,
    ):
        super().__init__(
            learning_rate, momentum, weight_decay, nesterov, **options
        )


@keras.saving.register_keras_serializable(package="tfclust")
class LARS(_Momentum):
    """SGD whose step is, in each tensor, a fixed share of the weights' norm.

    `flavour="swav"` scales every tensor, biases and BN included:

        q = trust * |p| / (|g| + wd * |p| + 1e-8)
        v <- m v + q (g + wd p);  p <- p - rate v

    If |p| or |g| is 0 the gradient stays as it is, without decay: a bias that
    starts at zero takes its first step as plain SGD at the full rate.

    `flavour="vectors_plain"` scales and decays only tensors with two or more
    axes, with q = trust * |p| / |g + wd p|, or 1 if either norm is 0.

    Args:
      learning_rate: float or a Keras schedule.
      momentum: float m.
      weight_decay: float wd. 1e-6 in SwAV, DeepCluster-v2 and CoKe.
      trust: float, the trust coefficient. 1e-3 in all of them.
      flavour: "swav" (SwAV, DeepCluster-v2) or "vectors_plain" (CoKe).
      nesterov: as in `SGD`.
      **options: those of `Ruled` and of `keras.optimizers.Optimizer`.

    Raises:
      ValueError: if `flavour` is unknown, or a number is negative.

    Source:
      You et al. 2017, arXiv:1708.03888. "swav" as apex `LARC(SGD, trust, clip
      off)` in facebookresearch/swav; "vectors_plain" as in idstcv/CoKe.
    """

    flavours = ("swav", "vectors_plain")

    def __init__(
        self,
        learning_rate=0.6,
        momentum=0.9,
        weight_decay=1e-6,
        trust=1e-3,
        flavour="swav",
        nesterov=False,
        **options,
    ):
        super().__init__(
            learning_rate, momentum, weight_decay, nesterov, **options
        )
        if flavour not in self.flavours:
            raise ValueError(
                f"flavour must be one of {', '.join(self.flavours)}. "
                f"Received: flavour={flavour}."
            )
        if not trust > 0.0:
            raise ValueError(
                f"trust must be positive. Received: trust={trust}."
            )
        self.trust = trust
        self.flavour = flavour

    def decayed(self, gradient, variable, decay):
        if self.flavour == "swav":
            return self._swav(gradient, variable, decay)
        if variable.shape.rank < 2:
            return gradient
        return self._scaled_matrix(gradient, variable, decay)

    def _swav(self, gradient, variable, decay):
        decay = 0.0 if decay is None else decay
        weight_norm, gradient_norm = _norm(variable), _norm(gradient)
        ratio = self.trust * weight_norm
        ratio /= gradient_norm + decay * weight_norm + 1e-8
        scalable = (weight_norm > 0.0) & (gradient_norm > 0.0)
        # The factors of g and of p; scalars, so that choosing costs nothing.
        of_gradient = tf.where(scalable, ratio, 1.0)
        of_weights = tf.where(scalable, ratio * decay, 0.0)
        return _combined(gradient, of_gradient, variable, of_weights)

    def _scaled_matrix(self, gradient, variable, decay):
        step = super().decayed(gradient, variable, decay)
        weight_norm, step_norm = _norm(variable), _norm(step)
        scalable = (weight_norm > 0.0) & (step_norm > 0.0)
        ratio = tf.math.divide_no_nan(self.trust * weight_norm, step_norm)
        return tf.cast(tf.where(scalable, ratio, 1.0), step.dtype) * step

    def get_config(self):
        return {
            **super().get_config(),
            "trust": self.trust,
            "flavour": self.flavour,
        }


def _norm(x):
    """Euclidean norm of a whole tensor, a float32 scalar."""
    # l2_loss is one fused pass: half the sum of squares.
    return tf.sqrt(2.0 * tf.nn.l2_loss(tf.cast(x, tf.float32)))


def _combined(gradient, of_gradient, variable, of_weights):
    dtype = gradient.dtype
    scaled = tf.cast(of_gradient, dtype) * gradient
    return scaled + tf.cast(of_weights, dtype) * variable
