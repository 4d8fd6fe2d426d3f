"""PASCAL VOC: an XML file an image.

VOC counts pixels from 1, and both corners of a box are pixels inside it: its
left and top edges are one less here. A box whose corners coincide as written
has no area: annotators leave such ones by a click.
"""

import xml.etree.ElementTree as ElementTree

from export.detection.annotated import Annotation, LeftOut
from export.detection.places import opened
from tfclust.runtime.terminal import one_line

_FOLDER = "Annotations"
_IMAGES = "JPEGImages"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def annotations(path, words, argument, uri):
    """Reads a folder of XML files.

    Args:
      path: of the folder or zip that holds `Annotations/`.
      words: dict, `split` names a list in `ImageSets/Main`.
      argument, uri: for errors.

    Returns:
      list of `Annotation`; the function name -> bytes that reads an image;
      None, since no list of classes comes with it; list of `LeftOut`.

    Raises:
      FileNotFoundError: if it or the split is missing.
    """
    place = opened(path, _FOLDER, argument, uri)
    stems = _stems(place, words.get("split"), argument, uri)
    found, left_out = [], []
    for stem in stems:
        name = f"{_FOLDER}/{stem}.xml"
        try:
            found.append(_annotation(place.read(name), stem))
        except OSError as error:
            why = error.strerror or str(error)
            left_out.append(LeftOut(name, "annotation", why))
        except (ElementTree.ParseError, ValueError) as error:
            left_out.append(LeftOut(name, "annotation", f"broken: {error}"))
    return found, place.read, None, left_out


def _stems(place, split, argument, uri):
    """Names of the annotations without their ending."""
    if split is None:
        names = [n for n in place.names(_FOLDER) if n.endswith(".xml")]
        stems = [n[len(_FOLDER) + 1 : -len(".xml")] for n in names]
    else:
        file = f"ImageSets/Main/{split}.txt"
        try:
            lines = place.read(file).decode("utf-8", "surrogateescape")
        except OSError as error:
            lists = place.names("ImageSets/Main")
            there = [n.rpartition("/")[2][:-4] for n in lists]
            raise FileNotFoundError(
                f"{argument}={one_line(uri)}: expects {file}. Found "
                f"{', '.join(there) or 'none'}."
            ) from error
        # Lists of one class have 1 or -1 behind the name.
        stems = sorted({line.split()[0] for line in lines.splitlines()
                        if line.strip()})  # fmt: skip
    if not stems:
        raise FileNotFoundError(
            f"{argument}={one_line(uri)}: expects XML files in {_FOLDER}/. "
            "Found none."
        )
    return stems


def _annotation(data, stem):
    root = ElementTree.fromstring(data)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, not <annotation>")
    file = (root.findtext("filename") or "").strip()
    # Some files have a path there, or a name without an ending.
    file = file.replace("\\", "/").rpartition("/")[2]
    if "." not in file:
        file = f"{file or stem}.jpg"
    size = root.find("size")
    sides = None
    if size is not None:
        sides = (_whole(size, "width"), _whole(size, "height"))
        sides = sides if all(sides) else None  # 0 0 means unknown
    boxes = [_box(one) for one in root.iterfind("object")]
    return Annotation(f"{_IMAGES}/{file}", sides, boxes)


def _box(one):
    name = (one.findtext("name") or "").strip()
    corners = one.find("bndbox")
    if not name or corners is None:
        raise ValueError("an <object> without <name> or <bndbox>")
    left, top, right, bottom = (_number(corners, c) for c in _CORNERS)
    is_ignored = (one.findtext("difficult") or "0").strip() == "1"
    if right > left and bottom > top:
        left, top = left - 1, top - 1
    return name, left, top, right, bottom, is_ignored


def _number(parent, tag):
    words = parent.findtext(tag)
    try:
        return float(words)
    except (TypeError, ValueError) as error:
        raise ValueError(f"<{tag}> is {words!r}, not a number") from error


def _whole(parent, tag):
    return int(_number(parent, tag))
