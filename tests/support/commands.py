"""Commands as a person types them, in this process or in one of its own."""

import os

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tests.support import processes
from tfclust import advise, cluster, embed, evaluate, export, sweep, train
from tfclust.cli import flags, recipe_flags

# An empty recipe, so that no plan is made: a plan times real steps.
NO_PLAN = f"--flagfile={os.devnull}"
TINY = [
    "--data=digits:?split=train",
    "--eval_data=digits:?split=test",
    "--max_images=64",
    "--backbone=small",
    "--image_size=8",
    "--batch_size=16",
    "--num_clusters=5",
    "--projection_width=8",
    "--hidden_width=0",
    "--freeze_steps=2",
    "--knn_images=32",
    "--flip_probability=0",
    "--augmentation=none",  # colours are compiled anew in each process
    NO_PLAN,
]


def environment():
    """That of a user, for a process of its own."""
    unset = {"TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH"}
    return {k: v for k, v in os.environ.items() if k not in unset}


def command(name, *arguments, fresh=False):
    arguments = ["-m", f"tfclust.{name}", *arguments]
    return processes.run(arguments, env=environment(), fresh=fresh)


def status(name, *arguments):
    """The exit code of a command, run in this process."""
    if name == "train":
        recipe_flags.define(train.PlanConfig)
    elif name == "advise":
        recipe_flags.define(advise.AdviseConfig, advise.PlanConfig)
    elif name == "sweep":
        recipe_flags.define(sweep.SweepConfig)
    elif name == "cluster":
        flags.define(cluster.ClusterConfig)
    elif name == "embed":
        flags.define(embed.EmbedConfig)
    elif name == "export":
        flags.define(export.ExportConfig, export.BackboneConfig)
    else:
        flags.define(evaluate.EvaluateConfig, evaluate.EvaluationConfig)
    modules = {"train": train, "sweep": sweep, "export": export}
    modules |= {"advise": advise, "cluster": cluster, "embed": embed}
    main = modules.get(name, evaluate).main
    return flags.status(main, [f"{name}.py", *arguments])


def write_digits(folder, *, count, by_class):
    """The first digits as PNG files of 16 pixels; returns the folder."""
    digits = load_digits()
    for i in range(count):
        where = folder / (f"digit {digits.target[i]}" if by_class else "")
        where.mkdir(parents=True, exist_ok=True)
        pixels = np.uint8(digits.images[i] * 15.9).repeat(2, 0).repeat(2, 1)
        Image.fromarray(pixels).save(where / f"{i}.png")
    return folder
