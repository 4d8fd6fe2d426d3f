"""`tfds:name[/config]?split=train`: data sets of TensorFlow Datasets.

The images are read in any order from the files that TFDS has written, TFRecord
or ArrayRecord, and named by their TFDS ids (file and number in it). A data set
that is not prepared yet is prepared once, which may download it.
"""

import os
import sys

import numpy as np
import tensorflow as tf

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.reading.checking import as_checks
from tfclust.data.reading.examples import Examples, Keys
from tfclust.data.sources import shards
from tfclust.data.sources.shard_source import ShardSource
from tfclust.runtime import folders

_READ_AT_ONCE = 256  # records: ArrayRecord reads several at a time


class _ArrayRecordSource(ShardSource):
    """Images in ArrayRecord files; an offset is a record's number."""

    def __init__(self, keys, *arguments):
        self._image_key = keys.image
        self._readers = {}
        super().__init__(*arguments)

    def read_at(self, path, offset, length):
        stat = os.stat(path)  # a reader keeps a deleted file open
        if path not in self._readers:
            self._readers[path] = _reader(path)
        record = self._readers[path][offset]
        return _image_of(record, self._image_key), stat


def open_uri(asked):
    """The source for `tfds:name?split=...`; takes a `schemes.Asked`."""
    return open_tfds(
        asked.path,
        **asked.words,
        max_images=asked.max_images,
        cache_dir=asked.cache_dir,
        max_bad_share=asked.max_bad_share,
        argument=asked.argument,
    )


def open_tfds(
    name,
    split="train",
    *,
    data_dir=None,
    image=None,
    label=None,
    max_images=None,
    cache_dir=None,
    max_bad_share=MAX_BAD_SHARE,
    argument="data",
):
    """The source of a split of a data set.

    Args:
      name: str, as TFDS calls it, with configuration and version if it has
        them; or the folder of a prepared data set.
      split: str, such as train, test or train[:10%].
      data_dir: where data sets are kept; None for TFDS's own folder.
      image: str, which feature is the image; None for the only one.
      label: str, which feature is the label; None for the only class label.
      max_images: int, only the first this many; None for all.
      cache_dir: folder for indices if the files' own folder cannot be written
        to; None for none.
      max_bad_share: float, the share of unreadable images above which the
        split is refused.
      argument: str, the argument that named the data set, for errors.

    Raises:
      ValueError: if there is no such data set, split or image, or too many
        images cannot be read.
    """
    asked = f"{argument}=tfds:{name}"
    builder = _builder(name, data_dir, asked)
    parts = _instructions(builder, split, asked)
    keys, class_names = _keys(builder.info.features, image, label, asked)
    packed_as_arrays = builder.info.file_format.value == "array_record"
    make = _make_index if packed_as_arrays else None
    paths, indices, names = [], [], []
    for part in parts:
        path = os.fspath(part.filename)
        whole = shards.shard_index(path, cache_dir, keys, make)
        rows = np.arange(len(whole.offsets))[part.skip :][: part.take]
        paths.append(path)
        indices.append(whole.rows(rows))
        names += [f"{os.path.basename(path)}__{row}" for row in rows]
        if max_images and len(names) >= max_images:
            break
    numbers = np.repeat(
        np.arange(len(paths)), [len(i.offsets) for i in indices]
    )
    arguments = (
        f"tfds:{name}?split={split}",
        paths,
        paths,
        numbers,
        names[:max_images],
        shards.ShardIndex.joined(indices).rows(slice(max_images)),
        max_bad_share,
        class_names,
    )
    if packed_as_arrays:
        return _ArrayRecordSource(keys, *arguments)
    return ShardSource(*arguments)


def _builder(name, data_dir, asked):
    """A prepared builder."""
    # Its import takes seconds, for which other sources need not wait.
    import tensorflow_datasets as tfds

    if not (sys.stderr and sys.stderr.isatty()):
        tfds.disable_progress_bar()
    if data_dir is not None:
        data_dir = str(folders.expanded(data_dir))
    folder = str(folders.expanded(name))
    try:
        if os.path.isdir(folder) and os.path.isabs(folder):
            return tfds.builder_from_directory(folder)
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # a dozen classes, some of them private
        raise ValueError(
            f"{asked} is not a data set of TensorFlow Datasets "
            f"{tfds.__version__}, or not one of its configurations: "
            f"{_first_line(error)}"
        ) from error
    if not builder.is_prepared():
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise ValueError(
                f"{asked} is not in {builder.data_dir} and cannot be prepared "
                f"({_first_line(error)}). Prepare it on a computer with "
                f"network access by tfds build {name}, and name its folder: "
                "?data_dir=<folder>."
            ) from error
    return builder


def _instructions(builder, split, asked):
    """Which records of which files make up a split."""
    try:
        parts = builder.info.splits[split].file_instructions
    except Exception as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{asked} has the splits {known}. Received: split={split}. Write "
            f"?split={next(iter(builder.info.splits), 'train')}."
        ) from error
    if not parts:
        raise ValueError(
            f"{asked} has no images in split={split}. Ask for a larger part."
        )
    return parts


def _keys(features, image, label, asked):
    """`Keys` of the image and the label, and the names of classes or None."""
    import tensorflow_datasets as tfds

    image = _feature(features, image, tfds.features.Image, "image", asked)
    if image is None:
        raise ValueError(
            f"{asked} has no image feature. Found: {', '.join(features)}."
        )
    label = _feature(features, label, tfds.features.ClassLabel, "label", asked)
    names = None if label is None else tuple(features[label].names)
    return Keys(image, label), names


def _feature(features, name, kind, what, asked):
    """The feature that is meant; None if there is none."""
    found = [key for key in features if isinstance(features[key], kind)]
    if name is None and len(found) < 2:
        return found[0] if found else None
    if name not in found:
        raise ValueError(
            f"{asked} needs ?{what}=<name> with one of: "
            f"{', '.join(found) or 'none'}. Received: {what}={name or ''}."
        )
    return name


def _reader(path):
    from array_record.python import array_record_data_source

    return array_record_data_source.ArrayRecordDataSource([path])


def _image_of(record, key):
    feature = tf.train.Example.FromString(record).features.feature[key]
    return feature.bytes_list.value[0]


def _make_index(path, keys, started, keep):
    """As for TFRecord files; but offsets are record numbers."""
    reader = _reader(path)
    if started is None:
        lengths: list[int] = []
        labels: list[int] = []
        rows = range(len(reader))
        with Examples(keys) as examples:
            for start in range(0, len(reader), _READ_AT_ONCE):
                some = list(rows[start : start + _READ_AT_ONCE])
                for record in reader.__getitems__(some):
                    image, label = examples.read(record, path)
                    lengths.append(
                        shards.HAS_NO_IMAGE if image is None else len(image)
                    )
                    labels.append(label)
        started = shards.ShardIndex(
            np.arange(len(reader)),
            np.array(lengths, np.int64),
            np.array(labels, np.int64),
            as_checks([]),
        )

    def read(position):
        length = int(started.lengths[position])
        if length < 0:
            raise OSError(shards.reason(length, keys))
        return _image_of(reader[position], keys.image)

    return shards.checked(read, started, os.path.basename(path), keep)


def _first_line(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
