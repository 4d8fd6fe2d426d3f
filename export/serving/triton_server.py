"""Serves an exported model by Triton, with the KServe V2 protocol.

python -m export.serving.triton_server --models=exports/mine
"""

import dataclasses
import os
import signal
import sysconfig
import threading

import numpy as np

from export.serving import exports, independent
from export.serving.faults import ServingError
from export.serving.ports import refuse_taken
from tfclust import options
from tfclust.cli import flags
from tfclust.data import check_uri
from tfclust.options import option
from tfclust.runtime import quiet, terminal

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

    Attributes:
      model: `independent.Model`.

    Raises:
      ServingError: if PyTriton is not installed, or a port is taken.
      ValueError: if the model cannot be loaded.
    """

    def __init__(self, name, folder, config):
        triton, batch, kinds = _pytriton()
        ports = {
            f"{name}_port": getattr(config, f"{name}_port")
            for name in ("http", "grpc", "metrics")
        }
        refuse_taken(**ports)
        self.model = independent.Model(name, folder)
        self._server = triton.Triton(config=triton.TritonConfig(**ports))
        self._server.bind(
            model_name=name,
            infer_func=batch(self._answer),
            inputs=[
                kinds.Tensor(name=independent.INPUT, dtype=bytes, shape=(1,))
            ],
            outputs=[
                kinds.Tensor(name=n, dtype=_kind(spec), shape=_row(spec))
                for n, spec in self.model.outputs.items()
            ],
            config=kinds.ModelConfig(
                max_batch_size=config.max_batch_size,
                batcher=kinds.DynamicBatcher(
                    max_queue_delay_microseconds=5_000
                ),
            ),
        )

    def __enter__(self):
        self._server.run()
        return self

    def __exit__(self, *error):
        self._server.stop()

    def _answer(self, **inputs):
        rows = self.model.answers(list(inputs[independent.INPUT][:, 0]))
        # A row of one number has a shape of its own for Triton.
        return {n: r[:, None] if r.ndim == 1 else r for n, r in rows.items()}


def _pytriton():
    """PyTriton's modules, with its libraries where it looks for them."""
    # Triton's Python processes look for libpython there.
    libraries = [sysconfig.get_config_var("LIBDIR")]
    libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    try:
        from pytriton import model_config, triton
        from pytriton.decorators import batch
    except ImportError as error:
        raise ServingError(
            f"Triton needs PyTriton. Received: {error}. `make serve-triton` "
            "makes an environment for it; it does not go with NumPy 2."
        ) from error
    return triton, batch, model_config


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
            check(served.model, config)
            return
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()


def check(model, config, say=terminal.say):
    """Compares Triton's answers over both protocols with the model's own.

    Raises:
      ServingError: if they differ.
    """
    from pytriton.client import ModelClient

    files = independent.files_to_send(
        config.check_images, max(_CHECKED_BATCHES)
    )
    ports = {"grpc": config.grpc_port, "http": config.http_port}
    for protocol, port in ports.items():
        with ModelClient(f"{protocol}://localhost:{port}", model.name) as asks:
            for size in _CHECKED_BATCHES:
                some = files[:size]
                given = np.array(some, dtype=object)[:, None]
                found = asks.infer_batch(given)
                own = model.answers(some)
                independent.refuse_others(found, own, f"Triton's {protocol}")
        say(f"{protocol}: answers equal the model's own.")


def _kind(spec):
    import tensorflow as tf

    return bytes if spec.dtype == tf.string else spec.dtype.as_numpy_dtype


def _row(spec):
    sides = [-1 if side is None else side for side in spec.shape[1:]]
    return tuple(sides) or (1,)


if __name__ == "__main__":
    flags.define(TritonConfig)
    flags.run(main)
