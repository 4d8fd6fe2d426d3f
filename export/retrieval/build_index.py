"""Builds an index of images, or brings it up to date.

python -m export.retrieval.build_index --saved_model=exports/mine \\
    --images=folder:/my/images --output=idx
"""

import dataclasses

from export.retrieval import nearest
from tfclust import options
from tfclust.cli import flags
from tfclust.data.config import MAX_BAD_SHARE
from tfclust.options import option
from tfclust.runtime import folders, quiet, terminal


@dataclasses.dataclass(frozen=True)
class IndexConfig:
    """What is indexed, and how."""

    saved_model: str = option(
        "",
        "SavedModel that gives the features: a version, or the folder of "
        "versions, for the newest of them.",
    )
    images: str = option(
        "",
        "Images to index, as tfclust.train takes them: folder:/path, "
        "tfrecord:/path and others. If the index has them already, new and "
        "changed images are added and missing ones removed; another folder is "
        "added to it.",
    )
    output: str = option("", "Folder of the index; made if necessary.")
    forget: str = option(
        "", "Images, as given to images before, that leave the index."
    )
    nearest: str = option(
        "auto",
        "How neighbours are found; auto compares all rows up to 20,000 images, "
        "then looks through inverted lists if faiss is installed: ivf_flat, "
        "and ivf_sq8 (a byte a value) beyond 2 GiB of features.",
        choices=("auto", *nearest.KINDS),
    )
    duplicates: float | None = option(
        0.99,
        "Cosine from which two images are listed as near duplicates, in "
        "duplicates.tsv; empty lists none.",
        lower=-1.0,
        upper=1.0,
    )
    batch_size: int = option(64, "Images in a call of the model.", lower=1)
    max_images: int | None = option(
        None,
        "Use only this many of images; empty for all.",
        lower=1,
    )
    max_bad_share: float = option(
        MAX_BAD_SHARE,
        "Share of images that may be unreadable; they are left out and listed.",
        lower=0.0,
        upper=1.0,
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images; empty for cache in "
        "output.",
    )

    def __post_init__(self):
        options.check(self)
        for name in ("saved_model", "output"):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --saved_model=exports/mine "
                    "--images=folder:/my/images --output=idx."
                )
        if not self.images and not self.forget:
            raise ValueError(
                "images must be given, such as --images=folder:/my/images; or "
                "forget, images that leave the index."
            )
        if not self.cache_dir:
            cache = folders.expanded(self.output) / "cache"
            object.__setattr__(self, "cache_dir", str(cache))  # it is frozen


def main():
    """Builds an index of images, or brings it up to date."""
    config = flags.read(IndexConfig)
    quiet.import_tensorflow()
    from export.retrieval import building

    terminal.say(f"Index: {building.build(config, terminal.say)}")


if __name__ == "__main__":
    flags.define(IndexConfig)
    flags.run(main)
