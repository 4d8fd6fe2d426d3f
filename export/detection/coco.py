"""COCO: one JSON file for all images; boxes are left, top, width, height."""

import json
import pathlib

from export.detection.annotated import Annotation, LeftOut
from tfclust.data.reading.places import Folder
from tfclust.runtime import folders
from tfclust.runtime.terminal import one_line


def annotations(path, words, argument, uri):
    """Reads a JSON file.

    Args:
      path: of the file.
      words: dict, `images` names the folder of the images; else it is looked
        for beside the file, as COCO is laid out.
      argument, uri: for errors.

    Returns:
      list of `Annotation`; the function name -> bytes that reads an image; the
      names of all categories, by their id; list of `LeftOut`.

    Raises:
      FileNotFoundError: if the file or the folder is missing.
      ValueError: if it is not such a JSON file.
    """
    path = folders.expanded(path)
    told = f"{argument}={one_line(uri)}"
    body = _body(path, told)
    categories = {one["id"]: str(one["name"]) for one in body["categories"]}
    images = {one["id"]: one for one in body["images"]}
    boxes: dict = {identity: [] for identity in images}
    left_out = []
    for number, one in enumerate(body["annotations"]):
        why = _refusal(one, images, categories)
        if why is not None:
            name = f"annotation {one.get('id', number)}"
            left_out.append(LeftOut(name, "box", why))
            continue
        left, top, width, height = map(float, one["bbox"])
        boxes[one["image_id"]].append(
            (
                categories[one["category_id"]], left, top, left + width,
                top + height, bool(one.get("iscrowd", 0)), _area(one),
            )
        )  # fmt: skip
    place = Folder(_folder(path, words.get("images"), images, told))
    found = [
        Annotation(str(one["file_name"]), _size(one), boxes[identity])
        for identity, one in images.items()
    ]
    found.sort(key=lambda one: one.name)
    names = [categories[identity] for identity in sorted(categories)]
    if len(set(names)) < len(names):
        raise ValueError(f"{told}: two categories have one name.")
    return found, place.read, names, left_out


def _body(path, told):
    try:
        body = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{told}: nothing at {path}.") from None
    except IsADirectoryError:
        raise ValueError(f"{told} must be a JSON file, not a folder.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{told} is broken JSON: {error}.") from error
    kinds = {"images": "file_name", "annotations": None, "categories": "name"}
    for part, needs in kinds.items():
        rows = body.get(part) if isinstance(body, dict) else None
        fits = isinstance(rows, list) and all(
            isinstance(r, dict) and (needs is None or {"id", needs} <= r.keys())
            for r in rows
        )
        if not fits:
            words = f" with id and {needs}" if needs else ""
            raise ValueError(
                f"{told} must have a list of {part}{words}, as COCO's "
                "instances have. Received: another JSON file."
            )
    return body


def _refusal(one, images, categories):
    """Why an annotation cannot be used; None if it can."""
    if one.get("image_id") not in images:
        return f"no image has the id {one.get('image_id')!r}"
    if one.get("category_id") not in categories:
        return f"no category has the id {one.get('category_id')!r}"
    box = one.get("bbox")
    numbers = isinstance(box, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) for x in box
    )
    if not numbers or len(box) != 4:
        return f"its bbox is {box!r}, not four numbers"
    return None


def _area(one):
    """The area of an object's mask, by which COCO tells sizes; or None."""
    area = one.get("area")
    is_number = isinstance(area, int | float) and not isinstance(area, bool)
    return area if is_number and 0 < area < float("inf") else None


def _size(one):
    width, height = one.get("width"), one.get("height")
    whole = isinstance(width, int) and isinstance(height, int)
    return (width, height) if whole and width and height else None


def _folder(path, given, images, told):
    """The folder of the images."""
    if given is not None:
        folder = folders.expanded(given)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{told}: images= must be a folder. Found nothing at {folder}."
            )
        return folder
    # COCO has annotations/instances_val2017.json beside val2017/.
    split = path.stem.rpartition("_")[2]
    beside, above = path.parent, path.parent.parent
    candidates = [
        beside, beside / "images", beside / split, above / split,
        above / "images", above / "images" / split,
    ]  # fmt: skip
    first = next((str(i["file_name"]) for i in images.values()), "")
    for folder in candidates:
        if first and (folder / pathlib.PurePath(first)).is_file():
            return folder
    raise FileNotFoundError(
        f"{told}: the folder with {one_line(first) or 'the images'} was not "
        f"found beside {path.name}. Give it: ?images=/folder."
    )
