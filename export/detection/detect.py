"""Finds objects in images with a detector, and draws them on a page.

python -m export.detection.detect --detector=detectors/mine/saved_model \\
    --images=/my/images --output=found.html
"""

import dataclasses

from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import folders, quiet, terminal


@dataclasses.dataclass(frozen=True)
class DetectConfig:
    """What is searched, and what is shown."""

    detector: str = option(
        "", "The SavedModel of train_detector: a version, or their folder."
    )
    images: str = option("", "Folder of images, or tfrecord:/path.")
    output: str = option("found.html", "The page, one file.")
    boxes: str = option(
        "", "File of all boxes, one JSON object an image; empty for none."
    )
    min_score: float = option(
        0.3, "Smallest score of a box that is shown.", lower=0.0, upper=1.0
    )
    max_images: int | None = option(
        None, "Take this many of the images, evenly spaced.", lower=1
    )
    shown_images: int = option(60, "Images on the page at most.", lower=1)
    batch_size: int = option(8, "Images at once.", lower=1)

    def __post_init__(self):
        options.check(self)
        for name, what in (
            ("detector", "detectors/mine/saved_model"),
            ("images", "/my/images"),
            ("output", "found.html"),
        ):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --{name}={what}."
                )
        if self.boxes == self.output:
            raise ValueError(
                "output and boxes must be two files. Received: output=boxes="
                f"{self.boxes}. Try --boxes={self.boxes}.jsonl."
            )


def main():
    """Finds objects in images with a detector, and draws them on a page."""
    config = flags.read(DetectConfig)
    from tfclust.data import check_uri
    from tfclust.saved_model.versions import newest_version

    check_uri(config.images, "images")
    newest_version(config.detector)
    page = folders.writable_file("output", config.output)
    boxes = None
    if config.boxes:
        boxes = folders.writable_file("boxes", config.boxes)
    quiet.import_tensorflow()
    from export.detection import finding

    counts = finding.find(config, page, boxes)
    terminal.say(
        f"{counts.images:,} images, {counts.boxes:,} boxes with a score of "
        f"{config.min_score:g} or more; {counts.unread:,} images not read."
    )
    terminal.say(f"Page: {page}")


if __name__ == "__main__":
    flags.define(DetectConfig)
    flags.run(main)
