"""Serves an exported model by KServe, with its V1 protocol.

python -m export.serving.kserve_server --models=exports/mine
"""

import asyncio
import base64
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from export.serving import client, exports, independent, transport
from export.serving.faults import Fault, ServingError, Unsendable
from export.serving.ports import refuse_taken
from tfclust import options
from tfclust.cli import flags
from tfclust.data import check_uri
from tfclust.options import option
from tfclust.runtime import quiet, terminal

_START_SECONDS = 600  # of a machine that does much else
_AT_ONCE = 32  # images that the model itself answers
_KINDS = {"float32": "FP32", "float64": "FP64", "float16": "FP16"}
_KINDS |= {"string": "BYTES"}


@dataclasses.dataclass(frozen=True)
class KServeConfig:
    """KServe's server on this computer (docs/serving)."""

    models: tuple[str, ...] = option(
        (), "Folder of versions, as tfclust.export writes, or name=folder."
    )
    http_port: int = option(8080, "Port of HTTP.", lower=1, upper=65535)
    check_images: str = option(
        "",
        "Instead of waiting for requests, send these images by "
        "export.serving.client, compare the answers with those of the model "
        "itself, and end.",
    )

    def __post_init__(self):
        options.check(self)
        exports.check_one(self.models)

    @property
    def url(self):
        """Where it listens."""
        return f"http://localhost:{self.http_port}"


def main():
    """Serves an exported model by KServe, with its V1 protocol.

    A request has {"instances": [{"image_bytes": {"b64": "..."}}, ...]}; the
    answer has {"predictions": [...]}, what the SavedModel's serving_default
    returns, a row for each. NaN is null there.
    """
    config = flags.read(KServeConfig)
    ((name, folder),) = exports.found(config.models).items()
    if config.check_images:
        check_uri(config.check_images, "check_images")
    kserve = _kserve()
    refuse_taken(http_port=config.http_port)
    quiet.import_tensorflow()
    model = independent.Model(name, folder)
    if config.check_images:
        with _in_a_process(config, name):
            check(model, config)
        return
    server = kserve.ModelServer(
        http_port=config.http_port, workers=1, enable_grpc=False
    )
    terminal.say(f"KServe serves {name}: {config.url}/v1/models/{name}:predict")
    server.start([_predictor(kserve, model)])


def check(model, config, say=terminal.say):
    """Compares what our client gets from KServe with the model's own answers.

    Raises:
      ServingError: if they differ.
    """
    from export.serving.pictures import Pictures

    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "answers.npz")
        asked = client.ClientConfig(
            url=config.url,
            model=model.name,
            images=config.check_images,
            output=str(output),
        )
        client.run(asked)
        with np.load(output) as stored:
            found = dict(stored)
    shown = Pictures(config.check_images, asked.max_image_bytes)
    positions, files = [], []
    for position in range(len(shown)):
        with contextlib.suppress(Unsendable):
            files.append(shown.encoded(position))
            positions.append(position)
    for begin in range(0, len(files), _AT_ONCE):
        rows = positions[begin : begin + _AT_ONCE]
        columns = {n: found[n][rows] for n in found if n != "about"}
        own = _in_words(model.answers(files[begin : begin + _AT_ONCE]))
        independent.refuse_others(columns, own, "KServe")
    say("http: answers equal the model's own.")


def _in_words(answers):
    """Strings as the client writes them."""
    return {
        name: np.char.decode(rows.astype(bytes), "utf-8", "backslashreplace")
        if rows.dtype == object
        else rows
        for name, rows in answers.items()
    }


@contextlib.contextmanager
def _in_a_process(config, name):
    """The server as a user starts it, until it answers; ends with the context.

    Raises:
      ServingError: if it does not start.
    """
    words = [f"--models={config.models[0]}", f"--http_port={config.http_port}"]
    module = [sys.executable, "-m", "export.serving.kserve_server"]
    server = subprocess.Popen(
        [*module, *words],
        env={**os.environ, "KSERVE_LOGLEVEL": "WARNING"},
        stdout=subprocess.DEVNULL,
    )
    asks = transport.connect(config.url)
    ends = time.monotonic() + _START_SECONDS
    try:
        while True:
            try:
                asks.describe(name, None, None, 5)
                break
            except Fault as fault:
                if server.poll() is not None:
                    raise ServingError(
                        f"KServe's server has ended with {server.returncode}: "
                        "see above."
                    ) from fault
                if time.monotonic() > ends:
                    raise ServingError(
                        f"KServe does not answer at {config.url} within "
                        f"{_START_SECONDS} seconds: {fault}. Try again when "
                        "the machine is less busy."
                    ) from fault
            time.sleep(0.2)
        yield
    finally:
        asks.close()
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _kserve():
    try:
        import kserve
    except ImportError as error:
        raise ServingError(
            f"KServe's server is not installed. Received: {error}. `make "
            "serve-kserve` makes an environment for it."
        ) from error
    return kserve


def _predictor(kserve, model):
    """What KServe asks for answers: its `Model` over ours."""
    base: Any = kserve.Model

    class Predictor(base):
        def __init__(self):
            super().__init__(model.name)
            self.ready = True

        def get_input_types(self):
            return [
                {"name": independent.INPUT, "datatype": "BYTES", "shape": [-1]}
            ]

        def get_output_types(self):
            return [
                {"name": name, "datatype": _kind(spec), "shape": _shape(spec)}
                for name, spec in model.outputs.items()
            ]

        async def predict(self, payload, headers=None, response_headers=None):
            try:
                files = _files(payload)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise kserve.errors.InvalidInput(
                    'a request must be {"instances": [{"image_bytes": {"b64": '
                    f'"..."}}}}, ...]}}. Received: {error!r}.'
                ) from error
            # A thread of its own: others are answered meanwhile.
            found = await asyncio.to_thread(model.answers, files)
            return {"predictions": _rows(found)}

    return Predictor()


def _files(payload):
    """Encoded images of a request of V1, which may name the input or not."""
    instances = payload["instances"]
    if not instances:
        raise ValueError("no instance")
    named = [row.get(independent.INPUT, row) for row in instances]
    return [base64.b64decode(row["b64"], validate=True) for row in named]


def _rows(answers):
    """A dict for each image, or its value where there is one output alone."""
    columns = {name: _plain(array.tolist()) for name, array in answers.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def _plain(values):
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, bytes):
        return values.decode("utf-8", "replace")
    return values


def _kind(spec):
    return _KINDS.get(spec.dtype.name, spec.dtype.name.upper())


def _shape(spec):
    return [-1 if side is None else side for side in spec.shape]


if __name__ == "__main__":
    flags.define(KServeConfig)
    flags.run(main)
