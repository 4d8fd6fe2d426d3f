"""Descriptors of whole photos: regions of a map, whitened or not, summed."""

import numpy as np

from tfclust.ops.units import unit_rows
from tfclust.retrieval import maps, pooling, whitening


def by_regions(regions, *, longer_side, whiten_source=None, whiten_width=512):
    """A function of a source and boxes to unit rows float32 `[n, D]`.

    Args:
      regions: function of a photo to region vectors `[r, C]`.
      longer_side: int, pixels to which photos are resized.
      whiten_source: `data.Source` from whose regions whitening is learnt, or
        None for none.
      whiten_width: int, directions that it keeps.
    """
    learnt = None
    if whiten_source is not None:
        learner = whitening.Learner()
        for _, image in maps.photos(
            whiten_source, longer_side, words="Whitening"
        ):
            learner.add(unit_rows(regions(image).astype(np.float64)))
        learnt = learner.finish(whiten_width)

    def describe(source, boxes):
        count = source.num_images if boxes is None else len(boxes)
        found = None
        for place, image in maps.photos(source, longer_side, boxes):
            row = pooling.descriptor(regions(image), learnt)
            if found is None:
                found = np.zeros([count, len(row)], np.float32)
            found[place] = row
        return found

    return describe
