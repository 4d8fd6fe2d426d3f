"""From a detector's maps to boxes on the image: decoded, cut, thinned out."""

from typing import NamedTuple

import keras
import tensorflow as tf

from export.detection import jitter

MOST_BOXES = 100  # an image
MIN_SCORE = 0.05  # RetinaNet, 4.1
_OVERLAP = 0.5  # of two boxes of a class; the one with the lower score goes


class Found(NamedTuple):
    """The boxes of each image, best first, filled up to `MOST_BOXES`."""

    boxes: tf.Tensor  # float32 [B, 100, 4] in pixels of the image; 0 where none
    classes: tf.Tensor  # int32 [B, 100]; -1 where none
    scores: tf.Tensor  # float32 [B, 100], 0 to 1; 0 where none
    num_boxes: tf.Tensor  # int32 [B]


def find(predicted, anchors, sizes, side):
    """The boxes of a batch of canvases, in pixels of their images; traceable.

    Args:
      predicted: dict with `bbox_regression` `[B, A, 4]` and `cls_logits`
        `[B, A, K]`.
      anchors: float32 `[A, 4]`.
      sizes: int32 `[B, 2]`, height and width of the images before resizing.
      side: int S of the canvas.

    Returns:
      `Found`.
    """
    boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors=tf.constant(anchors),
        boxes_delta=tf.cast(predicted["bbox_regression"], tf.float32),
        anchor_format="xyxy",
        box_format="xyxy",
        encoded_format="center_xywh",
        image_shape=(side, side, 3),
    )
    scores = tf.sigmoid(tf.cast(predicted["cls_logits"], tf.float32))
    sizes = tf.maximum(sizes, 1)
    sides = jitter.sides_of(sizes, side)
    scale = tf.cast(sizes, tf.float32) / tf.cast(sides, tf.float32)  # [B, 2]
    # [B, 1, 4]: width, height, width, height
    scale = tf.gather(scale, [1, 0, 1, 0], axis=1)[:, None]
    limit = tf.cast(tf.gather(sizes, [1, 0, 1, 0], axis=1), tf.float32)
    boxes = tf.clip_by_value(boxes * scale, 0.0, limit[:, None])
    kept = tf.image.combined_non_max_suppression(
        tf.gather(boxes, [1, 0, 3, 2], axis=-1)[:, :, None],
        scores,
        max_output_size_per_class=MOST_BOXES,
        max_total_size=MOST_BOXES,
        iou_threshold=_OVERLAP,
        score_threshold=MIN_SCORE,
        clip_boxes=False,
    )
    places = tf.range(MOST_BOXES)[None]
    there = places < kept.valid_detections[:, None]
    boxes = tf.gather(kept.nmsed_boxes, [1, 0, 3, 2], axis=-1)
    return Found(
        tf.where(there[..., None], boxes, 0.0),
        tf.where(there, tf.cast(kept.nmsed_classes, tf.int32), -1),
        tf.where(there, kept.nmsed_scores, 0.0),
        kept.valid_detections,
    )
