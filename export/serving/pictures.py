"""Images to send: as files, read again when they are needed."""

import numpy as np
from PIL import Image

from export.common import plain_files
from export.serving.faults import Unsendable
from tfclust.data import open_source


class Pictures:
    """The images of a source, each checked once, as bytes to send.

    Args:
      uri: str, as `tfclust.data.open_source` takes it.
      max_bytes: int, of an image as it is stored.

    Attributes:
      names: list of str. identity: str, a hash of all.
      skipped: list of (name, reason), files that are no images.

    Raises:
      ValueError: if it is a stream, or cannot be opened.
    """

    def __init__(self, uri, max_bytes):
        # Damaged files are rows of the result, not a reason to send none.
        source = open_source(uri, max_bad_share=1.0, argument="images")
        if source.is_stream:
            raise ValueError(
                "images must be a source in which each image has a name, not a "
                f"stream. Received: images={uri}. Write tfrecord: instead."
            )
        self._source, self._max_bytes = source, max_bytes
        about = source.manifest()
        self.names, self.identity = list(about.names), source.manifest_hash
        self.skipped = list(source.skipped)

    def __len__(self):
        return len(self.names)

    def batches(self, rows, begin=0):
        """Ranges of at most `rows` images, from one of them on."""
        for first in range(begin, len(self), rows):
            yield range(first, min(first + rows, len(self)))

    def encoded(self, position):
        """The bytes to send of an image.

        Raises:
          Unsendable: with the reason.
        """
        if not hasattr(self._source, "read"):  # pixels in memory
            pixels = self._source.image(np.int64(position)).numpy()
            self._refuse_large(pixels.nbytes)
            return plain_files.png(Image.fromarray(pixels))
        try:
            data, unchanged = self._source.read(position)
        except OSError as error:
            raise Unsendable(error.strerror or str(error)) from error
        if not unchanged:
            raise Unsendable("changed since the check")
        # What is sent of a turned photo may have ten times as many.
        self._refuse_large(len(data))
        return plain_files.plain(data)

    def _refuse_large(self, num_bytes):
        if num_bytes > self._max_bytes:
            raise Unsendable(
                f"{num_bytes:,} bytes, more than max_image_bytes="
                f"{self._max_bytes:,}"
            )
