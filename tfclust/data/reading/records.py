"""The format of TFRecord files: records in a row, each with two checksums.

A record: length (uint64), its checksum (uint32), data, checksum of the data
(uint32), all little-endian. A checksum is the CRC32C of the bytes, rotated
right by 15 bits, plus a constant (tensorflow/core/lib/hash/crc32c.h). If that
of the data is wrong, the record is left out; if that of a length is wrong,
nothing after it can be found.
"""

import struct

import google_crc32c

from tfclust.runtime.terminal import one_line

HEADER_BYTES, FOOTER_BYTES = 12, 4
DAMAGED = "damaged: its checksum does not match"
_MAX_BYTES = (1 << 31) - 1  # protobuf reads no larger messages
_MASK_DELTA = 0xA282EAD8


def length_of(head, path, number):
    """Bytes of data that a record's header announces.

    Args:
      head: bytes, the first `HEADER_BYTES` of the record, or fewer.
      path: str. number: int, that of the record in its file.

    Raises:
      ValueError: if they are fewer, the checksum does not match, or no message
        can have so many bytes.
    """
    if len(head) < HEADER_BYTES:
        raise not_whole(path, number, "reaches beyond the end")
    length, checksum = struct.unpack("<QI", head)
    if masked_crc32c(head[:8]) != checksum:
        raise not_whole(
            path, number, "has a length whose checksum does not match"
        )
    if length > _MAX_BYTES:
        raise not_whole(path, number, f"is of {length:,} bytes, beyond 2 GiB")
    return length


def is_intact(data, footer):
    """Whether the checksum `footer`, 4 bytes, is that of `data`."""
    return struct.unpack("<I", footer)[0] == masked_crc32c(data)


def masked_crc32c(data):
    """The checksum of bytes, as an int."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def not_whole(path, number, why):
    """The ValueError for a file whose rest cannot be read."""
    return ValueError(
        f"{one_line(path)} is not a complete TFRecord file: record {number} "
        f"{why}. Unpack it, write it again, or leave it out."
    )
