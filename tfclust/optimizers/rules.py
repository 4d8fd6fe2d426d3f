"""Rules by variable: frozen, its own rate, momentum or decay.

DeepCluster and ODC train a classifier without momentum beside a backbone with
it, SwAV freezes its prototypes for a while, fine-tuning slows the lower stages.
A rule is looked up when a step is traced; only whether a variable is frozen is
checked in each step. Rules belong to a model's variables: `get_config` leaves
them out.
"""

from typing import NamedTuple

import keras
import tensorflow as tf


class Rule(NamedTuple):
    """What is different for one variable.

    rate: factor on the learning rate. momentum and decay: instead of the
    optimizer's, None to keep it. frozen_steps: for this many optimizer steps
    neither the variable nor its slots change, whatever the gradient is (a
    constraint of the variable still applies: Keras calls it after each step).
    """

    rate: float = 1.0
    momentum: float | None = None
    decay: float | None = None
    frozen_steps: int = 0


_NO_RULE = Rule()


class Ruled(keras.optimizers.Optimizer):
    """A mixin for Keras optimizers: rules, and decay that obeys them.

    Keras applies decay to all variables before the gradient step; here a
    variable's decay is part of its own `update_step`, with the same result.

    Args:
      clip_norm: float, the largest norm of a variable's gradient, each by
        itself, after the sum over replicas; None for no limit. 3.0 in DINO.
      decay_schedule: a Keras schedule, weight decay by step instead of
        `weight_decay`; None for constant weight decay.

    Raises:
      ValueError: if `clip_norm` is not positive, or one of Keras's own ways to
        clip is asked for.
    """

    slot_lists: tuple = ()
    takes_momentum = False

    def __init__(self, *args, clip_norm=None, decay_schedule=None, **options):
        if clip_norm is not None and not clip_norm > 0.0:
            raise ValueError(
                f"clip_norm must be positive. Received: clip_norm={clip_norm}. "
                "None leaves gradients as they are."
            )
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            if options.get(name) is not None:
                raise ValueError(
                    f"{name} clips each replica's part of a gradient, so "
                    "results would depend on their number. Received: "
                    f"{name}={options[name]}. Use clip_norm."
                )
        super().__init__(*args, **options)
        self.clip_norm = clip_norm
        if isinstance(decay_schedule, dict):  # from_config
            decay_schedule = keras.saving.deserialize_keras_object(
                decay_schedule
            )
        self.decay_schedule = decay_schedule

    def set_rules(self, rules):
        """Sets `{variable.path: Rule}`, before the training step is traced.

        Raises:
          ValueError: if a rule is impossible, or this optimizer cannot follow
            it; here or in `build`, if a path names no variable, or several.
        """
        for path, rule in rules.items():
            _check_rule(path, rule)
            if rule.momentum is not None and not self.takes_momentum:
                raise ValueError(
                    f"{type(self).__name__} has moments, not one momentum. A "
                    "rule may set rate, decay and frozen_steps. Received: "
                    f"momentum={rule.momentum} for {path}. Use SGD or LARS."
                )
        self._rules = dict(rules)
        if self.built:
            _check_paths(rules, self._trainable_variables)

    def build(self, variables):
        """Creates the slots of `variables`."""
        if self.built:
            return
        _check_paths(getattr(self, "_rules", {}), variables)
        super().build(variables)

    def rule_of(self, variable):
        """The variable's `Rule`; a default rule if none was set."""
        index = self._get_variable_index(variable)
        path = _path(self._trainable_variables[index])
        return getattr(self, "_rules", {}).get(path, _NO_RULE)

    def slots_of(self, variable):
        """The variable's slots, in the order of `slot_lists`."""
        index = self._get_variable_index(variable)
        return [getattr(self, slots)[index] for slots in self.slot_lists]

    def decay_of(self, variable):
        """Weight decay of the variable: a float, a scalar tensor, or None."""
        decay = self.rule_of(variable).decay
        if decay is None and self._use_weight_decay(variable):
            if self.decay_schedule is not None:
                return self.decay_schedule(self.iterations)
            decay = self.weight_decay
        return decay or None

    def update_step(self, gradient, variable, learning_rate):
        rule = self.rule_of(variable)
        gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
        if self.clip_norm is not None:
            gradient = tf.clip_by_norm(gradient, self.clip_norm)
        rate = tf.cast(learning_rate, variable.dtype) * rule.rate

        def update():
            self._update(gradient, variable, rate)
            return tf.constant(True)

        if not rule.frozen_steps:
            update()
            return
        frozen = tf.convert_to_tensor(self.iterations) < rule.frozen_steps
        tf.cond(frozen, lambda: tf.constant(False), update)

    def _update(self, gradient, variable, rate):
        """The step of a variable that is not frozen; decoupled decay here."""
        decay = self.decay_of(variable)
        if decay is not None:
            variable.assign_sub(variable * (rate * decay))
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Does nothing: `_update` decays; here frozen ones would decay too."""

    def get_config(self):
        schedule = self.decay_schedule
        if schedule is not None:
            schedule = keras.saving.serialize_keras_object(schedule)
        config = super().get_config()
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            config.pop(name, None)
        return {
            **config,
            "clip_norm": self.clip_norm,
            "decay_schedule": schedule,
        }


def set_rules(optimizer, rules):
    """Sets `{variable.path: Rule}` on an optimizer, or on the one it wraps.

    Args:
      optimizer: one of this package, or a `LossScaleOptimizer` around it.
      rules: `{variable.path: Rule}`; variables without one follow the
        optimizer's own values. Replaces earlier rules.

    Raises:
      TypeError: if the optimizer is not one of this package.
      ValueError: if a rule is impossible or its path names no variable.
    """
    _ruled(optimizer, "rules by variable need").set_rules(rules)


def slots_of(optimizer, variable):
    """The optimizer's state of one variable: momentum, or the moments.

    Args:
      optimizer: a built optimizer of this package, or one that wraps it.
      variable: a variable that it was built with.

    Returns:
      A list of variables of the same shape.

    Raises:
      TypeError: if the optimizer is none of this package.
    """
    return _ruled(optimizer, "slots by variable need").slots_of(variable)


def reset_slots(optimizer, variables):
    """Clears the slots of `variables`, as if their training started now.

    Works between steps and inside a traced function. Step counters stay, so
    the moments of AdamW and LAMB start without their bias correction.
    """
    for variable in variables:
        for slot in slots_of(optimizer, variable):
            slot.assign(tf.zeros(slot.shape, slot.dtype))


def _ruled(optimizer, purpose):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, Ruled):
        raise TypeError(
            f"{purpose} an optimizer of tfclust.optimizers: SGD, LARS, AdamW "
            f"or Lamb. Received: {type(inner).__module__}."
            f"{type(inner).__name__}."
        )
    return inner


def _check_rule(path, rule):
    lower_bounds = {"rate": 0.0, "momentum": 0.0, "decay": 0.0}
    for field, lower in {**lower_bounds, "frozen_steps": 0}.items():
        value = getattr(rule, field)
        if value is not None and not value >= lower:
            raise ValueError(
                f"{field} of the rule for {path} must be at least {lower}. "
                f"Received: {field}={value}."
            )


def _check_paths(rules, variables):
    paths = [_path(variable) for variable in variables]
    for path in rules:
        count = paths.count(path)
        if count != 1:
            raise ValueError(
                "a rule must name exactly one trainable variable by its path. "
                f"Received: {path}, which {count} of {len(paths)} variables "
                f"have. {_way_out(count, paths)}"
            )


def _way_out(count, paths):
    if count:
        return "Give the layers different names."
    return f"Paths begin: {', '.join(paths[:5])}."


def _path(variable):
    if isinstance(variable, keras.Variable):
        return variable.path
    return variable.name
