"""Knobs of `tfclust.cluster` and `tfclust.embed`."""

import dataclasses
import pathlib

from tfclust import options
from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.sources.schemes import examples
from tfclust.options import option

OWN, AUTO, HDBSCAN = "", "auto", "hdbscan"
SUFFIXES = (".csv", ".parquet")
# What is fitted, fits to at most so many images, evenly spaced.
FIT_ROWS = 50_000


@dataclasses.dataclass(frozen=True)
class ModelImages:
    """A model and the images it looks at; `cluster` and `embed` begin so."""

    workdir: str = option("", "Folder of the run; this or saved_model.")
    saved_model: str = option(
        "",
        "SavedModel: a version, or the folder of versions, for the newest of "
        "them.",
    )
    data: str = option(
        "",
        f"Images: {examples(noted=True)}; empty for the run's own.",
    )
    max_images: int | None = option(
        None,
        "Use only this many of data's images; empty for the run's number if "
        "they are the run's own images, and for all otherwise.",
        lower=1,
    )
    max_bad_share: float | None = option(
        None,
        "Largest share of unreadable images: up to it they are left out and "
        "listed beside the output, in new.skipped.txt for new.csv; empty for "
        "the run's share if they are the run's own images, and for "
        f"{MAX_BAD_SHARE:g} otherwise.",
        lower=0.0,
        upper=1.0,
    )
    cache_dir: str = option(
        "",
        "Folder for the results of checking the images, if they cannot be kept "
        "beside them; empty for the run's, or one in workdir.",
    )
    batch_size: int = option(
        256, "Images in a forward pass.", unit="images", lower=1
    )

    def __post_init__(self):
        options.check(self)
        options.check_one_of(
            self, "workdir", "saved_model", "--workdir=runs/first"
        )
        if self.saved_model and not self.data:
            raise ValueError(
                "data must be given with saved_model: the images, such as "
                "--data=folder:/my/images. Received: none."
            )


@dataclasses.dataclass(frozen=True)
class EmbedConfig(ModelImages):
    """Where features are written."""

    output: str = option(
        "",
        "File for the features: .npz (arrays features, names and, where the "
        "images have some, labels) or .parquet (needs pyarrow).",
    )

    def __post_init__(self):
        super().__post_init__()
        check_ending("output", self.output, (".npz", ".parquet"))


@dataclasses.dataclass(frozen=True)
class ClusterConfig(ModelImages):
    """How images get their clusters, and what is made of them."""

    output: str = option(
        "",
        "File for the table: .csv or .parquet (needs pyarrow); empty for "
        "clusters.csv in workdir, or clusters_40.csv with num_clusters=40.",
    )
    num_clusters: str = option(
        OWN,
        "Other clusters than the model's own, by k-means on its features: a "
        "number; auto, which tries several and says why it takes one; or "
        "hdbscan, which finds dense groups of any number.",
    )
    min_cluster_size: int | None = option(
        None,
        "Images that make a group for hdbscan; empty for a third of the square "
        "root of their number, at least 5.",
        lower=2,
    )
    seed: int = option(
        0, "Seed of k-means and of samples.", lower=0, upper=2**32 - 1
    )
    duplicate_distance: float | None = option(
        None,
        "Two images at most so far apart are near duplicates, as 1 - cosine of "
        "their features; 0 looks for none but equal ones; empty measures it: "
        "how far images lie from slightly changed copies of themselves.",
        lower=0.0,
        upper=1.0,
    )
    known_data: str = option(
        "",
        "Images known before, such as those labelled already: duplicate_of may "
        "name one of them, as known:name.",
    )
    pick: int | None = option(
        None,
        "Choose this many images to look at or to label, spread over clusters "
        "and within them; written to a file beside output.",
        lower=1,
    )
    gallery: str = option(
        "", "HTML page to write with pictures of each cluster."
    )
    copy_into: str = option(
        "",
        "New folder to copy the images into, a sub-folder for each cluster; "
        "data must be a folder.",
    )
    link_into: str = option("", "As copy_into, with links instead of copies.")
    names: str = option(
        "",
        "JSON file of names for clusters by their number, as the gallery saves "
        "it; kept in clusters.json beside output.",
    )
    keep_ids: str = option(
        "",
        "Table of an earlier clustering of some of these images: clusters that "
        "share most of their images keep its numbers and names.",
    )
    drift: bool = option(
        False,
        "Say how many images fit none of the run's clusters, as measured on "
        "the images of its training, and list them.",
    )
    compare: tuple[str, ...] = option(
        (),
        "Two tables, or folders of runs, old,new: says which clusters are the "
        "same, which were split or merged, and which are new or gone. Nothing "
        "else is done then.",
    )

    def __post_init__(self):
        options.check(self)
        if self.compare:
            self._check_compare()
            return
        super().__post_init__()
        if self.output:
            check_ending("output", self.output, SUFFIXES)
        elif self.saved_model or self.data or self.max_images:
            # clusters.csv of a run tells of all of the run's own images.
            raise ValueError(
                "output must be given with saved_model, data or max_images: "
                "the table, such as --output=clusters.csv. Received: none."
            )
        if self.gallery:
            check_ending("gallery", self.gallery, (".html", ".htm"))
        if self.copy_into and self.link_into:
            raise ValueError(
                "give either copy_into or link_into. Received: copy_into="
                f"{self.copy_into}, link_into={self.link_into}."
            )
        if self.drift and self.num_clusters != OWN:
            raise ValueError(
                "drift is measured for the run's own clusters. Received: drift "
                f"with num_clusters={self.num_clusters}. Leave one out."
            )
        self._check_number()

    def _check_compare(self):
        if len(self.compare) != 2:
            raise ValueError(
                "compare must name two tables, such as "
                "--compare=old/clusters.csv,new/clusters.csv. Received: "
                f"compare={','.join(self.compare)}."
            )

    def _check_number(self):
        words = self.num_clusters
        number = words.isascii() and words.isdecimal() and len(words) < 10
        if words in (OWN, AUTO, HDBSCAN):
            return
        if not number or not 1 <= int(words) <= FIT_ROWS:
            raise ValueError(
                f"num_clusters must be a number from 1 to {FIT_ROWS:,} (the "
                "images to which clusters are fitted, of however many), auto "
                f"or hdbscan. Received: num_clusters={words}."
            )


def check_ending(argument, path, endings):
    """Refuses a path without one of the endings."""
    if pathlib.PurePath(path).suffix.lower() not in endings:
        raise ValueError(
            f"{argument} must be a file ending in {' or '.join(endings)}. "
            f"Received: {argument}={path or 'none'}."
        )
