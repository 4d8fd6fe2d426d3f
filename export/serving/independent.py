"""What Triton and KServe have in common here: a model, and its own answers."""

import contextlib

import numpy as np

from export.serving.faults import ServingError, Unsendable
from export.serving.transport import DEFAULT_SIGNATURE
from tfclust.saved_model import newest_version
from tfclust.saved_model.damage import telling_damage

INPUT = "image_bytes"


class Model:
    """The newest version of an export, loaded by TensorFlow.

    Args:
      name: str, by which it is served. folder: of its versions.

    Raises:
      ServingError: if it does not take encoded images.
      ValueError: if it cannot be loaded.
    """

    def __init__(self, name, folder):
        import tensorflow as tf

        self.name = name
        path = newest_version(folder)
        with telling_damage(f"models={path}", "Export it again."):
            self._loaded = tf.saved_model.load(str(path))
        signatures = self._loaded.signatures
        self._compute = signatures.get(DEFAULT_SIGNATURE)
        inputs = self._compute and self._compute.structured_input_signature[1]
        if not inputs or set(inputs) != {INPUT}:
            raise ServingError(
                f"models={path} must have a signature {DEFAULT_SIGNATURE} that "
                f"takes {INPUT}. Received: "
                f"{', '.join(inputs or sorted(signatures)) or 'none'}. Give an "
                "export of tfclust."
            )
        self.outputs = self._compute.structured_outputs  # TensorSpecs by name

    def answers(self, files):
        """Its answers to encoded images, a dict of arrays."""
        import tensorflow as tf

        found = self._compute(**{INPUT: tf.constant(files, tf.string)})
        return {name: rows.numpy() for name, rows in found.items()}


def files_to_send(uri, count):
    """`count` encoded images of a source, the first ones again if it has less.

    Raises:
      ValueError: if none of them can be sent.
    """
    from export.serving.pictures import Pictures

    shown = Pictures(uri, max_bytes=1 << 25)
    files: list[bytes] = []
    for position in range(len(shown)):
        if len(files) == count:
            break
        with contextlib.suppress(Unsendable):
            files.append(shown.encoded(position))
    if not files:
        raise ValueError(
            "check_images must have an image that can be sent. Received: "
            f"check_images={uri}, without."
        )
    return (files * count)[:count]


def refuse_others(found, own, server):
    """Raises ServingError if a server's answers are not the model's own.

    Args:
      found: dict of arrays, which may have further axes of one.
      own: what `Model.answers` returned.
      server: str, for the error, such as "Triton's grpc".
    """
    for name, rows in own.items():
        answer = np.asarray(found.get(name, ()))
        same = answer.size == rows.size
        if same and rows.dtype.kind == "f":
            # Other batches may round differently.
            answer = answer.reshape(rows.shape)
            same = np.allclose(answer, rows, rtol=0, atol=1e-5, equal_nan=True)
        elif same:
            same = np.array_equal(answer.reshape(rows.shape), rows)
        if not same:
            raise ServingError(f"{server}: its {name} is not the model's own.")
