"""`folder:/path`: image files in a folder, at any depth.

Images are numbered in the order of their relative paths. Links are followed,
and each folder is read once, however many links lead to it. If every image lies
in a sub-folder of the root, and there are two or more such sub-folders, their
names are the labels, for evaluation only; otherwise there are no labels.
"""

import collections
import heapq
import os

import numpy as np

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.reading import decoding, scan
from tfclust.data.reading.files import read_regular
from tfclust.data.reading.headers import read_header
from tfclust.data.sources.base import Manifest
from tfclust.data.sources.encoded import EncodedSource
from tfclust.data.sources.schemes import check_folder
from tfclust.runtime import folders
from tfclust.runtime.terminal import one_line

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".avif"),
)
HEIC_SUFFIXES = (".heic", ".heif")  # where they can be read
_ENDINGS_SHOWN = 5
_FIRST_BYTES = 1 << 16  # a JPEG's size may follow a thumbnail


class FolderSource(EncodedSource):
    """Image files below a folder.

    Args:
      root: path; `~` stands for the home folder.
      max_images: int, take this many files, evenly spaced over the sorted names
        so that each class keeps its share; None for all.
      cache_dir: folder where the check's result is kept; None for nowhere.
      max_bad_share: float, the share of unreadable files above which the
        folder is refused.
      argument: str, the argument that named the folder, for errors.

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
        max_bad_share=MAX_BAD_SHARE,
        argument="data",
    ):
        folder = folders.expanded(root)
        names, left_out, passed_over = _image_names(folder, argument)
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
            f"folder:{one_line(root)}",
            Manifest.of_checked(
                names, [stat.st_size for stat in stats], checks
            ),
            checks,
            labels=labels,
            class_names=class_names and tuple(map(one_line, class_names)),
            skipped=skipped + left_out,
            passed_over=passed_over,
        )

    def identities(self):
        return self._files

    def path(self, position):
        """The file of an image."""
        return self._paths[position]

    def read(self, position):
        data, stat = read_regular(self._paths[position])
        mark = (stat.st_size, stat.st_mtime_ns)
        return data, mark == self._marks[position]


def open_uri(asked):
    """The `FolderSource` for `folder:/path`; takes a `schemes.Asked`."""
    return FolderSource(
        asked.path,
        max_images=asked.max_images,
        cache_dir=asked.cache_dir,
        max_bad_share=asked.max_bad_share,
        argument=asked.argument,
    )


def _image_names(folder, argument):
    """Image files below `folder`, and what may hide others.

    Returns:
      sorted relative paths, with `/`; (name, reason) of folders that cannot
      be opened, of links to folders that are read already, and of images by
      another ending; and other files in words.
    """
    check_folder(folder, argument)
    names: list[str] = []
    other: list[str] = []
    top = os.fspath(folder)
    lost: list[OSError] = []
    again: list[str] = []
    suffixes = SUFFIXES + (HEIC_SUFFIXES if decoding.reads_heic() else ())
    for parent, files in _walk(folder, lost.append, again.append):
        below = "" if parent == top else f"{os.path.relpath(parent, top)}/"
        for name in files:
            if name.startswith("."):
                continue
            is_image = name.lower().endswith(suffixes)
            (names if is_image else other).append(f"{below}{name}")
    passed_over = _in_words(other)
    if not names:
        what = passed_over and f" ({passed_over})"
        raise FileNotFoundError(
            f"{argument}: no images under {one_line(folder)}: expected "
            f"<name>.jpg or <class>/<name>.jpg ({' '.join(suffixes)}). Found "
            f"{len(other)} other files{what}, and {len(lost)} folders that "
            "cannot be opened."
        )
    left_out = [
        *_unopened(folder, lost),
        *_read_already(folder, again),
        *_images_by_another_ending(folder, sorted(other)),
    ]
    return sorted(names), left_out, passed_over


def _in_words(names):
    """Files by their ending, such as "8 .heic, 3 .txt"; empty for none."""
    endings = [os.path.splitext(name)[1].lower() for name in names]
    counts = collections.Counter(endings).most_common()
    shown = [
        f"{count:,} {one_line(ending) or 'without an ending'}"
        + (f" ({decoding.NEEDS_HEIC})" if ending in HEIC_SUFFIXES else "")
        for ending, count in counts[:_ENDINGS_SHOWN]
    ]
    rest = sum(count for _, count in counts[_ENDINGS_SHOWN:])
    if rest:
        shown.append(f"{rest:,} others")
    return ", ".join(shown)


def _unopened(folder, errors):
    """(name, reason) of folders whose contents are unknown."""
    found = []
    for error in errors:
        name = os.path.relpath(error.filename, folder)
        reason = error.strerror or str(error)
        found.append((f"{one_line(name)}/", reason))
    return sorted(found)


def _read_already(folder, paths):
    """(name, reason) of links to folders that have another name here."""
    reason = "a link to a folder that has been read already"
    names = [os.path.relpath(path, folder) for path in paths]
    return [(f"{one_line(name)}/", reason) for name in sorted(names)]


def _images_by_another_ending(folder, names):
    """(name, reason) of the files whose first bytes are those of an image."""
    found = []
    for name in names:
        try:
            begin, _ = read_regular(os.path.join(folder, name), _FIRST_BYTES)
        except OSError:
            continue
        header = read_header(begin)
        # A HEIC under its own name is counted among the endings.
        named = name.lower().endswith(HEIC_SUFFIXES)
        if header is not None and not (named and header.kind == "HEIC"):
            reason = f"a {header.kind} with another file extension"
            found.append((one_line(name), reason))
    return found


def _walk(folder, tell_error, tell_again):
    """(path, names of files) of `folder` and all below it, each folder once.

    Real folders come before those that links lead to, and links come in the
    order of their paths. So a folder gets the same name, whatever a disk lists
    first. `tell_again` is called with a link to a folder that has a name
    already.
    """
    waiting, links = [os.fspath(folder)], list[str]()
    names: dict[tuple[int, int], str] = {}
    while waiting or links:
        path = waiting.pop() if waiting else heapq.heappop(links)
        files = []
        try:
            stat = os.stat(path)
            if names.setdefault((stat.st_dev, stat.st_ino), path) != path:
                tell_again(path)
                continue
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not _leads_to_folder(entry):
                        files.append(entry.name)
                    elif entry.name.startswith("."):
                        continue
                    elif entry.is_symlink():
                        heapq.heappush(links, entry.path)
                    else:
                        waiting.append(entry.path)
        except OSError as error:
            tell_error(error)
            continue
        yield path, files


def _leads_to_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # links that go round in a circle
        return False


def _stat(path):
    """`os.stat`; None for a link to nothing or if it is not permitted."""
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
