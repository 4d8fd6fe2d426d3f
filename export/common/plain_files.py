"""Image files that a served model reads as people see them.

It decodes with TensorFlow's own operations, which know no EXIF turn and not
every kind of file that `tfclust.data` reads. Such a file is decoded here and
becomes a PNG, which loses nothing: the answer is the one that an evaluation of
the same files would use, and boxes lie on the picture that people see.
"""

import io

from PIL import Image

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


def plain(data):
    """`data`, a checked image file, or a PNG of it if TensorFlow needs one."""
    header = read_header(data)
    if header.orientation == 1 and not header.careful:
        return data
    image = Image.fromarray(decoding.decode_by_pillow(data))
    if header.kind not in _TURNED_ALREADY and header.orientation in _TURNS:
        image = image.transpose(_TURNS[header.orientation])
    return png(image)


def png(image):
    """The bytes of a PNG of a `PIL.Image`, written fast."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
