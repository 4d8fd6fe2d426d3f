"""Image files from disk: regular ones, up to a number of bytes.

A pipe or a device has no end, and a sparse file may claim more bytes than
memory holds. So the kind of a file is checked before it is opened, because even
opening may wait for a writer or rewind a tape.
"""

import errno
import os
import stat

# As many as the largest image has when decoded (`checking.MAX_PIXELS`): no
# image that passes the check is stored in more, except odd ones.
MAX_FILE_BYTES = 1 << 29
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path, limit=None):
    """The bytes of a regular file, and its `os.stat_result`.

    Args:
      path: str or path; links are followed.
      limit: int, read only this many bytes from the start; None for all.

    Raises:
      OSError: if it cannot be opened, is of another kind, or is to be read
        whole and is larger than `MAX_FILE_BYTES`.
    """
    _check_kind(os.stat(path))
    # If it has become a pipe since, opening it must still not wait.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        _check_kind(found)
        if limit is None and found.st_size > MAX_FILE_BYTES:
            raise OSError(
                errno.EFBIG,
                f"{found.st_size:,} bytes, more than {MAX_FILE_BYTES:,}",
            )
        return file.read(found.st_size if limit is None else limit), found


def _check_kind(found):
    if stat.S_ISREG(found.st_mode):
        return
    kinds = (kind for is_it, kind in _KINDS if is_it(found.st_mode))
    kind = next(kinds, "something else")
    raise OSError(errno.EINVAL, f"{kind}, not a regular file")
