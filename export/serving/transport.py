"""A server by its URL, over gRPC or REST, and what it says of its models."""

import re
import urllib.parse
from typing import NamedTuple

from export.serving.faults import FATAL, Fault

_NUMERIC_HOST = re.compile(r"\[[0-9a-fA-F:.]+\]|[^\[\]:/@]+")
SCHEMES = {"grpc": 8500, "http": 8501}  # and TF Serving's usual ports
DEFAULT_SIGNATURE = "serving_default"


class Column(NamedTuple):
    """An input or an output of a signature."""

    dtype: str  # NumPy's name; "object" for strings
    shape: tuple | None  # -1 where it is open; None if nothing is known


class Signature(NamedTuple):
    """What one of a model's functions takes and gives, by alias."""

    inputs: dict[str, Column]
    outputs: dict[str, Column]


class Described(NamedTuple):
    """A version of a model that a server has loaded."""

    model: str
    version: int | None  # None if the server knows no versions
    signatures: dict[str, Signature]


def connect(url):
    """A transport for `grpc://host:port` or `http://host:port`.

    It has `describe(model, version, label, deadline)`, which returns
    `Described`, and `predict(target, inputs, outputs, deadline)`, which returns
    a dict of arrays; both may be called from any thread and raise `Fault`.

    Raises:
      ValueError: for another URL.
    """
    scheme, host, port = parted(url)
    if scheme == "grpc":
        from export.serving.grpc_transport import GrpcTransport

        return GrpcTransport(host, port)
    from export.serving.rest_transport import RestTransport

    return RestTransport(host, port)


def parted(url):
    """Scheme, host and port of a server's URL.

    Raises:
      ValueError: if it is not such a URL.
    """
    refusal = ValueError(
        "url must be grpc://host:8500 or http://host:8501. Received: "
        f"url={url}."
    )
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refusal from error
    if (
        parts.scheme not in SCHEMES
        or not parts.hostname
        or not _NUMERIC_HOST.match(parts.netloc)
        or parts.path.strip("/")
        or parts.query
        or parts.username
    ):
        raise refusal
    return parts.scheme, parts.hostname, port or SCHEMES[parts.scheme]


def described(model, version, signature_map):
    """`Described` from protobuf's `{name: SignatureDef}`."""
    return Described(
        model,
        version,
        {
            name: Signature(_columns(spec.inputs), _columns(spec.outputs))
            for name, spec in signature_map.items()
            if not name.startswith("__")
        },
    )


def checked_answer(arrays, rows):
    """The answer, if every array has a row for each image.

    Raises:
      Fault: if the server's answer is not of that form.
    """
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != rows:
            raise Fault(
                FATAL,
                f"the server answered {name} of shape {list(array.shape)} to "
                f"{rows} images: expected a row for each",
            )
    return arrays


def _columns(tensors):
    from tensorflow.dtypes import as_dtype

    found = {}
    for alias, info in tensors.items():
        kind = as_dtype(info.dtype).base_dtype
        shape = None
        if not info.tensor_shape.unknown_rank:
            shape = tuple(dim.size for dim in info.tensor_shape.dim)
        dtype = "object" if kind.name == "string" else kind.as_numpy_dtype
        found[alias] = Column(
            dtype if isinstance(dtype, str) else dtype.__name__, shape
        )
    return found
