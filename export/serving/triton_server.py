"""Serves an exported model by Triton, with the KServe V2 protocol.

python -m export.serving.triton_server --models=exports/mine
"""

import dataclasses
import os
import signal
import sysconfig
import threading

import numpy as np

from export.serving import exports
from export.serving.faults import ServingError
from tfclust import options
from tfclust.cli import flags
from tfclust.data import check_uri
from tfclust.options import option
from tfclust.runtime import quiet, terminal
from tfclust.saved_model import newest_version

_SIGNATURE, _INPUT = "serving_default", "image_bytes"
_CHECKED_BATCHES = (1, 7, 32)


@dataclasses.dataclass(frozen=True)
class TritonConfig:
    """Triton on this computer, in an environment of its own (docs/serving)."""

    models: tuple[str, ...] = option(
        (), "Folder of versions, as tfclust.export writes, or name=folder."
    )
    http_port: int = option(8000, "Port of HTTP.", lower=1, upper=65535)
    grpc_port: int = option(8001, "Port of gRPC.", lower=1, upper=65535)
    metrics_port: int = option(8002, "Port of figures.", lower=1, upper=65535)
    max_batch_size: int = option(
        64, "Images that requests are joined to, at most.", lower=1
    )
    check_images: str = option(
        "",
        "Instead of waiting for requests, send these images over gRPC and "
        "HTTP, compare the answers with those of the model itself, and end.",
    )

    def __post_init__(self):
        options.check(self)
        exports.check_one(self.models)


class Served:
    """An export behind Triton; a context that ends with the server.

    Args:
      name: str, of the model. folder: `pathlib.Path` of its versions.
      config: `TritonConfig`.

    Raises:
      ServingError: if PyTriton is not installed, or does not start.
    """

    def __init__(self, name, folder, config):
        # Triton's Python processes look for libpython there.
        libraries = [sysconfig.get_config_var("LIBDIR")]
        libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
        try:
            from pytriton import triton
            from pytriton.decorators import batch
            from pytriton.model_config import (
                DynamicBatcher,
                ModelConfig,
                Tensor,
            )
        except ImportError as error:
            raise ServingError(
                f"Triton needs PyTriton. Received: {error}. `make "
                "serve-triton` makes an environment for it; it does not "
                "go with NumPy 2."
            ) from error
        import tensorflow as tf

        self.name = name
        self._loaded = tf.saved_model.load(str(newest_version(folder)))
        self._compute = self._loaded.signatures[_SIGNATURE]
        self._server = triton.Triton(
            config=triton.TritonConfig(
                http_port=config.http_port,
                grpc_port=config.grpc_port,
                metrics_port=config.metrics_port,
            )
        )
        self._server.bind(
            model_name=name,
            infer_func=batch(self._answer),
            inputs=[Tensor(name=_INPUT, dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name=n, dtype=_kind(spec), shape=_row(spec))
                for n, spec in self._compute.structured_outputs.items()
            ],
            config=ModelConfig(
                max_batch_size=config.max_batch_size,
                batcher=DynamicBatcher(max_queue_delay_microseconds=5_000),
            ),
        )

    def __enter__(self):
        self._server.run()
        return self

    def __exit__(self, *error):
        self._server.stop()

    def compute(self, files):
        """The model's own answers to encoded images, a dict of arrays."""
        import tensorflow as tf

        found = self._compute(**{_INPUT: tf.constant(files, tf.string)})
        return {name: rows.numpy() for name, rows in found.items()}

    def _answer(self, **inputs):
        rows = self.compute(list(inputs[_INPUT][:, 0]))
        # A row of one number has a shape of its own for Triton.
        return {n: r[:, None] if r.ndim == 1 else r for n, r in rows.items()}


def main():
    """Serves an exported model by Triton, with the KServe V2 protocol.

    The model takes encoded images, `image_bytes` [B, 1], and returns what the
    SavedModel's serving_default does. For TF Serving's protocols see
    export.serving.serve.
    """
    config = flags.read(TritonConfig)
    ((name, folder),) = exports.found(config.models).items()
    if config.check_images:
        check_uri(config.check_images, "check_images")
    quiet.import_tensorflow()
    with Served(name, folder, config) as served:
        terminal.say(
            f"Triton serves {name}: grpc://localhost:{config.grpc_port}, "
            f"http://localhost:{config.http_port}/v2/models/{name}"
        )
        if config.check_images:
            check(served, config)
            return
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()


def check(served, config, say=terminal.say):
    """Compares Triton's answers over both protocols with the model's own.

    Raises:
      ServingError: if they differ.
    """
    from pytriton.client import ModelClient

    from export.serving import pictures

    shown = pictures.Pictures(config.check_images, max_bytes=1 << 25)
    files = [shown.encoded(i) for i in range(max(_CHECKED_BATCHES))]
    ports = {"grpc": config.grpc_port, "http": config.http_port}
    for protocol, port in ports.items():
        with ModelClient(f"{protocol}://localhost:{port}", served.name) as asks:
            for size in _CHECKED_BATCHES:
                some = files[:size]
                given = np.array(some, dtype=object)[:, None]
                found = asks.infer_batch(given)
                _compare(found, served.compute(some), protocol)
        say(f"{protocol}: answers equal the model's own.")


def _compare(found, expected, protocol):
    for name, rows in expected.items():
        answer = found[name].reshape(rows.shape)
        same = np.array_equal(answer, rows)
        if rows.dtype.kind == "f":
            # Other batches may round differently.
            same = np.allclose(answer, rows, rtol=0, atol=1e-5, equal_nan=True)
        if not same:
            raise ServingError(
                f"{protocol}: Triton's {name} is not the model's own."
            )


def _kind(spec):
    import tensorflow as tf

    return bytes if spec.dtype == tf.string else spec.dtype.as_numpy_dtype


def _row(spec):
    return tuple(spec.shape[1:]) or (1,)


if __name__ == "__main__":
    flags.define(TritonConfig)
    flags.run(main)
