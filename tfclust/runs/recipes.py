"""A recipe: everything that one run is told, in five frozen dataclasses."""

import dataclasses
import difflib
import numbers
from typing import NamedTuple

from tfclust import options
from tfclust.backbones import BackboneConfig
from tfclust.data import MAX_BAD_SHARE, ViewsConfig
from tfclust.engine.config import WHOLE_BATCH, MethodConfig
from tfclust.methods.configs import CONFIGS as METHOD_CONFIGS
from tfclust.optimizers import OptimizerConfig
from tfclust.options import option
from tfclust.runtime.machine import PRECISIONS, STRATEGIES


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The run: method, images, length, machine."""

    method: str = option(
        "swav", "Which method learns.", choices=tuple(METHOD_CONFIGS)
    )
    data: str = option(
        "",
        "Images to learn from: folder:/path, tfrecord:/path/*.tfrecord, "
        "npz:/file.npz?images=x_train&labels=y_train, tfds:name?split=train, "
        "tfrecord_stream:/path/*.tfrecord?window=10000 (with steps) or "
        "digits:?split=train.",
    )
    eval_data: str = option(
        "",
        "Labelled images that test the online kNN; empty takes every fifth of "
        "data's own.",
    )
    max_images: int | None = option(
        None, "Use so many of data's images; empty for all.", lower=1
    )
    class_shares: tuple[float, ...] = option(
        (),
        "Share of each class's images to use, by label, for studies of uneven "
        "data; empty for all, or where there are no labels.",
        source="SeLa, imbalanced CIFAR-10",
        lower=0.0,
        upper=1.0,
    )
    max_bad_share: float = option(
        MAX_BAD_SHARE,
        "Share of unreadable images up to which they are left out, and listed "
        "in workdir/skipped.txt; with more, the run refuses to begin.",
        lower=0.0,
        upper=1.0,
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images, where they cannot lie "
        "beside them; empty for one in workdir.",
    )
    workdir: str = option(
        "", "Folder of the run; one that was begun there goes on."
    )
    allow_config_change: bool = option(
        False,
        "Whether the run in workdir goes on though flags are others than it "
        "began with; its images must be the same.",
    )
    start_anew: bool = option(
        False,
        "Whether a run whose checkpoints are all damaged begins again at step "
        "0, with them moved aside; one with a whole checkpoint goes on.",
    )
    epochs: int | None = option(
        None, "Passes over the images; this or steps.", lower=1
    )
    steps: int | None = option(
        None, "Optimizer steps in all; this or epochs.", lower=1
    )
    batch_size: int = option(
        256, "Images in a step, over all replicas.", source="SwAV", lower=1
    )
    accumulate_steps: int = option(
        1,
        "Batches whose gradients make a step: 1, for codes, batch norm and "
        "memories are of the whole batch; other values are refused with what "
        "to do instead.",
        lower=1,
    )
    image_size: int = option(
        224,
        "Side of images in evaluation and after export, and of the views "
        "where view_sizes is empty.",
        unit="pixels",
        source="SwAV",
        lower=4,
        upper=2048,
    )
    resize_size: int | None = option(
        None,
        "Short side before evaluation's centre crop; empty for image_size / "
        "0.875, or image_size itself below 96.",
        unit="pixels",
        lower=4,
    )
    seed: int = option(
        0, "Of weights, order and crops.", lower=0, upper=2**32 - 1
    )
    strategy: str = option(
        "auto",
        "One device, this host's GPUs (or a CPU in parts), or the hosts of "
        "TF_CONFIG; auto takes what is there.",
        choices=STRATEGIES,
    )
    num_replicas: int | None = option(
        None, "Devices that share a batch; empty for all GPUs.", lower=1
    )
    mixed_precision: str = option(
        "none",
        "Number format of convolutions; weights, heads and codes stay float32.",
        choices=tuple(PRECISIONS),
    )
    jit_compile: bool | None = option(
        None,
        "Whether XLA compiles the whole step; empty for where it pays, on one "
        "GPU.",
    )
    deterministic: bool | None = option(
        None,
        "Whether a run repeats bit for bit, at some cost on GPUs; empty for on "
        "CPU.",
    )
    threads: int | None = option(
        None, "Threads of an operation; empty for all processors.", lower=1
    )
    checkpoint_epochs: int = option(
        1, "Epochs between checkpoints.", unit="epochs", lower=1
    )
    checkpoint_steps: int = option(
        0,
        "Steps between checkpoints within epochs; 0 for none.",
        unit="steps",
        lower=0,
    )
    keep_checkpoints: int = option(2, "Checkpoints to keep.", lower=1)
    stop_on_collapse: bool = option(
        False,
        "Whether a run ends, with exit code 2 and its state saved, once its "
        "images have been in few clusters for three epochs in a row.",
    )
    knn_images: int = option(
        5000,
        "Images in the bank and in the test of the online kNN; 0 for no kNN.",
        lower=0,
    )
    knn_epochs: int = option(
        1, "Epochs between two online kNN.", unit="epochs", lower=1
    )

    def __post_init__(self):
        options.check(self)
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                "give either epochs or steps. Received: "
                f"epochs={self.epochs}, steps={self.steps}."
            )
        if self.accumulate_steps != 1:
            raise ValueError(
                f"accumulate_steps must be 1: {WHOLE_BATCH} Received: "
                f"accumulate_steps={self.accumulate_steps}. Where memory is "
                "short give --mixed_precision=bfloat16, smaller or fewer views "
                "(--view_sizes, --num_views), or several devices "
                "(--num_replicas); or a smaller --batch_size, to which swav's "
                "--queue_rows adds the projections of earlier steps."
            )
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise ValueError(
                "resize_size must be at least image_size, or the centre crop "
                f"leaves the image. Received: resize_size={self.resize_size}, "
                f"image_size={self.image_size}."
            )


class Recipe(NamedTuple):
    """What a run is told."""

    run: RunConfig
    method: MethodConfig
    views: ViewsConfig
    backbone: BackboneConfig
    optimizer: OptimizerConfig

    @property
    def largest_view(self):
        """Side of the largest views, in pixels."""
        return max(self.views.view_sizes or (self.run.image_size,))


CONFIGS = {
    "run": RunConfig,
    "views": ViewsConfig,
    "backbone": BackboneConfig,
    "optimizer": OptimizerConfig,
}
# A run may go on with other values of these.
MACHINE_KNOBS = (
    "data",  # the images themselves are compared
    "eval_data",
    "max_images",
    "class_shares",
    "max_bad_share",
    "cache_dir",
    "workdir",
    "allow_config_change",
    "start_anew",
    "strategy",
    "num_replicas",
    "jit_compile",
    "deterministic",
    "threads",
    "checkpoint_epochs",
    "checkpoint_steps",
    "keep_checkpoints",
    "stop_on_collapse",
    "knn_images",
    "knn_epochs",
)
# What runs did that were begun before there was the knob.
_ONCE = {"antialias_from": "2.0", "batch_norm": "global"}


def make_recipe(**knobs):
    """A `Recipe` from knobs by name, as a notebook would write flags.

    Args:
      **knobs: fields of `RunConfig`, `ViewsConfig`, `BackboneConfig`,
        `OptimizerConfig` and of the method's config. `num_clusters` may be an
        int.

    Raises:
      ValueError: if a knob is unknown or out of its bounds.
    """
    if isinstance(knobs.get("num_clusters"), numbers.Integral):
        knobs["num_clusters"] = (knobs["num_clusters"],)
    names = {part: set(options.kinds(of)) for part, of in CONFIGS.items()}
    run = RunConfig(**{n: v for n, v in knobs.items() if n in names["run"]})
    classes = {**CONFIGS, "method": METHOD_CONFIGS[run.method]}
    names["method"] = set(options.kinds(classes["method"]))
    _refuse_unknown(set(knobs), set().union(*names.values()), run.method)
    return Recipe(
        **{
            part: of(**{n: knobs[n] for n in names[part] & set(knobs)})
            for part, of in classes.items()
        }
    )


def to_words(recipe):
    """`{part: {knob: text}}`, which `from_words` reads back."""
    return {
        part: {
            name: options.text(getattr(config, name))
            for name in options.kinds(type(config))
        }
        for part, config in recipe._asdict().items()
    }


def from_words(words):
    """The `Recipe` of `to_words`; knobs that it lacks keep their default.

    Raises:
      ValueError: if the words are no recipe's of this version.
    """
    try:
        run = _config_of(RunConfig, words["run"])
        classes = {**CONFIGS, "method": METHOD_CONFIGS[run.method]}
        parts = {
            part: _config_of(of, words[part]) for part, of in classes.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "a recipe must be what this version of tfclust writes: knobs by "
            f"their part. Received: {error!r} in what was kept of a training."
        ) from error
    return Recipe(**parts)


def differences(recipe, words):
    """Knobs that make `recipe` another run than that of `words`.

    Returns:
      list of `(name, value then, value now)` as text.
    """
    then = {n: v for part in words.values() for n, v in part.items()}
    then = {**_ONCE, **then}
    now = {n: v for part in to_words(recipe).values() for n, v in part.items()}
    return [
        (name, then.get(name), value)
        for name, value in now.items()
        if name not in MACHINE_KNOBS and then.get(name, value) != value
    ]


def _refuse_unknown(given, known, method):
    for name in sorted(given - known):
        readers = [
            m for m, c in METHOD_CONFIGS.items() if name in options.kinds(c)
        ]
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"a recipe of {method} has no knob {name}."
            + (f" It is read by {', '.join(readers)} alone." if readers else "")
            + (f" Did you mean {close[0]}?" if close and not readers else "")
        )


def _config_of(config_class, words):
    kinds = options.kinds(config_class)
    return config_class(
        **{
            name: options.parse(text, kinds[name])
            for name, text in words.items()
            if name in kinds
        }
    )
