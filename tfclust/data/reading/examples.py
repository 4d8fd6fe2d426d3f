"""Serialised `tf.train.Example`s: the encoded image and the label in each."""

from typing import NamedTuple

import tensorflow as tf

from tfclust.runtime.terminal import one_line

NO_LABEL = -1
_LOOKED_THROUGH = 256  # examples, in search of one with an image


class Keys(NamedTuple):
    """Names of the features in an example."""

    image: str = "image/encoded"
    label: str | None = "image/class/label"


KEYS = Keys()


class Examples:
    """Reads serialised examples, and refuses them if none has an image.

    It does so after the first few hundred, so that nobody waits for the last of
    a million; or at the end of its context, if there are fewer.

    Args:
      keys: `Keys`.
    """

    def __init__(self, keys):
        self._keys = keys
        self._first = b"", ""
        self._num_without = 0  # before the first that has one
        self._found = False

    def read(self, record, path):
        """The encoded image and the label of an example.

        Args:
          record: bytes. path: str, of its file, for the error.

        Returns:
          bytes, None for a record that is not an example with one image; and
          int, -1 if there is no label.

        Raises:
          ValueError: if it is the last of so many without any image.
        """
        image, label = _image_and_label(record, self._keys)
        if not self._found and not self._num_without:
            self._first = record, path
        self._found = self._found or image is not None
        self._num_without += not self._found
        if self._num_without >= _LOOKED_THROUGH:
            self._refuse()
        return image, label

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self._num_without and not self._found:
            self._refuse()

    def _refuse(self):
        raise ValueError(_wrong_features(*self._first, self._keys))


def _image_and_label(record, keys):
    """Those of a serialised example; no image if it is not one or has none.

    Protobuf reads it: on some damaged examples with correct checksums,
    TensorFlow's own parser ends the process with a segmentation fault.
    """
    nothing = None, NO_LABEL
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception:  # protobuf's own error classes differ by version
        return nothing
    try:
        image = _only_value(features, keys.image, "bytes_list")
        label = _only_value(features, keys.label, "int64_list")
    except ValueError:
        return nothing
    return image or None, NO_LABEL if label is None else label


def _only_value(features, name, kind):
    """The value of a feature; None if there is none of that name.

    Raises:
      ValueError: if it has several values, or values of another kind.
    """
    if not name or name not in features:
        return None
    feature = features[name]
    found = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    if found not in (None, kind) or len(values) > 1:
        raise ValueError(f"{name} does not hold a single value of {kind}.")
    return values[0] if values else None


def _wrong_features(record, path, keys):
    try:
        features = tf.train.Example.FromString(record).features.feature
        found = f"features {', '.join(_in_words(features)) or 'none'}"
    except Exception:  # protobuf's own error classes differ by version
        found = "a record that is not a tf.train.Example"
    return (
        f"{one_line(path)}: records must be tf.train.Examples with one "
        f"{one_line(keys.image)} (bytes) and optionally one "
        f"{one_line(keys.label or 'label')} (int64). Received: {found}. "
        "Write them again, with these features."
    )


def _in_words(features):
    """Names, kinds and numbers of an example's features."""
    for name in sorted(features):
        kind = features[name].WhichOneof("kind") or "nothing"
        values = getattr(getattr(features[name], kind, None), "value", ())
        kind = {"int64_list": "int64"}.get(kind, kind.removesuffix("_list"))
        count = "" if len(values) == 1 else f"{len(values)} "
        yield f"{one_line(name)} ({count}{kind})"
