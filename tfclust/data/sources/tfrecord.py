"""`tfrecord:/glob`: images in TFRecord files, read in any order.

Records are `tf.train.Example`s with `image/encoded` and, optionally,
`image/class/label`. Gzip files are unpacked once, into the run's folder or
beside the file, because a gzip file can only be read from the start.
"""

import glob
import gzip
import os
import pathlib
import shutil
import zlib

import numpy as np

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.sources import shards
from tfclust.data.sources.shard_source import ShardSource
from tfclust.runtime import folders
from tfclust.runtime.files import replacing
from tfclust.runtime.terminal import one_line

_GZIP_BEGINS = b"\x1f\x8b"


class TFRecordSource(ShardSource):
    """Images of TFRecord files, in the order of sorted file names.

    Args:
      pattern: path or glob; `~` stands for the home folder.
      max_images: int, only the first this many; None for all.
      cache_dir: folder for unpacked files, and for indices if the files' own
        folder cannot be written to; None for none.
      max_bad_share: float, the share of unreadable images above which the
        files are refused.
      argument: str, the argument that named the files, for errors.

    Raises:
      FileNotFoundError: if no file matches.
      ValueError: if a file is not a complete TFRecord file or has no images,
        all files are empty, or too many images cannot be read.
    """

    def __init__(
        self,
        pattern,
        *,
        max_images=None,
        cache_dir=None,
        max_bad_share=MAX_BAD_SHARE,
        argument="data",
    ):
        uri = f"tfrecord:{one_line(pattern)}"
        files = matching_files(pattern, argument)
        paths, parts = [], []
        for path in files:
            paths.append(_unpacked(path, cache_dir))
            parts.append(shards.shard_index(paths[-1], cache_dir))
            if max_images and sum(map(_length, parts)) >= max_images:
                break
        index = shards.ShardIndex.joined(parts).rows(slice(max_images))
        if not _length(index):
            raise ValueError(
                f"{uri} holds no records: {one_line(files[0])} is an "
                "empty file"
                + (f", as are all {len(files)}." if files[1:] else ".")
            )
        numbers = np.repeat(np.arange(len(parts)), list(map(_length, parts)))
        names = [
            f"{os.path.basename(files[number])}@{offset}"
            for number, offset in zip(numbers, index.offsets, strict=False)
        ]
        super().__init__(
            uri, files, paths, numbers, names, index, max_bad_share
        )


def _length(index):
    return len(index.offsets)


def open_uri(asked):
    """The `TFRecordSource` for `tfrecord:/glob`; takes a `schemes.Asked`."""
    return TFRecordSource(
        asked.path,
        max_images=asked.max_images,
        cache_dir=asked.cache_dir,
        max_bad_share=asked.max_bad_share,
        argument=asked.argument,
    )


def matching_files(pattern, argument):
    """Sorted paths of the files that a path or glob names.

    Raises:
      FileNotFoundError: if there are none.
    """
    found = sorted(glob.glob(str(folders.expanded(pattern))))
    found = [path for path in found if os.path.isfile(path)]
    shown = one_line(pattern)
    if not found:
        raise FileNotFoundError(
            f"{argument}: no TFRecord files match {shown}: expected a path "
            "or a glob such as /data/train-*.tfrecord. Found 0 files."
        )
    return found


def is_packed(path):
    """Whether a file is a gzip file."""
    with open(path, "rb") as file:
        return file.read(len(_GZIP_BEGINS)) == _GZIP_BEGINS


def _unpacked(path, cache_dir):
    """`path`; for a gzip file, the file to which it was unpacked."""
    if not is_packed(path):
        return path
    stat, file_path = os.stat(path), pathlib.Path(path)
    # The mark is in the name, so another file of the same name is unpacked too.
    ending = f".{stat.st_size:x}-{stat.st_mtime_ns:x}.unpacked"
    places = [file_path.with_name(f".{file_path.name}{ending}")]
    if cache_dir is not None:
        places.insert(0, shards.cache_place(path, cache_dir, ending))
    for place in places:
        if os.path.exists(place):
            return str(place)
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _unpack(path, place)
            return str(place)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{one_line(path)} is a damaged or truncated gzip file "
                f"({error}). Write it again, or leave it out."
            ) from error
        except OSError as error:
            refused = error
    raise ValueError(
        f"{one_line(path)} is a gzip file and must be unpacked to be "
        f"read in any order, but {one_line(places[-1].parent)} cannot be "
        f"written to ({refused.strerror}). Give a cache_dir, or unpack it."
    )


def _unpack(path, place):
    with gzip.open(path, "rb") as packed, replacing(place) as whole:
        shutil.copyfileobj(packed, whole, 1 << 20)
