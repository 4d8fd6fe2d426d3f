"""What TIFF, AVIF and HEIC files say of themselves: kind and size.

Pillow decodes them all (HEIC with the extra `photos`), upright.
"""

import struct

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_SHORT = 3  # TIFF's type of two bytes
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
# Where a box of a size may lie: it comes before the pixels.
_SEARCHED = 1 << 16


def tiff_size(data):
    """(height, width) of a TIFF's first page.

    Raises:
      struct.error: if the bytes end before they say so.
    """
    order = "<" if data.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    sizes = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            form = "H" if kind == _SHORT else "I"
            (sizes[tag],) = struct.unpack_from(
                f"{order}{form}", data, entry + 8
            )
    return sizes.get(_TIFF_HEIGHT, 0), sizes.get(_TIFF_WIDTH, 0)


def box_kind(data):
    """AVIF or HEIC, of a file of ISO boxes; None for others, such as videos."""
    if data[4:8] != b"ftyp":
        return None
    (length,) = struct.unpack_from(">I", data, 0)
    brands = [data[8:12], *_fours(data[16 : min(length, 256)])]
    # The general `mif1` comes first in some: what is compatible decides.
    known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "AVIF" if "AVIF" in known else next(iter(known), None)


def box_size(data):
    """(height, width) of the largest picture in a file of ISO boxes.

    Tiles and thumbnails have sizes as well, and a padded one may be larger
    than what is shown: it bounds the memory, and decoding tells the rest.

    Raises:
      struct.error: if the bytes end before they say so.
    """
    begin, sizes = data[:_SEARCHED], []
    place = begin.find(b"ispe")
    while place >= 0:
        width, height = struct.unpack_from(">II", begin, place + 8)
        sizes.append((height, width))
        place = begin.find(b"ispe", place + 4)
    if not sizes:
        raise struct.error("no box of a size")
    return max(sizes, key=lambda size: size[0] * size[1])


def _fours(data):
    return [data[i : i + 4] for i in range(0, len(data) - 3, 4)]
