"""Images to send: as files, read again when they are needed.

The server decodes with TensorFlow's own operations, which know no EXIF turn and
not every kind of file that `tfclust.data` reads. Such an image is decoded here
and sent as PNG, which loses nothing: the answer is the one that an evaluation
of the same files would use.
"""

import io

import numpy as np
from PIL import Image

from export.serving.faults import Unsendable
from tfclust.data import open_source
from tfclust.data.reading import decoding
from tfclust.data.reading.headers import read_header

_TURNED_ALREADY = ("TIFF", "AVIF", "HEIC")  # by `decode_by_pillow`
# How EXIF's orientations 2 to 8 are put right (EXIF 2.3, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Pictures:
    """The images of a source, each checked once, as bytes to send.

    Args:
      uri: str, as `tfclust.data.open_source` takes it.
      max_bytes: int, of an image as it is sent.

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
        self._stored = about.num_bytes
        self.skipped = list(source.skipped)

    def __len__(self):
        return len(self.names)

    def batches(self, rows, num_bytes):
        """Ranges of at most `rows` images and about `num_bytes` each."""
        begin, total = 0, 0
        for i, size in enumerate(self._stored.tolist()):
            if i > begin and (i - begin >= rows or total + size > num_bytes):
                yield range(begin, i)
                begin, total = i, 0
            total += size
        if len(self):
            yield range(begin, len(self))

    def encoded(self, position):
        """The bytes to send of an image.

        Raises:
          Unsendable: with the reason.
        """
        try:
            data = self._as_sent(position)
        except OSError as error:
            raise Unsendable(error.strerror or str(error)) from error
        if len(data) > self._max_bytes:
            raise Unsendable(
                f"{len(data):,} bytes, more than max_image_bytes="
                f"{self._max_bytes:,}"
            )
        return data

    def _as_sent(self, position):
        if not hasattr(self._source, "read"):  # pixels in memory
            pixels = self._source.image(np.int64(position)).numpy()
            return _png(Image.fromarray(pixels))
        data, unchanged = self._source.read(position)
        if not unchanged:
            raise Unsendable("changed since the check")
        header = read_header(data)
        if header.orientation == 1 and not header.careful:
            return data
        image = Image.fromarray(decoding.decode_by_pillow(data))
        if header.kind not in _TURNED_ALREADY and header.orientation in _TURNS:
            image = image.transpose(_TURNS[header.orientation])
        return _png(image)


def _png(image):
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
