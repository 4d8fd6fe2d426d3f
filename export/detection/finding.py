"""A detector's SavedModel on many images; pictures with its boxes."""

import collections
import json
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from export.common import plain_files
from tfclust import data, saved_model
from tfclust.data.reading import decoding
from tfclust.runtime import files, pages, progress, terminal
from tfclust.saved_model.damage import telling_damage

_WAY_OUT = "Train again, or give another version."
_PAGE = pathlib.Path(__file__).with_name("page.html")
_SIDE = 480  # of a picture on the page
_ENLARGED = 4  # times at most, so that words fit into small images
# Told apart with any colour vision (Okabe and Ito 2008).
_COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip


class Counts(NamedTuple):
    """What came of it."""

    images: int
    boxes: int  # with the smallest score or more
    unread: int


class Detector(NamedTuple):
    """A loaded detector."""

    path: pathlib.Path
    call: object  # its signature
    class_names: list


class Box(NamedTuple):
    """One object found."""

    name: str
    score: float
    corners: list  # left, top, right, bottom in pixels


def load(path):
    """The `Detector` in a SavedModel.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, or no detector.
    """
    path = saved_model.newest_version(path)
    names = _class_names(path)
    with telling_damage(f"detector={path}", _WAY_OUT):
        loaded = tf.saved_model.load(str(path))
        call = loaded.signatures["serving_default"]
    missing = {"boxes", "classes", "scores"} - set(call.structured_outputs)
    if missing:
        raise ValueError(
            f"detector={path} must give boxes, classes and scores. Received: "
            f"none called {', '.join(sorted(missing))}. {_WAY_OUT}"
        )
    return Detector(path, call, names)


def _class_names(path):
    """The names of what a detector finds, from its card."""
    try:
        card = json.loads((path / saved_model.CARD_FILE).read_text("utf-8"))
        kind = card.get("kind", "feature extractor")
        names = [str(name) for name in card.get("class_names", ())]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"detector={path} must have a model_card.json, which "
            f"train_detector writes. Received: {error}."
        ) from error
    if kind == "feature extractor":
        raise ValueError(
            f"detector={path} must be a SavedModel of train_detector. "
            f"Received: a {kind}. Train a detector on it: python -m "
            f"export.detection.train_detector --saved_model={path}."
        )
    if kind != "detector" or not names:
        raise ValueError(
            f"detector={path} must be a detector that names its classes. "
            f"Received: a {kind} model with {len(names)} names. {_WAY_OUT}"
        )
    return names


def find(config, page, boxes_file=None):
    """Runs the detector over all images, and writes what it found.

    Args:
      config: `detect.DetectConfig`. page: path of the page.
      boxes_file: path of the file of all boxes, or None.

    Returns:
      `Counts`.

    Raises:
      ValueError: if the images or the detector make no sense.
    """
    detector = load(config.detector)
    source = data.open_source(
        config.images, max_images=config.max_images, argument="images",
        max_bad_share=1.0,
    )  # fmt: skip
    if not hasattr(source, "read"):
        raise ValueError(
            "images must be stored images, a folder or tfrecord:/path. "
            f"Received: images={terminal.one_line(config.images)}."
        )
    cards: list = []
    lines: list = []
    tally: collections.Counter = collections.Counter()
    num_boxes = 0
    unread = [{"name": n, "why": why} for n, why in source.skipped]
    names = source.manifest().names
    for positions, encoded, rows in _batches(source, detector, config):
        for position, bytes_, (boxes, status) in zip(
            positions, encoded, rows, strict=True
        ):
            name = names[position]
            if status != saved_model.OK:
                unread.append({"name": name, "why": status})
                continue
            num_boxes += len(boxes)
            tally.update(box.name for box in boxes)
            lines.append(_line(name, boxes))
            if len(cards) < config.shown_images:
                cards.append(_picture(name, bytes_, boxes, detector))
    if boxes_file is not None:
        files.write_text(boxes_file, "".join(f"{one}\n" for one in lines))
    pages.write(
        page, _PAGE, pictures=cards, unread=unread, counts=tally.most_common(),
        num_images=len(lines), num_boxes=num_boxes,
        detector=terminal.one_line(detector.path), min_score=config.min_score,
        colours=_colours(detector),
    )  # fmt: skip
    return Counts(len(lines), num_boxes, len(unread))


def drawn(image, boxes, colours):
    """The picture with boxes on it, as large as the page shows it.

    Args:
      image: `PIL.Image`, RGB. boxes: list of `Box`.
      colours: `{class name: colour}`.

    Returns:
      A `PIL.Image` of at most 480 pixels a side.
    """
    scale = min(_ENLARGED, _SIDE / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    small = image.resize(size)
    pencil = ImageDraw.Draw(small)
    for box in reversed(boxes):  # the best on top
        left, top, right, bottom = (edge * scale for edge in box.corners)
        corners = [left, top, max(left, right - 1), max(top, bottom - 1)]
        colour = colours[box.name]
        pencil.rectangle(corners, outline=colour, width=2)
        words = f"{box.name} {box.score:.2f}"
        words = words.encode("latin-1", "replace").decode("latin-1")
        place = (left + 3, max(0, top - 11))
        pencil.rectangle(pencil.textbbox(place, words), fill=colour)
        pencil.text(place, words, fill="black")
    return small


def _batches(source, detector, config):
    """(positions, bytes, [(boxes, status)]) for all images in order."""
    with progress.line("Detecting", source.num_images) as line:
        for first in range(0, source.num_images, config.batch_size):
            last = min(first + config.batch_size, source.num_images)
            positions = range(first, last)
            encoded = [_bytes(source, position) for position in positions]
            found = detector.call(image_bytes=tf.constant(encoded))
            found = {name: part.numpy() for name, part in found.items()}
            rows = [
                _row(found, row, detector, config)
                for row in range(last - first)
            ]
            yield positions, encoded, rows
            line.update(last - first)


def _bytes(source, position):
    """An image as people see it; none if it has gone since the check."""
    try:
        encoded, unchanged = source.read(position)
    except OSError:
        return b""
    # What has changed since the check, the detector refuses if it must.
    return plain_files.plain(encoded) if unchanged else encoded


def _row(found, row, detector, config):
    status = found["status"][row].decode()
    count = int(np.sum(found["scores"][row] >= config.min_score))
    count = min(count, int(found["num_boxes"][row]))
    boxes = [
        Box(
            detector.class_names[found["classes"][row][i]],
            float(found["scores"][row][i]),
            found["boxes"][row][i].tolist(),
        )
        for i in range(count)  # best first
    ]
    return boxes, status


def _line(name, boxes):
    rows = [
        {
            "class": box.name,
            "score": round(box.score, 4),
            "box": [round(edge, 1) for edge in box.corners],
        }
        for box in boxes
    ]
    return json.dumps({"image": terminal.one_line(name), "boxes": rows})


def _picture(name, encoded, boxes, detector):
    image = Image.fromarray(decoding.decode_by_pillow(encoded))
    picture = drawn(image, boxes, _colours(detector))
    return {
        "name": terminal.one_line(name),
        "picture": pages.thumbnail(picture, _SIDE),
        "num_boxes": len(boxes),
    }


def _colours(detector):
    return {
        name: _COLOURS[i % len(_COLOURS)]
        for i, name in enumerate(detector.class_names)
    }
