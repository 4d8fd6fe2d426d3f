"""Images with boxes: what is kept of a data set, and what is left out, by name.

A data set is named by a URI: `voc:/folder or zip?split=train` or
`coco:/file.json?images=/folder`. Every image is decoded once before step 0.
"""

import hashlib
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfclust.runtime import terminal
from tfclust.runtime.terminal import one_line

_EXAMPLES = "voc:/folder, voc:/file.zip?split=train or coco:/file.json"
_WORDS = {"voc": ("split",), "coco": ("images",)}
# A box that leaves the image by less is a matter of rounding.
_SLACK = 1.0
_SHOWN = 5


class Annotation(NamedTuple):
    """What a file says of one image."""

    name: str  # of the image, relative to the data set
    size: tuple | None  # (width, height) that it claims, or None
    # (class name, left, top, right, bottom, ignored, area) each; the area in
    # pixels, as COCO's of an object's mask, or None for the box's own.
    boxes: list


class LeftOut(NamedTuple):
    """Something that is not used, and why."""

    name: str
    what: str  # "image", "annotation" or "box"
    why: str

    def __str__(self):
        return f"{self.what} {one_line(self.name)}: {self.why}"


class Annotated(NamedTuple):
    """N images with their boxes, in the order of their names.

    `ignored` boxes (VOC's difficult, COCO's crowds) are not learnt, and neither
    rewarded nor punished when they are found.
    """

    uri: str
    names: list  # [N]
    sizes: np.ndarray  # int64 [N, 2], height and width, as boxes lie on them
    careful: np.ndarray  # bool [N], which Pillow must decode
    turns: np.ndarray  # int32 [N], EXIF's, 1 where boxes lie as it is stored
    boxes: list  # [N] of float32 [n, 4]
    labels: list  # [N] of int64 [n], positions in class_names
    ignored: list  # [N] of bool [n]
    areas: list  # [N] of float64 [n], by which COCO calls objects small
    class_names: tuple
    left_out: list  # of LeftOut
    read: Callable  # position -> bytes

    def digest(self):
        """SHA-256 of names, sizes, boxes and classes; hex."""
        found = hashlib.sha256("\n".join(self.names).encode("utf-8", "replace"))
        found.update("\n".join(self.class_names).encode("utf-8", "replace"))
        for part in (self.sizes, *self.boxes, *self.labels, *self.ignored):
            found.update(np.ascontiguousarray(part).tobytes())
            found.update(b"|")
        return found.hexdigest()


def parted(uri, argument):
    """Scheme, path and words of a URI.

    Raises:
      ValueError: if it is none of the two kinds, or has an unknown word.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _WORDS or not rest or "\0" in uri:
        raise ValueError(
            f"{argument} must name images with boxes: {_EXAMPLES}. Received: "
            f"{argument}={one_line(uri)}."
        )
    path, mark, query = rest.rpartition("?")
    if not mark:
        return scheme, rest, {}
    pairs = urllib.parse.parse_qsl(query.replace("+", "%2B"))
    words = dict(pairs)
    if not path or not words or not set(words) <= set(_WORDS[scheme]):
        raise ValueError(
            f"{scheme}: takes {', '.join(_WORDS[scheme])} after a path and a "
            f"?. Received: {argument}={one_line(uri)}."
        )
    return scheme, path, words


def open_annotated(uri, *, argument="data", class_names=None, max_bad_share):
    """Reads a data set, and checks every image and every box.

    Args:
      uri: `voc:...` or `coco:...`.
      argument: str, the argument that gave it, for errors.
      class_names: tuple of str, the classes whose boxes are used, in order;
        None for those of the data set, sorted.
      max_bad_share: float in [0, 1]; a larger share of unreadable annotations
        and images is refused.

    Returns:
      `Annotated`.

    Raises:
      FileNotFoundError: if nothing is there.
      ValueError: if it makes no sense, or too much of it is unreadable.
    """
    scheme, path, words = parted(uri, argument)
    from export.detection import coco, voc

    module = {"voc": voc, "coco": coco}[scheme]
    found, read, known, left_out = module.annotations(
        path, words, argument, uri
    )
    kept, sizes, careful, turns = _checked_images(found, read, left_out)
    total = len(found) + sum(one.what == "annotation" for one in left_out)
    _refuse_bad(total - len(kept), total, max_bad_share, left_out, argument)
    names = _class_names(kept, known, class_names, argument, uri)
    columns = [
        _checked_boxes(one, size, names, left_out)
        for one, size in zip(kept, sizes, strict=True)
    ]
    boxes, labels, ignored, areas = map(list, zip(*columns, strict=True))
    image_names = [one.name for one in kept]
    return Annotated(
        uri, image_names, sizes, careful, turns, boxes, labels, ignored, areas,
        names, left_out, lambda position: read(image_names[position]),
    )  # fmt: skip


def tell(data, argument, say=terminal.say):
    """Prints what was read, and what was left out with the first names."""
    boxes = sum(map(len, data.boxes))
    empty = sum(not len(one) for one in data.boxes)
    say(
        f"{argument}: {len(data.names):,} images, {boxes:,} boxes of "
        f"{len(data.class_names)} classes ({', '.join(data.class_names)}); "
        f"{empty:,} images without boxes."
    )
    for what, many in (
        ("annotation", "annotations"),
        ("image", "images"),
        ("box", "boxes"),
    ):
        some = [one for one in data.left_out if one.what == what]
        if some:
            shown = "; ".join(f"{o.name}: {o.why}" for o in some[:_SHOWN])
            more = len(some) - _SHOWN
            rest = f"; and {more:,} more" if more > 0 else ""
            say(
                f"{argument}: {len(some):,} "
                f"{what if len(some) == 1 else many} left out or cut: "
                f"{shown}{rest}."
            )


def _checked_images(found, read, left_out):
    """The annotations whose image is good; sizes, `careful` and turns.

    Boxes lie on the pixels as they are stored, unless the annotation's size is
    that of the turned picture: then on what people see.
    """
    import tfclust.data.reading.checking as checking
    from tfclust.runtime import progress

    with progress.line("Checking images", len(found)) as line:
        checks = checking.check_images(
            lambda i: read(found[i].name), len(found), line.update
        )
    kept, sizes, turns = [], [], []
    for row, one in enumerate(found):
        seen = (int(checks.heights[row]), int(checks.widths[row]))
        turn = int(checks.orientations[row])
        stored = seen[::-1] if turn >= 5 else seen
        upright = one.size and tuple(one.size) == seen[::-1] and stored != seen
        size = seen if upright else stored
        why = str(checks.reasons[row])
        if not why and one.size and tuple(one.size) != size[::-1]:
            why = (
                f"its annotation is for {one.size[0]} x {one.size[1]} pixels, "
                f"the file has {size[1]} x {size[0]}"
            )
        if why:
            left_out.append(LeftOut(one.name, "image", why))
        else:
            kept.append(row)
            sizes.append(size)
            turns.append(turn if upright else 1)
    shape = np.array(sizes, np.int64).reshape(-1, 2)
    good = [found[row] for row in kept]
    return good, shape, checks.careful[kept], np.array(turns, np.int32)


def _refuse_bad(bad, total, share, left_out, argument):
    if total and bad < total and bad <= share * total:
        return
    first = next(iter(left_out), "no annotation was found")
    raise ValueError(
        f"{argument}: {bad:,} of {total:,} images cannot be used, more than "
        f"max_bad_share={share:g} allows, the first: {first}. Mend them, or "
        "give a larger max_bad_share."
    )


def _class_names(kept, known, wanted, argument, uri):
    found = known or sorted({box[0] for one in kept for box in one.boxes})
    if wanted is None:
        if not found:
            raise ValueError(
                f"{argument} must have boxes to learn from. Received: "
                f"{argument}={one_line(uri)}, without any."
            )
        return tuple(found)
    used = {box[0] for one in kept for box in one.boxes}
    if used and used.isdisjoint(wanted):
        raise ValueError(
            f"{argument} must have boxes of {', '.join(wanted)}. Received: "
            f"only {', '.join(map(one_line, sorted(used)))} in {one_line(uri)}."
        )
    return tuple(wanted)


def _checked_boxes(one, size, class_names, left_out):
    """Boxes within the image, classes, which are ignored, and areas."""
    height, width = size
    limit = np.array([width, height, width, height], np.float64)
    rows: list = []
    for class_name, *corners, is_ignored, area in one.boxes:
        box = np.array(corners, np.float64)
        why = _refusal(box, limit)
        if why is None and class_name not in class_names:
            why = f"of a class that is not learnt: {one_line(class_name)}"
        inside = np.clip(box, 0, limit)
        if why is None and np.abs(inside - box).max() > _SLACK:
            words = _words(box, f"cut to the image of {width} x {height}")
            left_out.append(LeftOut(one.name, "box", words))
        if why is not None:
            left_out.append(LeftOut(one.name, "box", _words(box, why)))
        else:
            own = float(np.prod(inside[2:] - inside[:2]))
            label = class_names.index(class_name)
            rows.append((inside, label, is_ignored, area or own))
    return (
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], bool),
        np.array([r[3] for r in rows], np.float64),
    )


def _refusal(box, limit):
    """Why a box cannot be used; None if it can."""
    if not np.isfinite(box).all():
        return "not a number"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "no area"
    inside = np.clip(box, 0, limit)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return "outside the image"
    return None


def _words(box, why):
    corners = ", ".join(f"{edge:g}" for edge in box)
    return f"({corners}) {why}"
