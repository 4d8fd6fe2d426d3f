"""The same model for other runtimes: ONNX, LiteRT and OpenVINO.

Two files a format beside the SavedModel: `backbone`, images to features, and
`images`, the whole signature with clusters. Both take floats `[B, S, S, 3]` in
[0, 1]; decoding stays with who calls them.
"""

import importlib.util
import pathlib
import tempfile
from typing import NamedTuple

FOLDER = pathlib.PurePath("assets.extra")
_OPSET = 18  # of ONNX


class Format(NamedTuple):
    """A format: the packages that write it, and the files' ending."""

    packages: tuple[str, ...]
    suffix: str


FORMATS = {
    "onnx": Format(("onnx", "tf2onnx"), ".onnx"),
    "litert": Format((), ".tflite"),
    "openvino": Format(("openvino", "onnx", "tf2onnx"), ".xml"),
}


def check_installed(formats):
    """Refuses an unknown format, and one whose packages are missing.

    Raises:
      ValueError: with the way out.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(
                f"formats must be of {', '.join(FORMATS)}. Received: "
                f"formats={name}."
            )
        missing = [
            package
            for package in FORMATS[name].packages
            if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise ValueError(
                f"formats={name} needs {' and '.join(missing)}. Install "
                f'them: pip install "tfclust[{name}]", or leave it out.'
            )


def write(folder, backbone, formats):
    """Writes the files of each format beside a SavedModel.

    Args:
      folder: `pathlib.Path` of the version, with its SavedModel.
      backbone: the Keras model that was saved.
      formats: names of `FORMATS`.

    Returns:
      dict of a format to its files, relative to `folder`, for the model card.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    found = {}
    for name in formats:
        suffix = FORMATS[name].suffix
        files = {
            part: FOLDER / f"{part}{suffix}" for part in ("backbone", "images")
        }
        _WRITERS[name](
            folder, backbone, *(folder / path for path in files.values())
        )
        found[name] = [path.as_posix() for path in files.values()]
    return found


def _write_onnx(folder, backbone, backbone_path, images_path):
    backbone.export(
        str(backbone_path), format="onnx", verbose=False, opset_version=_OPSET
    )
    _images_as_onnx(folder, images_path)


def _write_litert(folder, backbone, backbone_path, images_path):
    import tensorflow as tf

    backbone.export(str(backbone_path), format="litert", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["images"]
    )
    images_path.write_bytes(converter.convert())


def _write_openvino(folder, backbone, backbone_path, images_path):
    import openvino

    backbone.export(str(backbone_path), format="openvino", verbose=False)
    # OpenVINO reads every operation of the ONNX file, not of the SavedModel.
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / "images.onnx"
        _images_as_onnx(folder, path)
        model = openvino.convert_model(path)
        openvino.save_model(model, images_path, compress_to_fp16=False)


def _images_as_onnx(folder, path):
    import tensorflow as tf
    import tf2onnx

    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["images"]
    # tf2onnx reads a function of positional arguments.
    spec = signature.structured_input_signature[1]["images"]
    function = tf.function(
        lambda images: signature(images=images), input_signature=[spec]
    )
    tf2onnx.convert.from_function(
        function, input_signature=[spec], opset=_OPSET, output_path=str(path)
    )


_WRITERS = {
    "onnx": _write_onnx,
    "litert": _write_litert,
    "openvino": _write_openvino,
}
