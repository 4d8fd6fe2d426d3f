"""A training run of SwAV from JPEGs on the disk: images a second, and what for.

    python tests/benchmarks/bench_speed.py [--quick] [--backbone=resnet50]
        [--bfloat16]

A real run (`pretraining.pretrain`: input, queue, LARS, figures), which saves
every eight steps. After each eight the parts of a step are timed alone, with
the run's own method, so that a busy machine is busy for all; medians over these
rounds. Checkpoints, and the figures at the end of the epoch, are timed in the
run itself, and count once an epoch, as by default, of 3,008 images. To hold:
all but forward and backward at most 10 % of the run.

Each case is a process of its own. bfloat16 is left out, unless asked for, where
the processor has no instructions for it.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import keras
import tensorflow as tf
from bench_input import write_photos
from cases import measured_apart
from pairs import time_pairs
from processor import has_bfloat16
from steps import ConstantCodes, assigner, fill_queues, unit_rows

from tfclust import methods
from tfclust.training import pretraining

NUM_CLUSTERS = 3000
NUM_IMAGES = 3008
STEPS = 8  # a round, which ends with a checkpoint
READ_STEPS = 24  # batches read alone; the pipeline's start is in them
QUEUE_BATCHES = 15  # 3840 rows at B=256, as in SwAV's recipe
LARGEST_SHARE = 0.1  # of all but forward and backward
TIMEOUT = 3600  # seconds a case
INPUT, COLOUR, LEARN = "input", "colours", "forward, backward"
CODES, MEMORY, METRICS = "assignment", "memory", "metrics"
EPOCH_METRICS, CHECKPOINT = "metrics at epoch's end", "checkpoint"
WHOLE = "the run"


class Case(NamedTuple):
    """What is trained; `rounds` are those that count."""

    backbone: str
    size: int
    batch: int
    precision: str
    rounds: int


CASES = tuple(
    Case(*network, precision, rounds=3)
    for network in (("resnet18", 64, 64), ("resnet50", 96, 16))
    for precision in ("none", "bfloat16")
)
QUICK_CASES = (Case("small", 32, 16, "none", rounds=1),)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--backbone", help="this one's cases alone")
    parser.add_argument(
        "--bfloat16", action="store_true", help="also without its instructions"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(Case(*json.loads(options.case)))))
        return None
    half = options.bfloat16 or has_bfloat16()
    found = {}
    for case in QUICK_CASES if options.quick else CASES:
        if options.backbone not in (None, case.backbone):
            continue
        if case.precision == "bfloat16" and not half:
            print(
                f"{case.backbone} in bfloat16 left out: the processor has no "
                "instructions for it (--bfloat16)."
            )
            continue
        found[case] = measured_apart(
            __file__, json.dumps(case), timeout=TIMEOUT
        )
        print_parts(case, found[case])
    return found


def measure(case):
    """Median seconds a step of each part, and of the run."""
    with tempfile.TemporaryDirectory() as folder:
        photos = pathlib.Path(folder, "photos")
        photos.mkdir()
        write_photos(photos, NUM_IMAGES)
        os.sync()  # or the first checkpoint waits for the photos
        recipe = pretraining.make_recipe(
            method="swav",
            data=f"folder:{photos}",
            workdir=f"{folder}/run",
            backbone=case.backbone,
            image_size=case.size,
            batch_size=case.batch,
            steps=STEPS * (case.rounds + 1),
            checkpoint_steps=STEPS,
            mixed_precision=case.precision,
            num_clusters=NUM_CLUSTERS,
            queue_rows=QUEUE_BATCHES * case.batch,
            queue_start_epoch=0,
            freeze_steps=0,
        )
        clock = RunClock()
        pretraining.pretrain(recipe, callbacks=[clock])
    return {
        name: statistics.median(values)
        for name, values in clock.seconds.items()
    }


class RunClock(keras.callbacks.Callback):
    """Seconds a step of a run's rounds but the first, and of its parts alone.

    Of the callbacks that do something it must stand after all but the saver.
    """

    def __init__(self):
        super().__init__()
        self.parts = {}
        self.seconds = {}

    def on_train_batch_begin(self, batch, logs=None):
        if batch == STEPS:
            fill_queues(self.model)
            self.parts = parts_of(self.model)
            time_pairs(self.parts, repeats=0)
        elif batch and batch % STEPS == 0:
            self._round_ended(time.perf_counter())
        if batch % STEPS == 0:
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.told = time.perf_counter()

    def on_train_end(self, logs=None):
        now = time.perf_counter()
        figures = self.told - self.trained
        self._round_ended(now - figures)
        self.seconds[EPOCH_METRICS] = [figures / self._steps_per_epoch]

    @property
    def _steps_per_epoch(self):
        return self.model.views.steps_per_epoch

    def _round_ended(self, saved):
        """Takes in a round; the checkpoint was done by the time `saved`."""
        parts = time_pairs(self.parts, repeats=1, warm_up=0)
        taken = {name: values[0] for name, values in parts.items()}
        taken[INPUT] /= READ_STEPS
        taken[CHECKPOINT] = (saved - self.trained) / self._steps_per_epoch
        taken[WHOLE] = (self.trained - self.began) / STEPS + taken[CHECKPOINT]
        for name, value in taken.items():
            self.seconds.setdefault(name, []).append(value)


def parts_of(method):
    """`{part: function}`, each a step's part alone; `INPUT` `READ_STEPS`'."""
    views = method.views
    batch = next(iter(views.batches(0)))
    shape = (views.num_views, views.batch_size)
    units = unit_rows(0, (*shape, method.projection_width))
    scores = method.prototypes(units)
    outputs = methods.Outputs(units, units, units, scores)
    index, loss = batch["index"], tf.zeros([])

    def read():
        for _ in views.batches(0).take(READ_STEPS):
            pass

    @tf.function(autograph=False)
    def colours(batch):
        return views.on_device(batch)

    @tf.function(autograph=False)
    def memory(outputs, index):
        method.update_memory(outputs, (), index)

    @tf.function(autograph=False)
    def metrics(outputs, index):
        method.watch(loss, outputs, index)

    return {
        INPUT: read,
        COLOUR: lambda: colours(batch),
        LEARN: bare_step(method, batch),
        CODES: assigner(method),
        MEMORY: lambda: memory(outputs, index),
        METRICS: lambda: metrics(outputs, index),
    }


def bare_step(method, batch):
    """A training step without colours, assignment, memories and metrics."""
    images = method.views.on_device(batch)

    def step(batch):
        loss, _ = method.train_step(batch)
        method.step.assign(method.step - 1)  # none of the run's
        return loss

    with (
        mock.patch.object(method.views, "on_device", lambda batch: images),
        mock.patch.object(method.monitor, "update"),
        mock.patch.multiple(
            method,
            assign=functools.partial(ConstantCodes.assign, method),
            update_memory=lambda *_: None,
        ),
    ):
        traced = tf.function(step, autograph=False)
        traced = traced.get_concrete_function(batch)
    return lambda: traced(batch).numpy()


def print_parts(case, seconds):
    """Prints a line a part, and whether all but forward and backward holds."""
    whole = seconds[WHOLE]
    print(
        f"\n{case.backbone}, {case.size} px, B={case.batch}, precision "
        f"{case.precision}, K={NUM_CLUSTERS}, queue of {QUEUE_BATCHES} "
        f"batches: {case.batch / whole:.1f} images/s"
    )
    print(f"{'':24} {'ms a step':>10} {'share':>7}")
    for name, value in seconds.items():
        print(f"{name:24} {value * 1e3:10.1f} {value / whole:7.1%}")
    others = sum(
        value for name, value in seconds.items() if name not in (LEARN, WHOLE)
    )
    print(
        f"all but forward and backward {others / whole:.1%} by the parts, "
        f"{1 - seconds[LEARN] / whole:.1%} by difference, to hold: at most "
        f"{LARGEST_SHARE:.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
