"""Serves exported models on this computer, to try them out.

python -m export.serving.local_server --models=exports/mine
"""

import dataclasses
import signal
import threading

from export.serving import exports
from export.serving.faults import ServingError
from export.serving.ports import refuse_taken
from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import quiet, terminal


@dataclasses.dataclass(frozen=True)
class LocalConfig:
    """A server for trying out; for users' requests run TF Serving."""

    models: tuple[str, ...] = option(
        (), "Folders of versions, as tfclust.export writes, or name=folder."
    )
    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(
        8500, "Port of gRPC; 0 for a free one.", lower=0, upper=65535
    )
    rest_port: int = option(
        8501, "Port of REST; 0 for a free one.", lower=0, upper=65535
    )
    threads: int = option(
        8, "Requests of gRPC at a time; more wait.", lower=1, upper=1024
    )
    max_request_bytes: int = option(
        128 << 20, "A larger request is refused unread.", lower=1
    )
    warm_up: bool = option(
        True, "Replay the requests that an export keeps for it."
    )

    def __post_init__(self):
        options.check(self)


class LocalServer:
    """Both protocols over the same models; a context that ends with it.

    Args:
      folders: dict of a name to a folder of versions.
      config: `LocalConfig` for the rest.

    Attributes:
      models: `local.models.Models`.
      grpc_url: str. rest_url: str.

    Raises:
      ServingError: if a port is taken, or the protocol's stubs are not
        installed.
      ValueError: if a version cannot be loaded.
    """

    def __init__(self, folders, config):
        try:
            from export.serving.local import grpc_service, rest_service
        except ImportError as error:
            raise ServingError(
                "the local server needs the generated stubs of TF Serving. "
                f'Received: {error}. Install them: pip install "tfclust'
                '[serving]".'
            ) from error
        from export.serving.local.models import Models

        refuse_taken(config.host, port=config.port, rest_port=config.rest_port)
        self.models = Models(folders, warm_up=config.warm_up)
        self._grpc, port = grpc_service.start(
            self.models,
            f"{config.host}:{config.port}",
            threads=config.threads,
            max_bytes=config.max_request_bytes,
        )
        self.grpc_url = f"grpc://{config.host}:{port}"
        try:
            self._rest = rest_service.start(
                self.models,
                (config.host, config.rest_port),
                max_bytes=config.max_request_bytes,
            )
        except OSError as error:
            self._grpc.stop(None)
            raise ServingError(
                f"rest_port={config.rest_port} cannot be listened on: "
                f"{error.strerror}. Give another, or 0."
            ) from error
        self.rest_url = f"http://{config.host}:{self._rest.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Refuses new requests, and ends those that are under way."""
        self._rest.shutdown()
        self._rest.server_close()
        self._grpc.stop(1).wait()


def main():
    """Serves exported models on this computer, to try them out."""
    config = flags.read(LocalConfig)
    folders = exports.found(config.models)
    quiet.import_tensorflow()
    stopped = threading.Event()
    with quiet.without_decoder_lines(), LocalServer(folders, config) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        for name in folders:
            numbers = ", ".join(map(str, server.models.versions(name)))
            terminal.say(f"Serves {name}, version {numbers}.")
        terminal.say(f"Listens: {server.grpc_url} {server.rest_url}")
        stopped.wait()


if __name__ == "__main__":
    flags.define(LocalConfig)
    flags.run(main)
