"""The learning rate by step: a warm-up, then half a cosine or drops.

`WarmupCosine` follows the list that facebookresearch/swav `main_swav.py` builds
for each run; `WarmupDrops` is what SeLa and ODC do; `Delayed` is CoKe's first
epoch, in which only the clusters move.
"""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfclust")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """`start_rate` up to `base_rate` in a line, then down to `final_rate`.

    With W = `warmup_steps` and T = `total_steps` - W the rate at step s is

        start + (base - start) * s / (W - 1)                        s < W
        final + (base - final) / 2 * (1 + cos(pi * (s - W) / T))    s >= W

    so that `base_rate` is reached at the warm-up's last step and used again in
    the next one. From `total_steps` on it stays at `final_rate`. A constant
    rate after the warm-up is `final_rate=base_rate`.

    Args:
      base_rate: float, the largest rate.
      total_steps: int, steps of the whole run.
      warmup_steps: int W, 0 for none.
      start_rate: float, rate of the first step, if there is a warm-up.
      final_rate: float, the end of the cosine.

    Raises:
      ValueError: if a rate is negative, or the warm-up is longer than the run.

    Source:
      facebookresearch/swav, `main_swav.py`: `np.linspace` with its end, then a
      cosine from zero. Computed in float64, returned in float32.
    """

    def __init__(
        self,
        base_rate,
        *,
        total_steps,
        warmup_steps=0,
        start_rate=0.0,
        final_rate=0.0,
        name=None,
    ):
        super().__init__()
        rates = {
            "base_rate": base_rate,
            "start_rate": start_rate,
            "final_rate": final_rate,
        }
        for argument, rate in rates.items():
            if not 0.0 <= rate < math.inf:
                raise ValueError(
                    f"{argument} must be a finite number, 0 or more. "
                    f"Received: {argument}={rate}."
                )
        if not 0 <= warmup_steps <= total_steps or total_steps < 1:
            raise ValueError(
                "warmup_steps must lie in 0..total_steps, with total_steps at "
                f"least 1. Received: warmup_steps={warmup_steps}, "
                f"total_steps={total_steps}. Warm up for fewer epochs or "
                "train for more."
            )
        self.base_rate = float(base_rate)
        self.total_steps = int(total_steps)
        self.warmup_steps = int(warmup_steps)
        self.start_rate = float(start_rate)
        self.final_rate = float(final_rate)
        self.name = name

    def __call__(self, step):
        # Scalars cost nothing in float64, and a float32 angle would be off by
        # 1e-6 late in a run of 250,000 steps.
        step = tf.cast(tf.convert_to_tensor(step), tf.float64)
        intervals = max(1, self.warmup_steps - 1)
        slope = (self.base_rate - self.start_rate) / intervals
        warming = self.start_rate + slope * step
        length = max(1, self.total_steps - self.warmup_steps)
        share = tf.clip_by_value((step - self.warmup_steps) / length, 0.0, 1.0)
        half_range = 0.5 * (self.base_rate - self.final_rate)
        cooling = self.final_rate + half_range * (1.0 + tf.cos(math.pi * share))
        rate = tf.where(step < self.warmup_steps, warming, cooling)
        return tf.cast(rate, tf.float32)

    def get_config(self):
        return {
            "base_rate": self.base_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "start_rate": self.start_rate,
            "final_rate": self.final_rate,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="tfclust")
class WarmupDrops(keras.optimizers.schedules.LearningRateSchedule):
    """`start_rate` up to `base_rate` in a line, then lower at each drop.

    From step `drops[i][0]` on the rate is also multiplied by `drops[i][1]`.

    Args:
      base_rate: float, the rate before any drop.
      drops: pairs of step and factor, in any order; none for a constant rate.
      warmup_steps: int, 0 for none; as in `WarmupCosine`.
      start_rate: float, rate of the first step where there is a warm-up.

    Raises:
      ValueError: if a rate, step or factor is negative or not finite.
    """

    def __init__(
        self, base_rate, *, drops=(), warmup_steps=0, start_rate=0.0, name=None
    ):
        super().__init__()
        numbers = [
            base_rate,
            start_rate,
            warmup_steps,
            *sum(map(list, drops), []),
        ]
        if not all(0.0 <= number < math.inf for number in numbers):
            raise ValueError(
                "rates, steps and factors must be finite numbers, 0 or more. "
                f"Received: base_rate={base_rate}, start_rate={start_rate}, "
                f"warmup_steps={warmup_steps}, drops={drops}."
            )
        self.base_rate = float(base_rate)
        self.drops = tuple((int(step), float(factor)) for step, factor in drops)
        self.warmup_steps = int(warmup_steps)
        self.start_rate = float(start_rate)
        self.name = name

    def __call__(self, step):
        step = tf.cast(tf.convert_to_tensor(step), tf.float64)
        intervals = max(1, self.warmup_steps - 1)
        slope = (self.base_rate - self.start_rate) / intervals
        rate = tf.where(
            step < self.warmup_steps,
            self.start_rate + slope * step,
            tf.constant(self.base_rate, tf.float64),
        )
        for drop, factor in self.drops:
            rate *= tf.where(step < drop, tf.constant(1.0, tf.float64), factor)
        return tf.cast(rate, tf.float32)

    def get_config(self):
        return {
            "base_rate": self.base_rate,
            "drops": self.drops,
            "warmup_steps": self.warmup_steps,
            "start_rate": self.start_rate,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="tfclust")
class Delayed(keras.optimizers.schedules.LearningRateSchedule):
    """Rate 0 for `delay_steps` steps, then `schedule` from its step 0 on."""

    def __init__(self, schedule, delay_steps, name=None):
        super().__init__()
        if isinstance(schedule, dict):  # from_config
            schedule = keras.saving.deserialize_keras_object(schedule)
        self.schedule, self.delay_steps = schedule, int(delay_steps)
        self.name = name

    def __call__(self, step):
        step = tf.cast(tf.convert_to_tensor(step), tf.int64)
        after = self.schedule(tf.maximum(step - self.delay_steps, 0))
        return tf.where(step < self.delay_steps, tf.zeros_like(after), after)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "delay_steps": self.delay_steps,
            "name": self.name,
        }
