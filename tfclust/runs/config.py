"""Knobs of a run: its method, images, length and machine."""

import dataclasses

from tfclust import options
from tfclust.data.config import IMBALANCES, MAX_BAD_SHARE
from tfclust.data.sources.schemes import examples
from tfclust.data.views.sizes import checked_resize
from tfclust.methods.configs.table import CONFIGS as METHOD_CONFIGS
from tfclust.options import SHAPES, option
from tfclust.runtime.machine import PRECISIONS, STRATEGIES


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The run: method, images, length, machine."""

    method: str = option(
        "swav",
        "The method that learns.",
        choices=tuple(METHOD_CONFIGS),
        resume="never",
        why_never="a method's state does not fit another method",
    )
    data: str = option(
        "",
        f"Images to learn from: {examples(noted=True)}.",
        resume="free",
    )
    eval_data: str = option(
        "",
        "Labelled images that test the online kNN; empty for every fifth image "
        "of data.",
        resume="free",
    )
    max_images: int | None = option(
        None,
        "Use only this many of data's images; empty for all.",
        lower=1,
        resume="free",
    )
    class_shares: tuple[float, ...] = option(
        (),
        "Share of each class's images to use, by label, for studies of uneven "
        "data; empty for all, or if there are no labels.",
        source="SeLa, imbalanced CIFAR-10",
        lower=0.0,
        upper=1.0,
        resume="free",
    )
    imbalance: str = option(
        "none",
        "Class shares by a rule, for any labelled images: light keeps half of "
        "the last class; heavy keeps 1 - c / C of class c of C, counted from "
        "1, so none of the last. Test images stay as they are.",
        source="SeLa, imbalanced CIFAR-10",
        choices=IMBALANCES,
        resume="free",
    )
    max_bad_share: float = option(
        MAX_BAD_SHARE,
        "Largest share of unreadable images: up to it they are left out and "
        "listed in workdir/skipped.txt; with more, the run refuses to start.",
        lower=0.0,
        upper=1.0,
        resume="free",
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images, if they cannot be kept "
        "beside them; empty for one in workdir.",
        resume="free",
    )
    workdir: str = option(
        "",
        "Folder of the run; a run that was started there is resumed.",
        resume="free",
    )
    allow_config_change: bool = option(
        False,
        "Whether the run in workdir resumes even though flags differ from "
        "those that it started with; its images must be the same.",
        resume="free",
    )
    start_anew: bool = option(
        False,
        "Whether a run whose checkpoints are all damaged starts again at step "
        "0, with these moved aside; a run with an intact one resumes.",
        resume="free",
    )
    epochs: int | None = option(
        None, "Passes over the images; give this or steps.", lower=1
    )
    steps: int | None = option(
        None, "Optimizer steps in total; give this or epochs.", lower=1
    )
    batch_size: int = option(
        256,
        "Images in a step, over all replicas.",
        source="SwAV",
        lower=1,
        resume="never",
        why_never="a run's position in its images is counted in batches",
    )
    image_size: int = option(
        224,
        "Side of images in evaluation and after export, and of the views if "
        "view_sizes is empty.",
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
        0, "Seed of weights, order and crops.", lower=0, upper=2**32 - 1
    )
    strategy: str = option(
        "auto",
        "Where to train: one device, this host's GPUs (or a CPU in parts), or "
        "the hosts of TF_CONFIG; auto uses what is there.",
        choices=STRATEGIES,
        resume="free",
    )
    num_replicas: int | None = option(
        None,
        "Devices that share a batch; empty for all GPUs.",
        lower=1,
        resume="free",
    )
    mixed_precision: str = option(
        "none",
        "Number format of convolutions; weights, heads and codes stay float32.",
        choices=tuple(PRECISIONS),
        resume="never",
        why_never=SHAPES,
    )
    jit_compile: bool | None = option(
        None,
        "Whether XLA compiles the whole step; empty for true on one GPU, where "
        "it pays, and false elsewhere.",
        resume="free",
    )
    deterministic: bool | None = option(
        None,
        "Whether a run repeats bit for bit, at some cost on GPUs; empty for "
        "true on a CPU and false on GPUs.",
        resume="free",
    )
    threads: int | None = option(
        None,
        "Threads per operation; empty for all processors.",
        lower=1,
        resume="free",
    )
    checkpoint_epochs: int = option(
        1,
        "Epochs between checkpoints.",
        unit="epochs",
        lower=1,
        resume="free",
    )
    checkpoint_steps: int = option(
        0,
        "Steps between checkpoints within epochs; 0 for none.",
        unit="steps",
        lower=0,
        resume="free",
    )
    keep_checkpoints: int = option(
        2,
        "Checkpoints to keep.",
        lower=1,
        resume="free",
    )
    on_trouble: str = option(
        "tell",
        "What follows if the loss stays at chance, images stay in few clusters "
        "or clusters empty, long after the run's start: a sentence (tell); or "
        "the end of the run, with its state saved, exit code 2 and the command "
        "that starts again with what may help (stop).",
        choices=("tell", "stop"),
        resume="free",
    )
    knn_images: int = option(
        5000,
        "Images in the online kNN's bank, and in its test; 0 for no kNN.",
        lower=0,
        resume="free",
    )
    knn_epochs: int = option(
        1,
        "Epochs between two online kNN measurements.",
        unit="epochs",
        lower=1,
        resume="free",
    )

    def __post_init__(self):
        options.check(self)
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                "give either epochs or steps. Received: "
                f"epochs={self.epochs}, steps={self.steps}."
            )
        if self.class_shares and self.imbalance != "none":
            raise ValueError(
                "class_shares and imbalance both say how much of each class is "
                "used. Received: imbalance="
                f"{self.imbalance} with class_shares. Leave one of them out."
            )
        checked_resize(self.image_size, self.resize_size)
