"""Short runs on few digits, trained to the end or stopped before."""

import os
import shutil
import signal

import keras

from tfclust.engine.figures import names
from tfclust.training import pretraining

SMALL = {
    "method": "swav",
    "data": "digits:?split=train",
    "max_images": 64,
    "backbone": "small",
    "image_size": 8,
    "batch_size": 16,
    "num_clusters": 5,
    "projection_width": 8,
    "hidden_width": 0,
    "freeze_steps": 2,
    "epochs": 2,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "flip_probability": 0.0,
    "augmentation": "none",  # the contract's runs have colours
    "threads": 2,
    "knn_images": 0,
}


def recipe(workdir, **knobs):
    """`SMALL` with other knobs; None leaves one out."""
    knobs = {**SMALL, "workdir": str(workdir), **knobs}
    return pretraining.make_recipe(
        **{name: value for name, value in knobs.items() if value is not None}
    )


def quietly(recipe, **knobs):
    """Trains; returns the result and what was said."""
    said = []
    result = pretraining.pretrain(recipe, say=said.append, **knobs)
    return result, said


class At(keras.callbacks.Callback):
    """Calls a function before a step."""

    def __init__(self, step, function):
        super().__init__()
        self.step, self.function = step, function

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.step:
            self.function()


def interrupted(recipe, step, number=signal.SIGTERM):
    """Trains until a signal comes in the step."""
    kill = At(step, lambda: os.kill(os.getpid(), number))
    return quietly(recipe, callbacks=[kill])


def copied(trained, workdir):
    """`workdir` with what lies in that of a run."""
    shutil.copytree(trained.workdir, workdir, dirs_exist_ok=True)
    return workdir


def without_times(history):
    return [
        {k: v for k, v in figures.items() if k not in names("timed")}
        for figures in history
    ]
