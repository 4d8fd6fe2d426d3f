"""Measures how well a SavedModel's features find images.

python -m export.retrieval.evaluate --saved_model=exports/mine \\
    --images=folder:/my/labelled_images
"""

import dataclasses
import sys

from tfclust import options
from tfclust.cli import flags
from tfclust.data.config import MAX_BAD_SHARE
from tfclust.options import option
from tfclust.runtime import folders, quiet, terminal
from tfclust.saved_model.versions import newest_version


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What is measured, and on which images."""

    saved_model: str = option(
        "", "SavedModel: a version, or the folder of versions."
    )
    images: str = option(
        "",
        "Images that are searched: with labels (class folders), or those of "
        "ground_truth.",
    )
    queries: str = option(
        "",
        "Images that are looked for; empty for those of images, each against "
        "all others.",
    )
    ground_truth: str = option(
        "",
        "Instances instead of classes: the folder of *_query.txt, _good.txt, "
        "_ok.txt and _junk.txt files of Oxford5k or Paris6k, or gnd_<set>.pkl "
        "or .json of the revisited sets (Easy, Medium, Hard).",
    )
    pooling: str = option(
        "",
        "Descriptor: features of the centre crop, or rmac, gem or spoc of "
        "layer's map of the whole photo; empty for features, and for rmac with "
        "ground_truth.",
        choices=("", "features", "rmac", "gem", "spoc"),
    )
    layer: str = option(
        "",
        "Layer of assets.extra/backbone.keras whose map is pooled, such as "
        "stage4_pool of vgg16; empty for the last map.",
    )
    longer_side: int = option(
        1024,
        "Longer side to which photos are resized for layer's map.",
        unit="pixels",
        source="DeepCluster's evaluation",
        lower=16,
        upper=4096,
    )
    whiten_images: str = option(
        "",
        "Images from which PCA whitening of the region vectors is learnt; by "
        "the papers' rule those of the other set. Empty for none.",
    )
    whiten_width: int = option(
        512,
        "Directions that whitening keeps.",
        source="DeepCluster's evaluation",
        lower=1,
    )
    baselines: tuple[str, ...] = option(
        ("untrained", "pixels"),
        "What is measured beside it: the same network with random weights, and "
        "the image itself at 32 x 32; empty for none.",
        choices=("untrained", "pixels"),
    )
    seed: int = option(0, "Of the untrained network's weights.", lower=0)
    max_images: int | None = option(
        None, "Use only this many of images; empty for all.", lower=1
    )
    max_bad_share: float = option(
        MAX_BAD_SHARE,
        "Share of images that may be unreadable; they are left out.",
        lower=0.0,
        upper=1.0,
    )
    cache_dir: str = option(
        "", "Folder for the results of checking the images; empty for none."
    )
    output: str = option("", "JSON file for the figures; empty for none.")

    def __post_init__(self):
        options.check(self)
        for name in ("saved_model", "images"):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --saved_model=exports/mine "
                    "--images=folder:/my/labelled_images."
                )
        if self.resolved_pooling == "features" and self.ground_truth:
            raise ValueError(
                "pooling must be rmac, gem or spoc with ground_truth, whose "
                "queries are parts of photos. Received: pooling=features."
            )
        if self.resolved_pooling == "features":
            for name in ("layer", "whiten_images"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name} is for rmac, gem and spoc. Received: {name}="
                        f"{getattr(self, name)} with pooling=features. Add "
                        "--pooling=rmac."
                    )
        if self.output:
            folders.writable_file("output", self.output)

    @property
    def resolved_pooling(self):
        """`pooling`, or what its empty value stands for."""
        return self.pooling or ("rmac" if self.ground_truth else "features")


def main():
    """Measures how well a SavedModel's features find images.

    By class: each labelled image looks for the others of its class (mAP, R@1,
    R@5, R@10, mAP@R). With ground_truth by instance, as on Oxford5k and
    Paris6k.
    """
    config = flags.read(EvaluateConfig)
    newest_version(config.saved_model)  # before anything takes time
    quiet.import_tensorflow()
    from export.retrieval import evaluating

    found = evaluating.evaluate(
        config, lambda line: terminal.say(line, sys.stderr)
    )
    for line in evaluating.table(found):
        terminal.say(line)


if __name__ == "__main__":
    flags.define(EvaluateConfig)
    flags.run(main)
