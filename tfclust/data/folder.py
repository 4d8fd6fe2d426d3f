"""`folder:/path`: image files in a folder, at any depth.

Images are counted in the order of their relative paths; links are followed,
but never round in a circle. Where every image lies
in a sub-folder of the root, and there are two such sub-folders or more, their
names are the labels, for evaluation only; else there are no labels.
"""

import os
import pathlib

import numpy as np

from tfclust.data import scan
from tfclust.data.encoded import EncodedSource
from tfclust.data.files import read_regular
from tfclust.data.headers import read_header
from tfclust.data.source import Manifest

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_FIRST_BYTES = 1 << 16  # a JPEG's size may follow a thumbnail


class FolderSource(EncodedSource):
    """Image files below a folder.

    Args:
      root: path; `~` stands for the home folder.
      max_images: int, so many files, evenly spaced over the sorted names so
        that each class keeps its share; None for all.
      cache_dir: folder where the check's result is kept; None for nowhere.
      max_bad_share: float, the share of unreadable files above which the
        folder is refused.
      argument: str, what the folder was given as, for errors.

    Raises:
      FileNotFoundError: if there is no such folder, or it holds no image.
      ValueError: if too many files cannot be read.
    """

    def __init__(
        self,
        root,
        *,
        max_images=None,
        cache_dir=None,
        max_bad_share=scan.MAX_BAD_SHARE,
        argument="data",
    ):
        folder = pathlib.Path(root).expanduser()
        names, passed_over = _image_names(folder, argument)
        if max_images is not None and max_images < len(names):
            kept = np.arange(max_images) * len(names) // max_images
            names = [names[i] for i in kept]
        paths = [os.path.join(folder, name) for name in names]
        stats = [_stat(path) for path in paths]
        found = scan.checked_files(folder, names, paths, stats, cache_dir)
        good, skipped = scan.good_and_skipped(
            found, names, f"folder:{root}", max_bad_share
        )
        self._paths = [paths[i] for i in good]
        stats = [stats[i] for i in good]
        self._files = [(stat.st_dev, stat.st_ino) for stat in stats]
        self._marks = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
        names = [names[i] for i in good]
        checks = found.rows(good)
        labels, class_names = _labels(names)
        super().__init__(
            f"folder:{root}",
            Manifest.of_checked(
                names, [stat.st_size for stat in stats], checks
            ),
            checks,
            labels=labels,
            class_names=class_names and tuple(map(scan.printable, class_names)),
            skipped=skipped + passed_over,
        )

    def identities(self):
        return self._files

    def read(self, position):
        data, stat = read_regular(self._paths[position])
        mark = (stat.st_size, stat.st_mtime_ns)
        return data, mark == self._marks[position]


def _image_names(folder, argument):
    """Image files below `folder`, and what may hide others.

    Returns:
      sorted relative paths, with `/`; (name, reason) of folders that cannot
      be opened and of images by another ending.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise FileNotFoundError(
            f"{argument}=folder: expects a folder of images. Found {what} at "
            f"{folder}."
        )
    names: list[str] = []
    other: list[str] = []
    lost: list[OSError] = []
    for parent, files in _walk(folder, lost.append):
        below = pathlib.Path(parent).relative_to(folder)
        for name in files:
            if name.startswith("."):
                continue
            is_image = name.lower().endswith(SUFFIXES)
            (names if is_image else other).append((below / name).as_posix())
    if not names:
        raise FileNotFoundError(
            f"{argument}: no images under {folder}: expected <name>.jpg or "
            f"<class>/<name>.jpg ({' '.join(SUFFIXES)}). Found {len(other)} "
            f"other files, and {len(lost)} folders that cannot be opened."
        )
    return sorted(names), [
        *_unopened(folder, lost),
        *_images_by_another_ending(folder, sorted(other)),
    ]


def _unopened(folder, errors):
    """(name, reason) of folders, of which nobody knows what they hold."""
    found = []
    for error in errors:
        name = pathlib.Path(error.filename).relative_to(folder).as_posix()
        reason = error.strerror or str(error)
        found.append((f"{scan.printable(name)}/", reason))
    return sorted(found)


def _images_by_another_ending(folder, names):
    """(name, reason) of the files that are images by their first bytes."""
    found = []
    for name in names:
        try:
            begin, _ = read_regular(os.path.join(folder, name), _FIRST_BYTES)
        except OSError:
            continue
        header = read_header(begin)
        if header is not None:
            reason = f"a {header.kind} by another ending than its own"
            found.append((scan.printable(name), reason))
    return found


def _walk(folder, tell_error):
    """(path, names of files) of `folder` and all below it, links followed.

    A link to a folder that it lies in itself leads nowhere new.
    """
    top = os.stat(folder)
    above = {os.fspath(folder): {(top.st_dev, top.st_ino)}}
    walk = os.walk(folder, onerror=tell_error, followlinks=True)
    for parent, folders, files in walk:
        on_the_way = above.pop(parent)
        kept = []
        for name in folders:
            path = os.path.join(parent, name)
            stat = _stat(path)
            here = stat and (stat.st_dev, stat.st_ino)
            if not name.startswith(".") and here and here not in on_the_way:
                above[path] = on_the_way | {here}
                kept.append(name)
        folders[:] = kept
        yield parent, files


def _stat(path):
    """None for a link to nothing and what may not be looked at."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _labels(names):
    """int64 labels and class names from the first folder of each path."""
    firsts = [name.split("/")[0] for name in names if "/" in name]
    classes = sorted(set(firsts))
    if len(firsts) < len(names) or len(classes) < 2:
        return None, None
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in firsts]), tuple(classes)
