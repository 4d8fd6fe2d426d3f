"""Files that are complete or not there, and on the disk when we say so."""

import contextlib
import os
import pathlib
import uuid


@contextlib.contextmanager
def replacing(path):
    """A binary file that replaces `path` as a whole, or not at all.

    It is written under a hidden name beside `path`, flushed to the disk and
    renamed; if the block raises, `path` is unchanged.

    Args:
      path: of the file; its folder must exist.

    Yields:
      The file, open for writing bytes.
    """
    partial = partial_name(path)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Writes `text` as UTF-8, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def partial_name(path):
    """A hidden name beside `path` that no other process uses.

    Hosts that share the folder may have the same process number.
    """
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def append_line(path, text):
    """Adds a line to a file, and waits until it is on the disk."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def flush(path):
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
