"""Knobs of `tfclust.report`."""

import dataclasses
import importlib.util

from tfclust import options
from tfclust.options import option
from tfclust.runtime import folders

MOST_IMAGES = 10_000
MAPS = ("tsne", "umap")


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The page about a run, or about several side by side."""

    workdir: str = option("", "Folder of the run; this or workdirs.")
    workdirs: tuple[str, ...] = option(
        (), "Folders of runs to show side by side, a,b,c."
    )
    output: str = option(
        "",
        "HTML page to write; empty for report.html in workdir. With workdirs "
        "it must be given.",
    )
    report_images: int = option(
        MOST_IMAGES,
        "At most so many of the run's images, evenly spaced, are assigned to "
        "clusters for the page; 0 for a page without images.",
        lower=0,
        upper=MOST_IMAGES,
    )
    map: str = option(
        "tsne",
        "What places images on the map: tsne; or umap of umap-learn (pip "
        "install tfclust[umap]), whose first fit compiles for a minute or "
        "more.",
        choices=MAPS,
    )
    batch_size: int = option(
        256, "Images in a forward pass.", unit="images", lower=1
    )

    def __post_init__(self):
        options.check(self)
        if bool(self.workdir) == bool(self.workdirs):
            raise ValueError(
                "give either workdir, such as --workdir=runs/first, or "
                "workdirs. Received: "
                f"workdir={self.workdir or 'none'}, "
                f"workdirs={','.join(self.workdirs) or 'none'}."
            )
        if self.map == "umap" and importlib.util.find_spec("umap") is None:
            raise ValueError(
                "map=umap needs umap-learn, which is not installed. Install "
                "it (pip install tfclust[umap]), or leave map out."
            )
        runs = {folders.expanded(path).resolve() for path in self.workdirs}
        if len(runs) < len(self.workdirs):
            raise ValueError(
                "workdirs must name each run once. Received: "
                f"workdirs={','.join(self.workdirs)}. Leave the second out."
            )
        if self.workdirs and not self.output:
            raise ValueError(
                "output must be given with workdirs: the page, such as "
                "--output=compared.html. Received: none."
            )
