"""The one engine that trains a network further on labels, for all protocols.

A trunk and a new head, SGD with a rate for each, a schedule by steps. The same
for whole images with one label or several, and for maps of pixels: a protocol
brings the head, the loss and the batches. Rows, seeds and replicas are as in
training: (seed, step) is the whole position, and the number of replicas changes
no batch, no crop and no statistic of batch norm.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from tfclust import data, optimizers
from tfclust.backbones import passes
from tfclust.engine.losses import global_mean
from tfclust.optimizers.schedules import WarmupCosine, WarmupDrops
from tfclust.runtime import devices, progress, replicas, sharing

_LOOK_EVERY = 50  # steps between two looks at the loss


class Settings(NamedTuple):
    """How a network is trained further.

    Attributes:
      steps: int, optimizer steps.
      rate: float, first learning rate of the trunk; 0 leaves it as it is, with
        its batch norms' statistics.
      head_rate: float, first learning rate of the head.
      drops: pairs (share of the steps, factor): from there on both rates are
        also multiplied by the factor; None for half a cosine down to 0.
      weight_decay: float, L2 inside the momentum, of all weights.
      momentum: float.
      clip_norm: float, largest norm of all gradients together; None for none.
      train_statistics: whether the trunk's batch norms use and update the
        batch's statistics, and its dropout drops.
      seed: int.
      precision: one of `runtime.machine.PRECISIONS`, in which the trunk
        computes; its weights, the head and the loss are float32.
      save_steps: int, steps between two states that a keeper keeps.
    """

    steps: int
    rate: float
    head_rate: float
    drops: tuple | None = ()
    weight_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float | None = None
    train_statistics: bool = True
    seed: int = 0
    precision: str = "none"
    save_steps: int = 500


class Parts(NamedTuple):
    """What is trained: `head(trunk(images))`."""

    trunk: keras.Model
    head: keras.Model


class Tuned(NamedTuple):
    """A network trained further; call it on images for the head's outputs."""

    parts: Parts
    loss: float  # of the last step

    def __call__(self, images):
        features = self.parts.trunk(images, training=False)
        return self.parts.head(tf.cast(features, tf.float32), training=False)


@data.telling_lost_images()
def tune(
    make_trunk,
    make_head,
    images,
    example_losses,
    settings,
    strategy=None,
    keeper=None,
):
    """Trains a trunk and a head.

    Args:
      make_trunk: function without arguments -> `keras.Model`, called in the
        strategy's scope after all seeds are set.
      make_head: function of the trunk -> `keras.Model`, called likewise.
      images: has `batch_size`, `steps_per_epoch`, `batches(epoch, start_step=,
        num_shards=, shard=)` as `data.Views`, and `inputs(batch)`, which gives
        float images `[b, S, S, 3]` in [0, 1] and targets on the device.
      example_losses: function of outputs and targets -> `ExampleLosses`.
      settings: `Settings`.
      strategy: `tf.distribute.Strategy`; None for all GPUs there are.
      keeper: `resuming.Keeper` of this training, or None.

    Returns:
      `Tuned`.

    Raises:
      RuntimeError: if the loss is no longer a number.
      OSError: if images are gone, and their replacements too.
    """
    strategy = devices.over_gpus() if strategy is None else strategy
    if devices.seed_everything(settings.seed):
        devices.set_threads()
    with strategy.scope():
        trunk = make_trunk()
        # A copy draws numbers too, as many as where it comes from needs.
        keras.utils.set_random_seed(settings.seed)
        parts = Parts(trunk, make_head(trunk))
        trainer = _Trainer(parts, images, example_losses, settings)
    with progress.line("Training further", settings.steps) as line:
        loss = _steps(strategy, trainer, images, settings, line, keeper)
    return Tuned(parts, loss)


def _steps(strategy, trainer, images, settings, line, keeper):
    """Takes all steps that are not done; returns the last one's loss."""
    step, loss = 0, float("nan")
    if keeper is not None:
        step = keeper.load(trainer.state)
        line.update(step)
    train_step = trainer.compiled(strategy)
    while step < settings.steps:
        epoch, first = divmod(step, images.steps_per_epoch)

        def make_batches(epoch=epoch, first=first, **shards):
            return images.batches(epoch, start_step=first, **shards)

        for batch in sharing.distribute(strategy, make_batches):
            found = train_step(batch)
            step += 1
            line.update(1)
            if step % _LOOK_EVERY == 0 or step == settings.steps:
                loss = _checked(float(found), step, settings)
            if step == settings.steps:
                break
            if keeper is not None and step % settings.save_steps == 0:
                _checked(float(found), step, settings)
                keeper.save(trainer.state, step)
    if keeper is not None:
        keeper.forget()
    return loss


def schedule(settings):
    """The factor on both rates by step, a Keras schedule that begins at 1."""
    if settings.drops is None:
        return WarmupCosine(1.0, total_steps=settings.steps)
    drops = [
        (round(share * settings.steps), factor)
        for share, factor in settings.drops
    ]
    return WarmupDrops(1.0, drops=drops)


class _Trainer:
    """The compiled step."""

    def __init__(self, parts, images, example_losses, settings):
        self._images, self._losses = images, example_losses
        self._settings, self._head = settings, parts.head
        if not settings.rate:
            for layer in parts.trunk._flatten_layers():
                layer.trainable = False
        self._trunk = passes(parts.trunk)
        trunk = parts.trunk.trainable_variables
        head = parts.head.trainable_variables
        self._variables = [*trunk, *head]
        optimizer = optimizers.SGD(
            schedule(settings), settings.momentum, settings.weight_decay
        )
        rules = {v.path: optimizers.Rule(rate=settings.rate) for v in trunk}
        rules |= {
            v.path: optimizers.Rule(rate=settings.head_rate) for v in head
        }
        optimizers.set_rules(optimizer, rules)
        if settings.precision == "float16":
            # Small gradients would be 0.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self._variables)
        self._optimizer = optimizer
        self.state = [
            *parts.trunk.variables,
            *parts.head.variables,
            *optimizer.variables,
        ]

    def compiled(self, strategy):
        """A compiled step: a batch to the global loss, a scalar tensor."""

        def run(batch):
            loss = strategy.run(self._step, args=(batch,))
            return replicas.first_replica(strategy, loss)

        return tf.function(run, autograph=False)

    def _step(self, batch):
        images, targets = self._images.inputs(batch)
        training = bool(self._settings.rate and self._settings.train_statistics)
        with tf.GradientTape() as tape:
            features = self._trunk(images, training=training)
            features = tf.cast(features, tf.float32)
            outputs = self._head(features, training=True)
            loss = global_mean(self._losses(outputs, targets))
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self._variables)
        if self._settings.clip_norm is not None:
            limit = self._optimizer.scale_loss(self._settings.clip_norm)
            gradients = _clipped(gradients, limit)
        self._optimizer.apply(gradients, self._variables)
        return replicas.all_sum(tf.stop_gradient(loss))


def _clipped(gradients, limit):
    """Gradients whose sum over replicas has at most this norm, all together."""
    whole = [replicas.all_sum(tf.convert_to_tensor(g)) for g in gradients]
    whole, _ = tf.clip_by_global_norm(whole, limit)
    # Keras sums them over replicas.
    return [gradient / replicas.num_replicas() for gradient in whole]


def _checked(loss, step, settings):
    if not tf.math.is_finite(loss):
        raise RuntimeError(
            f"the loss is no longer a number at step {step:,} of "
            f"{settings.steps:,}, with rates of {settings.rate:g} (trunk) and "
            f"{settings.head_rate:g} (head). Lower them."
        )
    return loss


class Batches(NamedTuple):
    """Random crops of labelled images, with the targets of each row.

    Attributes:
      views: `data.Views` of one view.
      targets: array `[N, ...]`, a row an image.
    """

    views: data.Views
    targets: tf.Tensor

    @property
    def batch_size(self):
        return self.views.batch_size

    @property
    def steps_per_epoch(self):
        return self.views.steps_per_epoch

    @property
    def batches(self) -> Callable:
        return self.views.batches

    def inputs(self, batch):
        """Images `[b, S, S, 3]` and targets `[b, ...]` of a batch."""
        (images,) = self.views.on_device(batch)  # [1, b, S, S, 3]
        return images[0], tf.gather(self.targets, batch["index"])
