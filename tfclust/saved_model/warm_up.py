"""Requests that a server replays before a version answers anybody.

TensorFlow optimises a graph at its first call, once for each signature: the
first user would wait for it. TF Serving replays the records of a file that the
version brings along (tensorflow.org/tfx/serving/saved_model_warmup).
"""

import pathlib

import numpy as np

FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
# Batches that a server makes of its requests; powers of two waste little.
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_IMAGE_BYTES = 1 << 20  # each version keeps an image up to six times
_MODEL = "warm_up"  # a server ignores the name, which must not be empty


def encoded_images(source):
    """Files to warm up with, from a source of images.

    Args:
      source: `tfclust.data.Source`.

    Returns:
      list of bytes, the largest batch at most.

    Raises:
      ValueError: if it is a stream, or has only large files.
    """
    if source.is_stream:
        raise ValueError(
            "warmup_images must be images that can be told apart, not a "
            f"stream. Received: warmup_images={source.uri}."
        )
    found = []
    for position in range(source.num_images):
        data = _encoded(source, position)
        if len(data) <= MAX_IMAGE_BYTES:
            found.append(data)
        if len(found) == BATCH_SIZES[-1]:
            break
    if not found:
        raise ValueError(
            "warmup_images must have a file of at most "
            f"{MAX_IMAGE_BYTES:,} bytes, since every version keeps it. "
            f"Received: warmup_images={source.uri}. Give smaller ones."
        )
    return found


def write(folder, images, image_size):
    """Writes the records beside a SavedModel.

    Args:
      folder: of the version. images: list of bytes, encoded.
      image_size: int, side of the images of the signature `images`.

    Returns:
      dict, what the model card says of it.
    """
    import tensorflow as tf

    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in BATCH_SIZES:
            files = [images[i % len(images)] for i in range(size)]
            side = image_size
            grey = tf.make_tensor_proto(0.5, shape=[size, side, side, 3])
            for signature, inputs in (
                (
                    "serving_default",
                    {
                        "image_bytes": tf.make_tensor_proto(
                            np.array(files, object)
                        )
                    },
                ),
                ("images", {"images": grey}),
            ):
                writer.write(_record(signature, inputs))
                count += 1
    return {"records": count, "batch_sizes": list(BATCH_SIZES)}


def check_installed():
    """Raises ValueError if the records' format is not installed."""
    _apis()


def _record(signature, inputs):
    predict_pb2, prediction_log_pb2 = _apis()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = _MODEL
    request.model_spec.signature_name = signature
    for name, proto in inputs.items():
        request.inputs[name].CopyFrom(proto)
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()


def _apis():
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ValueError(
            "warmup_images needs TF Serving's messages. Received: "
            f'{error}. Install them: pip install "tfclust[serving]", or leave '
            "it out."
        ) from error
    return predict_pb2, prediction_log_pb2


def _encoded(source, position):
    if hasattr(source, "read"):
        return source.read(position)[0]
    import tensorflow as tf

    return tf.io.encode_png(source.image(np.int64(position))).numpy()
