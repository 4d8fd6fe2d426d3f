"""Sends images to a model server and keeps the answers in a file.

python -m export.serving.client --url=grpc://localhost:8500 --model=mine \\
    --images=folder:/my/images --output=features.parquet
"""

import dataclasses
import importlib.util
import pathlib
import time

import numpy as np

from export.serving import row_files, rows, sending, transport
from export.serving.faults import FATAL, Fault, ServingError
from tfclust import options
from tfclust.cli import flags
from tfclust.data import check_uri
from tfclust.options import option
from tfclust.runtime import progress, quiet, terminal

_REQUEST_BYTES = 64 << 20  # of the images in one request, and of one more
_BUSY_SECONDS = 60  # of pauses: a server that starts again is back by then
_FILES = "object"
_NAMES = 3  # of a row that are printed


@dataclasses.dataclass(frozen=True)
class ClientConfig:
    """A client of TF Serving, of KServe, or of what speaks their protocols."""

    url: str = option(
        "",
        "The server: grpc://host:8500 or http://host:8501 (REST); KServe's "
        "V1 is REST too, http://host:8080.",
    )
    model: str = option("", "Name of the model on the server.")
    version: int | None = option(
        None, "Version of the model; empty for label, or the newest.", lower=1
    )
    label: str = option(
        "", "Label of the version, such as stable; empty for version."
    )
    signature: str = option(
        transport.DEFAULT_SIGNATURE, "Signature, which takes encoded images."
    )
    images: str = option("", "The images, such as folder:/my/images.")
    output: str = option(
        "", "File for the answers, a row an image: .parquet or .npz."
    )
    outputs: tuple[str, ...] = option(
        (), "Outputs to keep; empty for all of the signature's."
    )
    batch_size: int = option(32, "Images in a request.", lower=1)
    concurrency: int = option(4, "Requests at a time.", lower=1, upper=256)
    deadline: float = option(
        60.0, "For one request.", unit="seconds", lower=0.01
    )
    retries: int = option(
        5,
        "Further tries of a request that may succeed later, for a minute or "
        "more; 0 for none.",
        lower=0,
    )
    max_image_bytes: int = option(
        32 << 20, "A file of more bytes is not sent; its row says so.", lower=1
    )
    restart: bool = option(
        False, "Throw away what is in output, or begun for it."
    )
    show: int = option(5, "Rows to print at the end.", lower=0)

    def __post_init__(self):
        options.check(self)
        transport.parted(self.url)
        for name in ("model", "images", "output"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be given. See --help.")
        if self.version is not None and self.label:
            raise ValueError(
                "give either version or label. Received: "
                f"version={self.version}, label={self.label}."
            )
        if pathlib.PurePath(self.output).suffix not in row_files.SUFFIXES:
            raise ValueError(
                "output must end in .parquet or .npz. Received: output="
                f"{self.output}."
            )


def main():
    """Sends images to a model server and keeps the answers in a file."""
    config = flags.read(ClientConfig)
    check_uri(config.images, "images")
    if config.output.endswith(".parquet") and not _has("pyarrow"):
        raise ServingError(
            "an output of .parquet needs pyarrow. Install it: pip install "
            '"tfclust[serving]", or write .npz.'
        )
    quiet.import_tensorflow()
    run(config)


def run(config):
    """Sends the images of `config`, a `ClientConfig`, and prints a summary.

    Raises:
      ServingError: if the server does not answer, or not for this model.
      ValueError: if images or output cannot be used.
    """
    with rows.Unfinished(config.output, restart=config.restart) as kept:
        server = transport.connect(config.url)
        try:
            target = _target(server, config, kept.planned())
            _send(server, config, target, kept)
        finally:
            server.close()


def _send(server, config, target, kept):
    from export.serving.pictures import Pictures

    pictures = Pictures(config.images, config.max_image_bytes)
    about = {
        "model": target.model,
        "version": target.version,
        "signature": target.signature,
        "outputs": sorted(target.outputs),
        "images": pictures.identity,
        "batch_size": config.batch_size,
        "max_image_bytes": config.max_image_bytes,
    }
    kept.begin(about)
    if kept.done:
        terminal.say(
            f"Continues after {kept.done:,} of {len(pictures):,} images."
        )
    batches = pictures.batches(config.batch_size, kept.done)
    busy = _BUSY_SECONDS if config.retries else 0
    patience = sending.Patience(config.deadline, config.retries, busy)
    sender = sending.Sender(
        server, target, patience, pictures, request_bytes=_REQUEST_BYTES
    )
    begin, first = time.monotonic(), None
    with progress.line("Sending", len(pictures), kept.done) as line:
        try:
            for found in sender.all_rows(batches, config.concurrency):
                first = first or found
                kept.add(found)
                line.update(len(found.status))
        finally:
            kept.flush()
    seconds = time.monotonic() - begin
    _tell(config, target, pictures, kept, first, seconds, about)


def _tell(config, target, pictures, kept, first, seconds, about):
    """Writes the output, and says what it holds."""
    statuses = kept.statuses()
    sent = sum(len(batch) for batch in ([first.positions] if first else []))
    good = sum(status == "ok" for status in statuses)
    kept.finish(pictures.names, pictures.skipped, about)
    if first is not None and sent:
        for i in range(min(config.show, len(first.status))):
            name = pictures.names[first.positions[i]]
            terminal.say(f"  {name}: {_row(first, i)}")
    total = len(statuses) + len(pictures.skipped)
    terminal.say(
        f"{target}: {good:,} of {total:,} images answered in {seconds:.1f} s."
    )
    bad = [
        (name, status)
        for name, status in zip(pictures.names, statuses, strict=True)
        if status != "ok"
    ] + pictures.skipped
    for name, status in bad[:3]:
        terminal.say(f"Without an answer: {name}: {status}")
    if len(bad) > 3:
        terminal.say(f"and {len(bad) - 3:,} more: see the column status.")
    terminal.say(f"Written: {kept.output}")
    if not good:
        raise ServingError(
            f"no image has an answer. First: {bad[0][0]}: {bad[0][1]}."
        )


def _row(found, i):
    """A row in words: numbers and names as they are, long rows by size."""
    words = [found.status[i]] if found.status[i] != "ok" else []
    for name, column in sorted(found.columns.items()):
        words.append(f"{name} {_value(column[i])}")
    return ", ".join(words)


def _value(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not np.ndim(value):
        return f"{value:.4g}"
    names = value.dtype == object and value.ndim == 1
    if not names:
        return f"{list(value.shape)}"
    more = f" and {len(value) - _NAMES:,} more" if len(value) > _NAMES else ""
    return ", ".join(map(_value, value[:_NAMES])) + more


def _target(server, config, planned):
    """The `Target`: a version by its number, so that all rows are of one.

    A client that goes on asks for the version that it began with, even if the
    server has a newer one by now.
    """
    version, label = config.version, config.label or None
    if planned is not None and version is None and label is None:
        version = planned.get("version")
    patience = sending.Patience(min(config.deadline, 10.0), config.retries)

    def ask():
        return server.describe(config.model, version, label, patience.deadline)

    try:
        found = sending.patiently(ask, patience)
    except Fault as fault:
        raise ServingError(_why_not(config, planned, version, fault)) from fault
    signature = found.signatures.get(config.signature)
    if signature is None:
        raise ServingError(
            f"model {config.model} has no signature {config.signature}. It has "
            f"{', '.join(sorted(found.signatures))}."
        )
    takes = [n for n, c in signature.inputs.items() if c.dtype == _FILES]
    if len(signature.inputs) != 1 or not takes:
        fitting = [
            name
            for name, other in sorted(found.signatures.items())
            if [c.dtype for c in other.inputs.values()] == [_FILES]
        ]
        raise ServingError(
            f"signature {config.signature} takes "
            f"{', '.join(sorted(signature.inputs))}, not encoded images. "
            f"Signatures that do: {', '.join(fitting) or 'none'}."
        )
    return sending.Target(
        config.model,
        found.version,
        config.signature,
        takes[0],
        _outputs(config, signature),
        next(iter(signature.outputs)) if len(signature.outputs) == 1 else None,
    )


def _outputs(config, signature):
    """The columns that are asked for; the status always."""
    unknown = set(config.outputs) - set(signature.outputs)
    if unknown:
        raise ServingError(
            f"signature {config.signature} has no output "
            f"{', '.join(sorted(unknown))}. It has "
            f"{', '.join(sorted(signature.outputs))}."
        )
    wanted = {*config.outputs, "status"} if config.outputs else None
    return {
        name: column
        for name, column in sorted(signature.outputs.items())
        if wanted is None or name in wanted
    }


def _why_not(config, planned, version, fault):
    """One line on a server that does not describe the model."""
    asked = f"model {config.model}"
    if version is not None:
        asked += f", version {version}"
    if config.label:
        asked += f", label {config.label}"
    # A server that refuses the model does answer.
    refuses = "invalid argument" in str(fault) or "HTTP 400" in str(fault)
    if fault.kind != FATAL and not refuses:
        return (
            f"no model server answers at {config.url}: {fault}. Is it "
            "running, and is that its port?"
        )
    way_out = "Look at the server's models.config for names and labels."
    if planned is not None and config.version is None and not config.label:
        way_out = (
            "The rows so far are of that version: serve it again, or give "
            "--restart."
        )
    return f"the server at {config.url} refuses {asked}: {fault}. {way_out}"


def _has(package):
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    flags.define(ClientConfig)
    flags.run(main)
