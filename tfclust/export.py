"""Writes a run's model, or published weights, as a SavedModel for serving.

python -m tfclust.export --workdir=runs/mine --output=exports/mine
python -m tfclust.export --init_from=swav_800ep_pretrain.pth.tar \\
    --backbone=resnet50 --output=exports/swav
"""

import dataclasses

from tfclust import options, saved_model
from tfclust.backbones import BackboneConfig
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runs import exporting
from tfclust.runtime import terminal


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The export."""

    workdir: str = option("", "Folder of the run; this or init_from.")
    init_from: str = option(
        "",
        "Weights to export without a run: a published checkpoint, whose "
        "clusters are taken too where it has any, a .keras or a .weights.h5 "
        "file, imagenet or hub; backbone says of which network.",
    )
    output: str = option(
        "",
        "Folder of the versions: the model is written to output/1, the next to "
        "output/2 and so on; empty for saved_model in workdir.",
    )
    image_size: int | None = option(
        None,
        "Side of the images that the model gets, for weights of init_from; "
        "empty for 224. A run has its own.",
        unit="pixels",
        lower=1,
    )
    resize_size: int | None = option(
        None,
        "Short side before the centre crop, for weights of init_from; empty "
        "for image_size / 0.875.",
        unit="pixels",
        lower=1,
    )
    max_pixels: int = option(
        saved_model.MAX_PIXELS,
        "Height times width above which the model does not decode an encoded "
        'image: its status is then "too many pixels".',
        lower=1,
    )
    frozen: bool = option(
        False,
        "Fold the variables into constants: a server may answer faster, and "
        "nobody can train the SavedModel further.",
    )
    formats: tuple[str, ...] = option(
        (),
        "Write the backbone and the signature images for other runtimes too.",
        choices=("onnx", "litert", "openvino"),
    )
    warmup_images: str = option(
        "",
        "Images, such as folder:/my/images, of which a server's first requests "
        "are made, so that no user waits for it; empty for none.",
    )
    keep_versions: int | None = option(
        None,
        "Remove all versions but so many of the newest, and those that "
        "serving/models.config names; empty to keep all.",
        lower=1,
    )

    def __post_init__(self):
        options.check(self)
        if not self.workdir and not self.init_from:
            raise ValueError(
                "workdir must be given: the folder of the run, such as "
                "--workdir=runs/first; or init_from, a file of weights."
            )
        if self.workdir and self.init_from:
            raise ValueError(
                "give either workdir or init_from. Received: "
                f"workdir={self.workdir}, init_from={self.init_from}."
            )
        if self.workdir and (self.image_size or self.resize_size):
            raise ValueError(
                "image_size and resize_size are for weights of init_from; a "
                f"run has its own. Received: image_size={self.image_size}, "
                f"resize_size={self.resize_size}. Leave them out."
            )
        if self.init_from and not self.output:
            raise ValueError(
                "output must be given with init_from: the folder of the "
                "versions, such as --output=exports/first."
            )
        if self.init_from and self.image_size is None:
            object.__setattr__(self, "image_size", 224)  # it is frozen


def read():
    """The `ExportConfig` and `BackboneConfig` of the command line.

    Raises:
      ValueError: if a value leaves its bounds, or nothing reads it.
    """
    config, backbone = flags.read(ExportConfig), flags.read(BackboneConfig)
    if config.workdir and backbone != BackboneConfig():
        raise ValueError(
            "a run has its own backbone; backbone and its knobs are for "
            "weights of init_from. Received: workdir="
            f"{config.workdir} with other knobs of a backbone. Leave them out."
        )
    if backbone.init_stages is not None:
        raise ValueError(
            "an export takes all weights of init_from. Received: init_stages="
            f"{backbone.init_stages}. Leave it out."
        )
    return config, backbone


def main():
    """Writes a model as a SavedModel, and prints its folder."""
    terminal.say(exporting.export(*read()))


if __name__ == "__main__":
    flags.define(ExportConfig, BackboneConfig)
    flags.run(main)
