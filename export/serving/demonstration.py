"""Serves an export and asks it about images, all on this computer.

python -m export.serving.demonstration --models=exports/quickstart \\
    --images='digits:?split=test' --output=exports/quickstart_features.parquet
"""

import dataclasses
import os
import subprocess
import sys

from export.serving import client, exports, local_server
from export.serving.faults import ServingError
from tfclust import options
from tfclust.cli import flags
from tfclust.data import check_uri
from tfclust.options import option
from tfclust.runtime import quiet, terminal


@dataclasses.dataclass(frozen=True)
class DemonstrationConfig:
    """The configuration, a server and a client, one after the other."""

    models: tuple[str, ...] = option(
        (), "Folder of versions, as tfclust.export writes, or name=folder."
    )
    images: str = option("", "The images, such as folder:/my/images.")
    output: str = option("", "File for the answers: .parquet or .npz.")

    def __post_init__(self):
        options.check(self)
        for name in ("models", "images", "output"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be given. See --help.")
        exports.check_one(self.models)


def main():
    """Serves an export and asks it about images, all on this computer."""
    config = flags.read(DemonstrationConfig)
    named = exports.found(config.models)
    check_uri(config.images, "images")
    _configure(config.models[0])
    quiet.import_tensorflow()
    local = local_server.LocalConfig(port=0, rest_port=0)
    (model,) = named
    with local_server.LocalServer(named, local) as server:
        terminal.say(f"The local server listens: {server.grpc_url}")
        client.run(
            client.ClientConfig(
                url=server.grpc_url,
                model=model,
                label=exports.STABLE,
                images=config.images,
                output=config.output,
                restart=True,
            )
        )


def _configure(models):
    """Runs `serve` as a user does."""
    arguments = [sys.executable, "-m", "export.serving.serve"]
    done = subprocess.run(
        [*arguments, f"--models={models}"], env=os.environ, check=False
    )
    if done.returncode:
        raise ServingError(
            f"export.serving.serve ended with {done.returncode}: see above."
        )


if __name__ == "__main__":
    flags.define(DemonstrationConfig)
    flags.run(main)
