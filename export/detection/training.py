"""Trains a detector; a run that is killed goes on as if nothing had been."""

import dataclasses
import json
import time

import keras
import numpy as np
import tensorflow as tf

from export.detection import (
    batches,
    losses,
    mean_ap,
    network,
    predictions,
    state,
)
from tfclust import saved_model
from tfclust.data import telling_lost_images
from tfclust.runtime import devices, files, progress, terminal

_TOLD_EVERY = 15.0  # seconds
_ENOUGH = 0.8  # of the boxes that have an anchor
_LOOKED_AT = 2000  # boxes


class Trainer:
    """A detector, its optimizer and its loss: the state, and one step.

    Args:
      config: `DetectorConfig`. num_classes: int.

    Raises:
      ValueError: if the SavedModel has no such backbone.
    """

    def __init__(self, config, num_classes):
        self.config = config
        precision = config.mixed_precision
        with devices.precision(precision):
            graph = saved_model.load_graph(
                config.saved_model,
                frozen_stages=config.frozen_stages,
                precision=precision,
                random_weights=config.random_weights,
            )
            self.detector = network.build(graph, num_classes, config, precision)
        self.path = graph.path
        if config.frozen_statistics:
            network.freeze_statistics(self.detector.model)
        model = self.detector.model
        self.loss = losses.Loss(model.label_encoder, num_classes)
        optimizer = keras.optimizers.SGD(
            config.learning_rate,
            momentum=0.9,
            weight_decay=config.weight_decay or None,
            global_clipnorm=config.clip_norm,
            name="sgd",
        )
        if precision == "float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        self.optimizer = optimizer
        self._compiled = tf.function(self._step, autograph=False)

    def variables(self):
        """All that a step reads and changes."""
        model, optimizer = self.detector.model, self.optimizer
        own = [self.loss.mean_positives]
        return [*model.variables, *optimizer.variables, *own]

    def step(self, number, images, boxes, labels):
        """One step of training; returns `losses.Losses` of tensors."""
        self.optimizer.learning_rate = self.config.rate(number)
        return self._compiled(images, boxes, labels)

    def _step(self, images, boxes, labels):
        images = tf.cast(images, tf.float32) / 255.0
        model = self.detector.model
        with tf.GradientTape() as tape:
            predicted = model(images, training=True)
            found = self.loss(images, boxes, labels, predicted)
            scaled = self.optimizer.scale_loss(found.classes + found.boxes)
        variables = model.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        return found


def train(config, data, workdir, say=terminal.say):
    """Trains up to `config.steps`, from the newest checkpoint.

    Args:
      config: `DetectorConfig`. data: `Annotated`.
      workdir: `pathlib.Path`.
      say: called with sentences.

    Returns:
      `Trainer`; and whether it was asked to stop before its end.

    Raises:
      ValueError: if there are fewer images than a batch, or the workdir holds
        another run.
      RuntimeError: if the loss is no longer a number.
    """
    if len(data.names) < config.batch_size:
        raise ValueError(
            f"batch_size must be at most the number of images, "
            f"{len(data.names)}. Received: batch_size={config.batch_size}."
        )
    deterministic = devices.seed_everything(config.seed)
    if deterministic:
        devices.set_threads()
    trainer = Trainer(config, len(data.class_names))
    _tell_anchors(trainer.detector, data, config, say)
    begin, history = _resumed(trainer, data, workdir, say)
    if begin < config.steps:
        say(
            f"Training {trainer.path}: steps {begin:,} to {config.steps:,} of "
            f"{config.batch_size} images."
        )
    with state.asked_to_stop() as stopping, telling_lost_images():
        done = _loop(trainer, data, workdir, begin, history, stopping, say)
    return trainer, done < config.steps


def evaluate(detector, data, batch_size):
    """mAP on a data set.

    Args:
      detector: `network.Detector`. data: `Annotated`. batch_size: int.

    Returns:
      JSON-serialisable dict of COCO's figures and VOC's, by class too.
    """
    found = detect_all(detector, data, batch_size)
    by_class = mean_ap.voc(data, found)
    means = {
        kind: float(np.mean(list(by_name.values()))) if by_name else None
        for kind, by_name in by_class.items()
    }
    return {**mean_ap.coco(data, found), **means, "by_class": by_class}


def detect_all(detector, data, batch_size):
    """`mean_ap.Detections` of every image, in order."""

    @tf.function(autograph=False, reduce_retracing=True)
    def find(images, sizes):
        images = tf.cast(images, tf.float32) / 255.0
        predicted = detector.model(images, training=False)
        return predictions.find(
            predicted, detector.anchors, sizes, detector.side
        )

    rows, place = [], 0
    with (
        progress.line("Measuring", len(data.names)) as line,
        telling_lost_images(),
    ):
        for images, _, _ in batches.whole(data, detector.side, batch_size):
            count = len(images)
            sizes = data.sizes[place : place + count]
            found = find(images, tf.constant(sizes, tf.int32))
            for boxes, labels, scores, number in zip(
                *(part.numpy() for part in found), strict=True
            ):
                rows.append(
                    mean_ap.Detections(
                        boxes[:number], labels[:number], scores[:number]
                    )
                )
            place += count
            line.update(count)
    return rows


def _loop(trainer, data, workdir, begin, history, stopping, say):
    """Steps from `begin` on; returns how many are done in all."""
    config = trainer.config
    about = {"config": dataclasses.asdict(config), "data": data.digest()}
    per_epoch = len(data.names) // config.batch_size
    step, sums, told = begin, [], time.monotonic()
    saved = begin if begin else None

    def save():
        if saved != step:
            done = {**about, "history": history}
            state.save(workdir, step, trainer.variables(), done)
            lines = [json.dumps(one) for one in history]
            files.write_text(workdir / "metrics.jsonl", "\n".join(lines) + "\n")
        return step

    with progress.line("Training", config.steps, begin) as line:
        while step < config.steps and not stopping():
            epoch, first = divmod(step, per_epoch)
            for batch in batches.training(
                data, config.image_size, config.batch_size, config, epoch, first
            ):
                found = trainer.step(step, *batch)
                sums.append([float(part) for part in found])
                step += 1
                line.update(1)
                _refuse_nan(sums[-1], step, config.rate(step - 1))
                # By steps, so that a resumed run notes the same.
                at_save = step % config.save_every == 0
                if at_save or step == config.steps or stopping():
                    history.append(_means(step, sums, config.rate(step - 1)))
                    sums = []
                    saved = save()
                if time.monotonic() - told > _TOLD_EVERY and sums:
                    told = time.monotonic()
                    say(_sentence(_means(step, sums, config.rate(step - 1))))
                if step == config.steps or stopping():
                    break
    if step > begin:
        say(_sentence(history[-1]))
    return step


def _means(step, sums, rate):
    classes, boxes, positives = np.mean(sums, axis=0)
    return {
        "step": step,
        "class_loss": float(classes),
        "box_loss": float(boxes),
        "positives": float(positives),
        "learning_rate": rate,
    }


def _sentence(row):
    return (
        f"Step {row['step']:,}: loss of classes {row['class_loss']:.3f}, of "
        f"boxes {row['box_loss']:.3f}; {row['positives']:.0f} anchors a batch "
        f"have a box; rate {row['learning_rate']:.2g}."
    )


def _resumed(trainer, data, workdir, say):
    """The step to begin with, and what was noted before it."""
    found = state.newest(workdir, say)
    if found is None:
        return 0, []
    from export.detection.config import FREE

    about, arrays = found
    now = dataclasses.asdict(trainer.config)
    state.refuse_changes(about["config"], now, FREE)
    if about["data"] != data.digest():
        raise ValueError(
            f"workdir={workdir} holds a run on other images or boxes. Give "
            "another workdir, or the data as it was."
        )
    state.restore(trainer.variables(), arrays)
    say(f"Resuming from step {about['step']:,} in {workdir}.")
    return about["step"], about["history"]


def _refuse_nan(values, step, rate):
    if not np.isfinite(values).all():
        raise RuntimeError(
            f"the loss is no longer a number at step {step:,}, with a rate of "
            f"{rate:.2g}. The last checkpoint stays. Start again in a new "
            "workdir with a smaller learning_rate, or more warmup_steps."
        )


def _tell_anchors(detector, data, config, say):
    """Warns of boxes that no anchor overlaps by half: they are not learnt."""
    share = anchored_share(detector, data)
    if share < _ENOUGH:
        say(
            f"Only {share:.0%} of the boxes have an anchor that overlaps them "
            f"by half at image_size={config.image_size}; the others are not "
            "learnt. Where they are small: a larger --image_size, or a "
            f"smaller --anchor_size than {config.anchor_size:g}."
        )


def anchored_share(detector, data):
    """Share of (at most 2,000) boxes that an anchor overlaps by half."""
    rows = [
        box * (detector.side / size.max())
        for boxes, size in zip(data.boxes, data.sizes, strict=True)
        for box in boxes
    ]
    some = rows[:: max(1, len(rows) // _LOOKED_AT)]
    best = [mean_ap.overlaps(box, detector.anchors).max() for box in some]
    return float(np.mean(np.array(best) >= 0.5)) if best else 1.0
