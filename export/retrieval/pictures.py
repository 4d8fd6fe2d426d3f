"""Images of an index by their names, for pages."""

import os

from PIL import Image, ImageOps

from tfclust import data
from tfclust.data.reading import decoding
from tfclust.data.sources import schemes
from tfclust.runtime import folders


class Pictures:
    """Finds images where they were when they were indexed.

    Files of folders are opened one by one; another set of images is opened, and
    so checked, when it is first asked for.
    """

    def __init__(self):
        self._sources = {}

    def image(self, uri, name):
        """`PIL.Image` or uint8 `[H, W, 3]`; None if it is gone."""
        # Whatever is wrong with one picture, the page shows the others.
        try:
            scheme, rest = schemes.parted(uri, "images")
            if scheme == "folder":
                return _file(os.path.join(folders.expanded(rest), name))
            return self._of_source(uri, name)
        except (OSError, ValueError):
            return None

    def _of_source(self, uri, name):
        import tensorflow as tf

        if uri not in self._sources:
            source = data.open_source(uri, max_bad_share=1.0)
            places = {n: i for i, n in enumerate(source.manifest().names)}
            self._sources[uri] = source, places
        source, places = self._sources[uri]
        if name not in places:
            return None
        return source.image(tf.constant(places[name], tf.int64)).numpy()


def _file(path):
    with Image.open(path, formats=decoding.formats()) as file:
        return ImageOps.exif_transpose(file).convert("RGB")
