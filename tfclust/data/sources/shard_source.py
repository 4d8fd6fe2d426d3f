"""Images in files that hold many, each reached by its place in a file."""

import os

import numpy as np

from tfclust.data.reading import scan
from tfclust.data.sources.base import Manifest
from tfclust.data.sources.encoded import EncodedSource


class ShardSource(EncodedSource):
    """Images at known bytes of files; other kinds override `read_at`.

    Args:
      uri: str.
      files: list of str, the files as the user knows them.
      paths: list of str, the files that are read: `files`, or unpacked ones.
      numbers: int `[N]`, which of the paths an image is in.
      names: list of N str.
      index: `ShardIndex` of N images.
      max_bad_share: float, the share of unreadable images above which they
        are refused.
      class_names: names of the labels, or None.

    Raises:
      UnreadableImages: if too many images cannot be read.
    """

    def __init__(
        self,
        uri,
        files,
        paths,
        numbers,
        names,
        index,
        max_bad_share,
        class_names=None,
    ):
        good, skipped = scan.good_and_skipped(
            index.checks, names, uri, max_bad_share
        )
        index = index.rows(good)
        unlabelled = int((index.labels < 0).sum())
        notices = []
        if 0 < unlabelled < len(good):
            notices.append(
                f"{unlabelled} of {len(good)} records have no label: figures "
                "by label are left out"
            )
        self._files, self._paths = files, paths
        self._marks = [_mark(os.stat(path)) for path in paths]
        self._numbers = numbers[good].tolist()
        self._places = np.stack([index.offsets, index.lengths], 1).tolist()
        checks = index.checks
        super().__init__(
            uri,
            Manifest.of_checked(
                [names[i] for i in good], index.lengths, checks
            ),
            checks,
            labels=None if unlabelled else index.labels,
            skipped=skipped,
            notices=notices,
            class_names=None if unlabelled else class_names,
        )

    def identities(self):
        stats = [os.stat(path) for path in self._files]
        files = [(stat.st_dev, stat.st_ino) for stat in stats]
        places = zip(self._numbers, self._places, strict=True)
        return [(*files[number], offset) for number, (offset, _) in places]

    def read(self, position):
        number = self._numbers[position]
        data, stat = self.read_at(self._paths[number], *self._places[position])
        return data, _mark(stat) == self._marks[number]

    def read_at(self, path, offset, length):
        """The bytes of an image, and the file's `os.stat_result`."""
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length), os.fstat(file.fileno())


def _mark(stat):
    return stat.st_size, stat.st_mtime_ns
