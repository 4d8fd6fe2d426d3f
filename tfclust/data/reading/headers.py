"""What an encoded image says about itself before its pixels: kind, size, turn.

Reads the first bytes of JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF and HEIC, so that
a picture of a billion pixels is refused before memory is asked for it, and so
that what TensorFlow does not decode as people see it goes to Pillow:

- GIF: transparent pixels, and no memory for frames after the first;
- BMP of other than 24 bits a pixel, whose palette TensorFlow takes for grey;
- moving WebP, of which the first frame is taken;
- JPEG coded by arithmetic or without loss;
- PNG with one colour named as transparent;
- TIFF, AVIF and HEIC, which Pillow also turns upright.

Orientations are EXIF's: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 with
height and width exchanged (EXIF 2.3, tag 0x0112).
"""

import struct
from typing import NamedTuple

from tfclust.data.reading.boxes import box_kind, box_size, tiff_size

_ORIENTATION = 0x0112
_SHORT = 3  # EXIF's type of two bytes
_EXIF_BEGINS = b"Exif\0\0"
_TURNS = range(1, 9)
# Baseline, extended and progressive frames with Huffman coding: what
# TensorFlow's libjpeg reads. Others are arithmetic or lossless.
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables among the numbers of frames
_PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
_PNG_GREY, _PNG_RGB = 0, 2
_WEBP_MOVES, _WEBP_EXIF = 2, 8


class Header(NamedTuple):
    """The first bytes of an image, in words."""

    kind: str  # "JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF", "AVIF" or "HEIC"
    height: int  # pixels as stored
    width: int
    orientation: int = 1  # EXIF's, 1 to 8
    careful: bool = False  # TensorFlow would decode it wrongly or not at all


def read_header(data):
    """The `Header` of encoded bytes; None if no image starts like this."""
    for begins, read in _READERS:
        if data.startswith(begins):
            try:
                return read(data)
            except (struct.error, IndexError):  # they end within the header
                return None
    return _boxes(data)


def exif_orientation(exif):
    """Orientation in a TIFF structure; 1 if it has no valid one."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(exif[:2]))
    if order is None:
        return 1
    try:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(
                f"{order}HHIH", exif, entry
            )
            if tag == _ORIENTATION:
                return value if kind == _SHORT and value in _TURNS else 1
    except struct.error:  # an entry beyond the end
        pass
    return 1


def _jpeg(data):
    """Walks the segments up to that of the frame."""
    orientation, place = 1, 2
    while True:
        while data[place + 1] == 0xFF:  # a segment may start with several
            place += 1
        marker = data[place + 1]
        (length,) = struct.unpack_from(">H", data, place + 2)
        if data[place] != 0xFF or length < 2:
            return None
        body = data[place + 4 : place + 2 + length]
        if marker == 0xE1 and body.startswith(_EXIF_BEGINS):
            orientation = exif_orientation(body[len(_EXIF_BEGINS) :])
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            _, height, width = struct.unpack_from(">BHH", body)
            careful = marker not in _HUFFMAN_FRAMES
            return Header("JPEG", height, width, orientation, careful)
        place += 2 + length


def _png(data):
    """Walks the chunks up to the first of pixels."""
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    orientation, careful, place = 1, False, 8
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT":
            return Header("PNG", height, width, orientation, careful)
        if name == b"eXIf":
            orientation = exif_orientation(data[place + 8 : place + 8 + length])
        if name == b"tRNS" and colour in (_PNG_GREY, _PNG_RGB):
            careful = True
        place += 12 + length


def _gif(data):
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", height, width, careful=True)


def _bmp(data):
    (rest,) = struct.unpack_from("<I", data, 14)
    if rest < 40:  # the header of OS/2
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("BMP", height, width, careful=True)
    width, height, _, bits, packed = struct.unpack_from("<iiHHI", data, 18)
    # Rows from the top down have a negative height.
    return Header("BMP", abs(height), width, careful=bits != 24 or packed != 0)


def _webp(data):
    if data[8:12] != b"WEBP":
        return None
    first = data[12:16]
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", height & 0x3FFF, width & 0x3FFF)
    if first == b"VP8L":
        (sizes,) = struct.unpack_from("<I", data, 21)
        width, height = sizes & 0x3FFF, sizes >> 14 & 0x3FFF
        return Header("WebP", height + 1, width + 1)
    if first != b"VP8X":
        return None
    flags = data[20]
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    orientation = _webp_orientation(data) if flags & _WEBP_EXIF else 1
    moves = bool(flags & _WEBP_MOVES)
    return Header("WebP", height, width, orientation, moves)


def _webp_orientation(data):
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        if name == b"EXIF":
            exif = data[place + 8 : place + 8 + length]
            return exif_orientation(exif.removeprefix(_EXIF_BEGINS))
        place += 8 + length + length % 2
    return 1


def _tiff(data):
    height, width = tiff_size(data)
    return Header("TIFF", height, width, careful=True)


def _boxes(data):
    """A file of ISO boxes has its kind behind a length."""
    try:
        kind = box_kind(data)
        if kind is None:
            return None
        height, width = box_size(data)
        return Header(kind, height, width, careful=True)
    except struct.error:
        return None


_READERS = (
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"\xff\xd8\xff", _jpeg),
    (_PNG_BEGINS, _png),
    (b"GIF8", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
)
