"""What all methods share: one forward pass, one training step, one extraction.

A method is a `keras.Model` that says what its views should agree with, and what
an example's loss is; everything else is here, in this order: forward -> targets
-> stop gradient -> losses -> one weighted mean over the global batch ->
mixed-precision scale -> gradient -> rules by variable -> apply -> teacher ->
`update_memory` -> monitor. The hooks below do nothing unless a method overrides
them, and each names the methods that do. Nothing here knows about clusters;
`clustering` does.
"""

from typing import Any

import keras
import tensorflow as tf

from tfclust import backbones, optimizers
from tfclust.engine import batch_statistics, fit_telling, loop
from tfclust.engine import state as run_state
from tfclust.engine.config import MethodConfig, configured
from tfclust.engine.extraction import Extractor
from tfclust.engine.forward import forward
from tfclust.engine.losses import global_mean
from tfclust.engine.monitor import Monitor
from tfclust.engine.preparing import check, check_optimizer
from tfclust.engine.teacher import Teacher
from tfclust.layers import projectors
from tfclust.runtime import replicas


class Method(keras.Model):
    """Base of all methods.

    Args:
      backbone: a `keras.Model` from images in [0, 1] to features; a feature
        map is average-pooled (`backbones.adapt`).
      config: an instance of the class's `Config`, or None.
      **knobs: fields of `Config`, instead of `config`.

    Raises:
      ValueError: if a knob is unknown or out of its bounds.
      TypeError: if both `config` and knobs are given.
    """

    Config: type[MethodConfig]
    unit_projections = True
    view_grouping = "size"  # or "view": own batch statistics for each view
    takes_streams = False  # whether it keeps nothing per image
    # Whether labels after the first are made from a memory that steps have
    # filled, without a pass over the images.
    labels_from_memory = False
    has_teacher = False  # MoCo, BYOL, DINO: see `teacher_decay`
    # Names in its state for which NaN is not an error but means "not yet".
    unknown_as_nan: tuple[str, ...] = ()

    def __init__(self, backbone, config=None, *, name=None, **knobs):
        super().__init__(name=name or type(self).__name__.lower())
        self.config = configured(type(self).Config, config, knobs)
        synchronized = self.synchronizes_batch_norm
        self.backbone = backbones.adapt(backbone, sync_batch_norm=synchronized)
        self.projector = self.build_projector(
            self.backbone.output_shape[-1], synchronized
        )
        self.projection_width = self.projector.output_shape[-1]
        if self.has_teacher:
            self.teacher = Teacher(
                self.backbone, self.projector, grouping=self.view_grouping
            )
        self.step = _counter("step")
        self.epoch = _counter("epoch")
        self.views: Any = None  # `data.Views`, from `prepare` on
        self.total_steps: int | None = None  # of the run, while training
        self.order_snapshot = None
        self._extractor = Extractor(self)

    @property
    def synchronizes_batch_norm(self):
        """Whether statistics of batch norm span several replicas."""
        return batch_statistics.are_synchronized(self.config.batch_norm)

    # A method implements these.

    def targets(self, outputs, index, images):
        """The targets of the losses, any nest of tensors; without gradient.

        Args:
          outputs: `Outputs` of the replica's rows.
          index: int64 `[B]`, the indices of the images.
          images: a tuple over sizes of `[n, B, S, S, 3]`, the step's views,
            for a teacher.
        """
        raise NotImplementedError

    def example_losses(self, outputs, targets):
        """`ExampleLosses`; the base class takes the mean over the global batch.

        A tuple of several means the sum of their means.
        """
        raise NotImplementedError

    # Hooks, in the order of a run.

    def build_projector(self, features_width, synchronized):
        """A `keras.Model`, `[B, F]` to raw `[B, D]`; SwAV's two layers.

        Overridden for CoKe's three layers, ODC's neck with dropout, and SeLa,
        which has none.
        """
        return projectors.projector(
            features_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.config.projection_width,
            synchronized=synchronized,
        )

    def build_memories(self, views):
        """Creates what depends on N and B (banks, queues, labels)."""

    def teacher_decay(self):
        """Scalar in [0, 1], the part of its weights a teacher keeps per step.

        Called after the optimizer's update; `self.step` is still the value from
        before it. See also `self.total_steps`; `teacher.rising` is BYOL's and
        DINO's schedule.
        """
        raise NotImplementedError

    def variable_rules(self):
        """`{variable.path: optimizers.Rule}`: frozen, rate, decay, momentum."""
        return {}

    def begin_epoch(self, epoch):
        """Called before an epoch's first step; calling it twice is harmless.

        For CoKe's swap of centroids. DeepCluster's classifier starts afresh in
        `reassign`, which a resumed epoch does not repeat.
        """

    def reassign_due(self, step):
        """Whether `reassign` runs before this step (SeLa: within epochs)."""
        return False

    def reassign(self, extract):
        """Computes new labels from `extract(what, views=, training=)`."""

    def transform_images(self, images):
        """Makes more images from a step's, in the step: SeLa's rotations.

        Args:
          images: a tuple over sizes of `[n, B, S, S, 3]` in [0, 1].
        """
        return images

    def order(self, epoch):
        """Image indices of the epoch, `[>= steps * B]`, or None for uniform.

        For DeepCluster's sampling over clusters and ODC's drawing with
        replacement.
        """
        return None

    def update_memory(self, outputs, targets, index):
        """Writes device memories, in the step, from outputs before the update.

        `index` holds the replica's rows; gather before writing.
        """

    def host_rows(self, outputs, targets):
        """`{name: [B, ...]}` that `after_step` needs on the host."""
        return {}

    def after_step_due(self, step):
        """Whether `after_step` runs after this step."""
        return False

    def after_step(self, rows):
        """Host side, outside the compiled step: feature memories, splits.

        Args:
          rows: `host_rows` of the global batch as NumPy, and `index`.
        """

    def figures(self):
        """`{name: float}` of an epoch, from the state; override the
        monitor's."""
        return {}

    def build_monitor(self, views):
        """The object that collects an epoch's figures, part of the state."""
        return Monitor()

    def watch(self, loss, outputs, index):
        """Adds a step to the monitor.

        Args:
          loss: scalar, of the global batch.
          outputs: `Outputs` of the replica's rows.
          index: int64 `[B]` of the global batch.
        """
        self.monitor.count_loss(loss)

    # The shared machinery.

    def compile(self, optimizer, jit_compile=False):
        """Sets the optimizer, and whether XLA compiles the whole step.

        Raises:
          ValueError: if `jit_compile` is asked for under several replicas: one
            traced step would be shared by all of them (keras#19005); or if the
            optimizer accumulates gradients.
        """
        check_optimizer(optimizer)
        replicas.check_compiled(
            jit_compile, self.distribute_strategy.num_replicas_in_sync
        )
        super().compile(optimizer=optimizer, jit_compile=False)
        # Keras's own flag turns itself off under op determinism.
        self.compiles_step = bool(jit_compile)

    def build(self, input_shape=None):
        self.built = True

    def call(self, images, training=False):
        """Features `[B, F]` of float images `[B, H, W, 3]` in [0, 1]."""
        return self.backbone(images, training=training)

    def prepare(self, views):
        """Creates memories and optimizer slots for `views`; once per run.

        What of the backbone is frozen (`layer.trainable`) is settled here.

        Raises:
          TypeError: if `views` is not `data.Views`.
          ValueError: if the method is not compiled, the backbone is too deep
            for the views, or the method cannot use them.
        """
        if self.views is views:
            return
        check(self, views)
        self.views = views
        with self.distribute_strategy.scope():
            self.pass_backbone = backbones.passes(self.backbone)
            self.monitor = self.build_monitor(views)
            self.build_memories(views)
            rules = self.variable_rules()
            if rules:
                optimizers.set_rules(self.optimizer, rules)
            self.optimizer.build(self.trainable_variables)
        self.train_function = None

    def fit(
        self,
        views,
        *,
        epochs=None,
        steps=None,
        start_step=0,
        callbacks=None,
        verbose="auto",
    ):
        """Trains over `views`; see `loop.run` for the loop.

        Args:
          views: `tfclust.data.Views`.
          epochs: int, passes over the images; or use `steps`.
          steps: int, optimizer steps in total.
          start_step: int, the step to resume at; `load_state` comes first.
          callbacks: Keras callbacks, several or one.
          verbose: 0 for silence; else a sentence on images left out and on
            each setting that is rarely meant, a line per epoch, and a sentence
            where something goes wrong.

        Returns:
          A `keras.callbacks.History`.
        """
        self.prepare(views)
        total_steps = loop.total_steps(views, epochs, steps)
        callbacks = fit_telling.listed(callbacks)
        if verbose:
            callbacks += fit_telling.begin(
                self.config, views, total_steps, start_step
            )
        return loop.run(
            self,
            views,
            total_steps=total_steps,
            start_step=start_step,
            callbacks=callbacks,
        )

    def forward(self, views, training):
        """`Outputs` for a tuple over sizes of `[n, B, S, S, 3]` images."""
        return forward(
            self.pass_backbone,
            self.projector,
            views,
            training=training,
            grouping=self.view_grouping,
        )

    def train_step(self, batch):
        """One step on the replica's rows; see the module's first lines.

        Returns:
          The global loss, and `{name: [B, ...]}` of the global batch for
          `after_step`; both the same on every replica.
        """
        index = batch["index"]
        images = self.transform_images(self.views.on_device(batch))
        with tf.GradientTape() as tape:
            outputs = self.forward(images, training=True)
            with tape.stop_recording():
                targets = self.targets(outputs, index, images)
            targets = tf.nest.map_structure(tf.stop_gradient, targets)
            losses = self.example_losses(outputs, targets)
            loss = global_mean(losses, self.backbone.losses)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        batch_statistics.join(self, self.config.batch_norm)
        if self.has_teacher:
            decay = self.teacher_decay()
            self.teacher.follow(self.backbone, self.projector, decay)
        outputs = tf.nest.map_structure(tf.stop_gradient, outputs)
        self.update_memory(outputs, targets, index)
        loss = replicas.all_sum(tf.stop_gradient(loss))
        index = replicas.all_gather(index)
        self.watch(loss, outputs, index)
        self.step.assign(self.step + 1)
        rows = self.host_rows(outputs, targets)
        rows = {name: replicas.all_gather(x) for name, x in rows.items()}
        return loss, {**rows, "index": index}

    def make_train_function(self, force=False):
        """Compiles `train_step` for the strategy into `train_function`."""
        if self.train_function is not None and not force:
            return
        strategy = self.distribute_strategy
        step = self.train_step
        if self.compiles_step:
            step = tf.function(step, jit_compile=True, autograph=False)

        def train_function(batch):
            results = strategy.run(step, args=(batch,))
            return replicas.first_replica(strategy, results)

        # Nothing here branches on a tensor, so no AutoGraph: faster tracing.
        self.train_function = tf.function(train_function, autograph=False)

    def extract(self, what, *, views="eval", training=False):
        """Rows of all N images by index, in one pass without gradients.

        Args:
          what: "features", "projections" or "units".
          views: "eval" (resized, centre crop) or "train" (global views).
          training: whether batch norm and dropout act as in training; running
            statistics are then updated. Such a pass is shuffled by (seed,
            step), since images may be sorted by class. Rows that only fill the
            last batch repeat the first images of the pass.

        Returns:
          float32 array `[N, width]`, or `[N, global views, width]` for "train".
        """
        return self._extractor(what, views, training)

    def reset(self, values):
        """Sets `{variable: value}` and clears the variables' optimizer slots.

        For a classifier that restarts, as DeepCluster's does.
        """
        for variable, value in values:
            variable.assign(value)
        optimizers.reset_slots(self.optimizer, [v for v, _ in values])

    def state(self):
        """All that a resumed run needs, `{explicit name: array}`."""
        return run_state.arrays_of(self)

    def load_state(self, arrays):
        """Restores what `state` returned, after `prepare`.

        Raises:
          ValueError: naming what is missing, unexpected or of another shape.
        """
        run_state.load(self, arrays)


def _counter(name):
    return keras.Variable(
        0,
        dtype="int64",
        trainable=False,
        aggregation="only_first_replica",
        name=name,
    )
