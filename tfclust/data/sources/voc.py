"""`voc:/folder or zip?split=trainval`: images in PASCAL VOC's folders.

An image may have several labels: those of the lists of one class in
`ImageSets/Main` if the split has such lists, else the classes of the objects in
its annotation. As in VOC's own lists, a class of which an image has difficult
objects alone is not asked (-1). `sets=Segmentation` takes the images that have
masks instead, by the lists in `ImageSets/Segmentation`.
"""

import os
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np

from tfclust.data.reading import checking, scan, voc
from tfclust.data.reading.places import Folder, opened
from tfclust.data.sources.base import Manifest
from tfclust.data.sources.encoded import EncodedSource
from tfclust.runtime.terminal import one_line

_SETS = ("Main", "Segmentation")
_FLAGS = {"1": 1, "-1": 0, "0": -1}  # in VOC's lists -> in label sets


class VocSource(EncodedSource):
    """Images of a VOC folder or zip; takes a `schemes.Asked`.

    Attributes:
      has_masks: whether each image has a mask of classes (`mask`).

    Raises:
      FileNotFoundError: if the folder or the split is missing.
      ValueError: if too many images or annotations cannot be read, or no image
        has a class.
    """

    def __init__(self, asked):
        sets = asked.words.get("sets", _SETS[0])
        if sets not in _SETS:
            raise ValueError(
                f"sets must be one of {', '.join(_SETS)}. Received: "
                f"{asked.argument}={one_line(asked.uri)}."
            )
        self.has_masks = sets == "Segmentation"
        shown = asked.argument, asked.uri
        place = opened(asked.path, voc.IMAGES, *shown)
        names = _names(place, asked, self.has_masks)[: asked.max_images]
        broken: list = []
        label_sets = classes = None
        if not self.has_masks:
            names, label_sets, classes = _labels(place, names, asked, broken)
        files = _files(place, names)
        marks = [_mark(place, file) for file in files]
        checks = _checked(place, files, asked.cache_dir)
        good, skipped = scan.good_and_skipped(
            checks, files, asked.uri, asked.max_bad_share
        )
        _refuse_broken(broken, len(names), asked)
        self._place = place
        self._names = [names[i] for i in good]
        self._marks = [marks[i] for i in good]
        files = [files[i] for i in good]
        checks = checks.rows(good)
        super().__init__(
            f"voc:{one_line(asked.uri.partition(':')[2])}",
            Manifest.of_checked(files, [m[0] for m in self._marks], checks),
            checks,
            label_sets=None if label_sets is None else label_sets[good],
            class_names=classes,
            skipped=skipped + broken,
            notices=(
                ["masks are read by the protocol segmentation alone"]
                if self.has_masks
                else []
            ),
        )

    def identities(self):
        if not isinstance(self._place, Folder):
            zip_of = os.stat(self._place.path)
            place = zip_of.st_dev, zip_of.st_ino
            return [(*place, name) for name in self._manifest.names]
        stats = [os.stat(self._place.path / n) for n in self._manifest.names]
        return [(stat.st_dev, stat.st_ino) for stat in stats]

    def read(self, position):
        name = self._manifest.names[position]
        data = self._place.read(name)
        return data, _mark(self._place, name) == self._marks[position]

    def mask(self, position):
        return self._place.read(f"{voc.MASKS}/{self._names[position]}.png")


def open_uri(asked):
    """The `VocSource` for `voc:/path`; takes a `schemes.Asked`."""
    return VocSource(asked)


def _names(place, asked, has_masks):
    shown = asked.argument, asked.uri
    sets = voc.SEGMENTATION_SETS if has_masks else voc.SETS
    split = asked.words.get("split")
    if split is not None:
        names = voc.names_in_split(place, split, *shown, sets)
        what = f"names in {sets}/{split}.txt"
    elif has_masks:
        masks = place.names(voc.MASKS)
        names = [pathlib.PurePath(n).stem for n in masks if n.endswith(".png")]
        what = f"PNG files in {voc.MASKS}/"
    else:
        names = voc.annotated_names(place)
        what = f"XML files in {voc.ANNOTATIONS}/"
    if not names:
        raise FileNotFoundError(
            f"{asked.argument}={one_line(asked.uri)}: expects {what}. Found "
            "none."
        )
    return names


def _files(place, names):
    """The image of each name; `.jpg` where there is none of that name."""
    there = place.names(voc.IMAGES)
    by_stem = {pathlib.PurePath(file).stem: file for file in there}
    return [by_stem.get(n, f"{voc.IMAGES}/{n}.jpg") for n in names]


def _mark(place, file):
    """`place.mark`; zeros for a missing file, which the check tells."""
    try:
        return place.mark(file)
    except OSError:
        return 0, 0


def _checked(place, files, cache_dir):
    """`Checks` of the images; a folder's are kept, as those of `folder:`."""
    if not isinstance(place, Folder):
        with scan.checking(place.path, len(files)) as line:
            return checking.check_images(
                lambda i: place.read(files[i]), len(files), line.update
            )
    paths = [os.path.join(place.path, file) for file in files]
    stats = [os.stat(p) if os.path.exists(p) else None for p in paths]
    return scan.checked_files(place.path, files, paths, stats, cache_dir)


def _labels(place, names, asked, broken):
    """Names that have labels, int8 `[N, C]` and C class names."""
    lists = _class_lists(place, asked.words.get("split"))
    if lists:
        columns = [_column(place, file, names) for file in lists.values()]
        return names, np.stack(columns, axis=1), tuple(lists)
    found = _objects_by_name(place, broken)
    classes = sorted({c for objects in found.values() for c in objects})
    if not classes:
        raise ValueError(
            f"{asked.argument} must name objects in {voc.ANNOTATIONS}/, or "
            f"classes in {voc.SETS}/<class>_<split>.txt. Received: none in "
            f"{one_line(asked.uri)}."
        )
    names = [name for name in names if name in found]
    sets = np.zeros([len(names), len(classes)], np.int8)
    for row, name in enumerate(names):
        for known, value in found[name].items():
            sets[row, classes.index(known)] = value
    return names, sets, tuple(classes)


def _class_lists(place, split):
    """`{class: file}` of the lists of one class of a split, sorted."""
    if split is None:
        return {}
    ending = f"_{split}.txt"
    files = [f for f in place.names(voc.SETS) if f.endswith(ending)]
    found = {f[len(voc.SETS) + 1 : -len(ending)]: f for f in files}
    return dict(sorted(found.items()))


def _column(place, file, names):
    """int8 `[N]` of a class's list."""
    flags = {}
    for line in place.read(file).decode("utf-8", "surrogateescape").split("\n"):
        name, _, flag = line.strip().partition(" ")
        if flag.strip() in _FLAGS:
            flags[name] = _FLAGS[flag.strip()]
        elif name:
            raise ValueError(
                f"{file} must have an image's name and 1, -1 or 0 in each "
                f"line. Received: {one_line(line)}."
            )
    missing = [name for name in names if name not in flags]
    if missing:
        raise ValueError(
            f"{file} must have all images of its split. Received: "
            f"{len(missing)} that it lacks, such as {one_line(missing[0])}."
        )
    return np.array([flags[name] for name in names], np.int8)


def _objects_by_name(place, broken):
    """`{name: {class: 1 or -1}}` of all annotations, whatever the split.

    So classes have the same numbers in each split.
    """
    found = {}
    for name in voc.annotated_names(place):
        file = f"{voc.ANNOTATIONS}/{name}.xml"
        try:
            root = voc.annotation(place.read(file))
        except OSError as error:
            broken.append((file, error.strerror or str(error)))
            continue
        except (ElementTree.ParseError, ValueError) as error:
            broken.append((file, f"broken: {error}"))
            continue
        classes: dict = {}
        for one in root.iterfind("object"):
            known = voc.class_of(one)
            value = -1 if voc.is_difficult(one) else 1
            if known:
                classes[known] = max(value, classes.get(known, -1))
        found[name] = classes
    return found


def _refuse_broken(broken, total, asked):
    if len(broken) > asked.max_bad_share * (total + len(broken)):
        file, why = broken[0]
        raise ValueError(
            f"{asked.argument}={one_line(asked.uri)}: {len(broken)} "
            "annotations cannot be read, more than a share of "
            f"{asked.max_bad_share:g}. First: {file}: {why}. Mend them, or "
            "raise max_bad_share."
        )
