"""What images look like, as far as it settles how to learn from them."""

from typing import NamedTuple

import numpy as np

from tfclust import data
from tfclust.data import Sample

_LOOKED_AT = 256  # images
_THUMBNAIL = 16  # pixels
_GREY = 2.0  # of 255; JPEG alone colours grey images by less
_DEGREES = ("unlike one another", "somewhat alike", "alike", "very much alike")


class Look(NamedTuple):
    """What a sample of the images shows."""

    num_images: int
    short_side: int  # pixels, the median
    largest_side: int  # pixels
    grey: bool
    # Mean correlation of the pixels of two images: 0 unrelated, 1 the same.
    likeness: float

    def in_words(self):
        degree = _DEGREES[min(3, int(max(0.0, self.likeness) * 5))]
        colours = "grey" if self.grey else "in colour"
        return (
            f"{self.num_images:,} images {colours}, short side "
            f"{self.short_side:,} pixels (median; the largest has "
            f"{self.largest_side:,}), {degree} (two of them correlate by "
            f"{self.likeness:.2f})"
        )


def look(source):
    """The `Look` of a `data.Source`."""
    count = min(_LOOKED_AT, source.num_images)
    sample = Sample(source, np.arange(count) * source.num_images // count)
    batches = data.evaluation_batches(
        sample,
        image_size=_THUMBNAIL,
        resize_size=_THUMBNAIL,
        batch_size=count,
    )
    images = np.concatenate([np.float32(b["images"]) for b in batches])[:count]
    spread = images.max(axis=-1) - images.min(axis=-1)  # [n, S, S]
    short = np.minimum(source.heights, source.widths)
    return Look(
        num_images=source.num_images,
        short_side=int(np.median(short)),
        largest_side=int(max(source.heights.max(), source.widths.max())),
        grey=bool(np.mean(spread) < _GREY),
        likeness=_likeness(images.reshape(count, -1)),
    )


def _likeness(rows):
    """Mean correlation of two of the rows `[n, P]`."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    count = len(rows)
    total = np.square(rows.sum(axis=0)).sum() - np.square(rows).sum()
    return float(total / max(1, count * (count - 1)))
