"""PASCAL VOC's folders: lists of names, and an XML file an image.

Annotations/<name>.xml           what is in an image
JPEGImages/<name>.jpg
ImageSets/Main/<split>.txt       the images of a split
ImageSets/Main/<class>_<split>.txt   1, -1 or 0 (difficult) an image
ImageSets/Segmentation/<split>.txt   those that have masks
SegmentationClass/<name>.png     a class a pixel; 255 is ignored
"""

import xml.etree.ElementTree as ElementTree

from tfclust.runtime.terminal import one_line

ANNOTATIONS, IMAGES, MASKS = "Annotations", "JPEGImages", "SegmentationClass"
SETS = "ImageSets/Main"
SEGMENTATION_SETS = "ImageSets/Segmentation"


def names_in_split(place, split, argument, uri, sets=SETS):
    """Names of a split's images, without their ending, sorted.

    Args:
      place: `places.Folder` or `places.Zip`.
      split: str, a list in `sets`.
      argument, uri: for errors.
      sets: folder of the lists.

    Raises:
      FileNotFoundError: if there is no such list, with those that there are.
    """
    file = f"{sets}/{split}.txt"
    try:
        lines = place.read(file).decode("utf-8", "surrogateescape")
    except OSError as error:
        lists = place.names(sets)
        there = [n.rpartition("/")[2][:-4] for n in lists]
        raise FileNotFoundError(
            f"{argument}={one_line(uri)}: expects {file}. Found "
            f"{', '.join(there) or 'none'}."
        ) from error
    # Lists of one class have 1 or -1 behind the name.
    return sorted({row.split()[0] for row in lines.splitlines() if row.strip()})


def annotated_names(place):
    """Names of all annotations, without their ending, sorted."""
    names = [n for n in place.names(ANNOTATIONS) if n.endswith(".xml")]
    return [n[len(ANNOTATIONS) + 1 : -len(".xml")] for n in names]


def annotation(data):
    """The root element of an annotation's bytes.

    Raises:
      ValueError, ElementTree.ParseError: if they are none.
    """
    root = ElementTree.fromstring(data)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, not <annotation>")
    return root


def image_name(root, name):
    """The file of an annotation's image, below the folder."""
    file = (root.findtext("filename") or "").strip()
    # Some files have a path there, or a name without an ending.
    file = file.replace("\\", "/").rpartition("/")[2]
    if "." not in file:
        file = f"{file or name}.jpg"
    return f"{IMAGES}/{file}"


def class_of(one):
    """The class of an `<object>`, empty if it has none."""
    return (one.findtext("name") or "").strip()


def is_difficult(one):
    """Whether an `<object>` is one that VOC does not ask for."""
    return (one.findtext("difficult") or "0").strip() == "1"
