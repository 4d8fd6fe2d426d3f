"""Writes what a model server needs to serve exported models.

python -m export.serving.serve --models=exports/mine
"""

import dataclasses
import re

from export.serving import checking, configuration, exports
from export.serving.configuration import (
    BATCHING_CONFIG,
    MODELS_CONFIG,
    MONITORING,
    MONITORING_CONFIG,
)
from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import files, folders, quiet, terminal
from tfclust.saved_model.labels import CONFIG
from tfclust.saved_model.warm_up import BATCH_SIZES

# The server of the TensorFlow that wrote the export: a newer graph may have
# operations that an older server lacks.
IMAGE = "tensorflow/serving:2.21.0"
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """Configuration of TF Serving."""

    models: tuple[str, ...] = option(
        (), "Folders of versions, as tfclust.export writes, or name=folder."
    )
    output: str = option(
        "",
        "Folder for the files; empty for a folder serving beside the versions "
        "of a single model.",
    )
    stable: int | None = option(
        None,
        "Version that the label stable names; empty to leave it where it is, "
        "at first the newest.",
        lower=1,
    )
    canary: int | None = option(
        None,
        "Version that the label canary names; empty for one newer than stable.",
        lower=1,
    )
    batch_sizes: tuple[int, ...] = option(
        BATCH_SIZES, "Batches that the server makes of requests.", lower=1
    )
    batch_timeout: int = option(
        2000,
        "How long a request waits for others.",
        unit="microseconds",
        lower=0,
    )
    threads: int = option(2, "Batches at a time.", lower=1)
    image: str = option(IMAGE, "Image of the server's container.")
    name: str = option("serving", "Name of the deployment in Kubernetes.")
    replicas: int = option(2, "Servers in Kubernetes.", lower=1)
    claim: str = option(
        "models",
        "PersistentVolumeClaim in Kubernetes that has a folder for each model.",
    )

    def __post_init__(self):
        options.check(self)
        sizes = self.batch_sizes
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(
                "batch_sizes must increase, such as 1,8,32. Received: "
                f"batch_sizes={options.text(sizes)}."
            )
        several = len(self.models) > 1
        if several and not self.output:
            raise ValueError(
                "output must be given for several models: a folder, such as "
                "--output=exports/serving."
            )
        if several and (self.stable or self.canary):
            raise ValueError(
                "stable and canary are versions of one model. Received: "
                f"{len(self.models)} models. Label each by itself first."
            )
        if not _KUBERNETES_NAME.fullmatch(self.name):
            raise ValueError(
                "name must be of at most 63 small letters, digits and hyphens. "
                f"Received: name={self.name}."
            )


def main():
    """Writes what a model server needs to serve exported models."""
    config = flags.read(ServeConfig)
    named = exports.found(config.models)
    found = [
        exports.labelled(name, folder, config.stable, config.canary)
        for name, folder in named.items()
    ]
    quiet.import_tensorflow()
    for export in found:
        for remark in checking.check(export, config.batch_sizes):
            terminal.say(remark)
    _write(config, found)


def _write(config, found):
    beside = found[0].folder / CONFIG.parent
    output = folders.writable("output", config.output or beside)
    texts = {
        MODELS_CONFIG: configuration.models_config(found),
        BATCHING_CONFIG: configuration.batching_config(
            config.batch_sizes, config.batch_timeout, config.threads
        ),
        MONITORING_CONFIG: MONITORING,
    }
    written = {
        **texts,
        "docker-compose.yml": configuration.docker_compose(
            found, config.image, output.resolve()
        ),
        "kubernetes.yaml": configuration.kubernetes(
            found, config.image, texts, config.name, config.replicas,
            config.claim,
        ),
    }  # fmt: skip
    for name, text in written.items():
        files.write_text(output / name, text)
    for export in found:
        # Where the next export looks for versions that it must not remove.
        own = folders.writable("models", export.folder / CONFIG.parent)
        text = configuration.models_config([export])
        if own.resolve() != output.resolve():
            files.write_text(own / CONFIG.name, text)
        labels = [
            f"{label} {number}" for label, number in export.labels.items()
        ]
        terminal.say(f"{export.name}: {', '.join(labels)}")
    terminal.say(f"Written: {output}: {', '.join(written)}")
    terminal.say(
        f"Start the server: docker compose -f {output}/docker-compose.yml up"
    )


if __name__ == "__main__":
    flags.define(ServeConfig)
    flags.run(main)
