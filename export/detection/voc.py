"""PASCAL VOC: an XML file an image.

VOC counts pixels from 1, and both corners of a box are pixels inside it: its
left and top edges are one less here. A box whose corners coincide as written
has no area: annotators leave such ones by a click.
"""

import xml.etree.ElementTree as ElementTree

from export.detection.annotated import Annotation, LeftOut
from tfclust.data.reading import voc
from tfclust.data.reading.places import opened
from tfclust.runtime.terminal import one_line

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
    place = opened(path, voc.ANNOTATIONS, argument, uri)
    stems = _stems(place, words.get("split"), argument, uri)
    found, left_out = [], []
    for stem in stems:
        name = f"{voc.ANNOTATIONS}/{stem}.xml"
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
        stems = voc.annotated_names(place)
    else:
        stems = voc.names_in_split(place, split, argument, uri)
    if not stems:
        raise FileNotFoundError(
            f"{argument}={one_line(uri)}: expects XML files in "
            f"{voc.ANNOTATIONS}/. Found none."
        )
    return stems


def _annotation(data, stem):
    root = voc.annotation(data)
    name = voc.image_name(root, stem)
    size = root.find("size")
    sides = None
    if size is not None:
        sides = (_whole(size, "width"), _whole(size, "height"))
        sides = sides if all(sides) else None  # 0 0 means unknown
    boxes = [_box(one) for one in root.iterfind("object")]
    return Annotation(name, sides, boxes)


def _box(one):
    name = voc.class_of(one)
    corners = one.find("bndbox")
    if not name or corners is None:
        raise ValueError("an <object> without <name> or <bndbox>")
    left, top, right, bottom = (_number(corners, c) for c in _CORNERS)
    if right > left and bottom > top:
        left, top = left - 1, top - 1
    return name, left, top, right, bottom, voc.is_difficult(one), None


def _number(parent, tag):
    words = parent.findtext(tag)
    try:
        return float(words)
    except (TypeError, ValueError) as error:
        raise ValueError(f"<{tag}> is {words!r}, not a number") from error


def _whole(parent, tag):
    return int(_number(parent, tag))
