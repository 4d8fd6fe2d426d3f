"""TF Serving's REST interface: `/v1/models/<name>[/versions/<n>]:predict`."""

import base64
import http.server
import json
import re
import threading
import urllib.parse

import numpy as np

from export.serving.local.models import INVALID, Refused, answer

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<number>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>:predict|/metadata|)"
)
# As TF Serving turns gRPC's codes into HTTP's.
_STATUSES = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 503,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}
_SECONDS = 60  # that a client may take over its request


class _Server(http.server.ThreadingHTTPServer):
    """A server of `models`, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, models, max_bytes):
        self.models, self.max_bytes = models, max_bytes
        super().__init__(address, _Handler)

    def handle_error(self, request, client_address):
        """A client that has left is no event."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """A request to a `_Server`."""

    server: _Server

    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    # An answer's head and body are two small packets: the second one would
    # wait 40 ms for the first one's receipt.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer(self._read_only)

    def do_POST(self):
        self._answer(self._predict)

    def log_message(self, *_):
        """Silent: a command's output is its own."""

    def _answer(self, act):
        try:
            status, words = 200, act(self._asked())
        except Refused as refused:
            status = _STATUSES.get(refused.code, 500)
            words = {"error": str(refused)}
        except _Http as refused:
            status, words = refused.status, {"error": str(refused)}
        body = json.dumps(words).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asked(self):
        path = urllib.parse.urlsplit(self.path).path
        found = _PATH.fullmatch(urllib.parse.unquote(path))
        if found is None:
            self.close_connection = True
            raise Refused(INVALID, f"Malformed request: {self.command} {path}")
        return found

    def _version(self, asked):
        number = asked["number"] and int(asked["number"])
        return self.server.models.find(asked["name"], number, asked["label"])

    def _read_only(self, asked):
        if asked["verb"] == ":predict":
            raise Refused(INVALID, "predict needs POST")
        if asked["verb"] == "/metadata":
            return _metadata(self._version(asked))
        numbers = self.server.models.versions(asked["name"])
        if asked["number"] or asked["label"]:
            numbers = [self._version(asked).number]
        fine = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [
                {"version": str(n), "state": "AVAILABLE", "status": fine}
                for n in reversed(numbers)
            ]
        }

    def _predict(self, asked):
        body = self._body()
        if asked["verb"] != ":predict":
            raise Refused(INVALID, "a POST must end with :predict")
        version = self._version(asked)
        try:
            request = json.loads(body)
            signature = request.get("signature_name", "serving_default")
            by_row = "instances" in request
            given = request["instances" if by_row else "inputs"]
            if not isinstance(signature, str):
                raise TypeError(f"signature_name is {signature!r}")
        except (
            ValueError, KeyError, AttributeError, TypeError, RecursionError
        ) as error:  # fmt: skip
            raise Refused(INVALID, f"JSON Parse error: {error!r}") from error
        if signature not in version.session.signatures:
            answer(version, signature, {})  # refuses it
        spec = version.session.signatures[signature]
        inputs = _inputs(given, spec, by_row)
        return _words(answer(version, signature, inputs), by_row)

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            raise _Http(411, "Content-Length must be given")
        if int(length) > self.server.max_bytes:
            self.close_connection = True  # what follows is not read
            raise _Http(
                413, f"a request may have {self.server.max_bytes:,} bytes"
            )
        return self.rfile.read(int(length))


class _Http(Exception):
    """A status of HTTP that gRPC has no code for."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


def start(models, address, *, max_bytes):
    """Starts a server in a thread.

    Args:
      models: `Models`.
      address: (host, port); port 0 for a free one.
      max_bytes: int, of a request's body; a larger one is refused unread.

    Returns:
      `http.server.ThreadingHTTPServer`; its `server_port` is its port.

    Raises:
      OSError: if the port is taken.
    """
    server = _Server(address, models, max_bytes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _inputs(given, spec, by_row):
    """Arrays by alias, from the row or the column form."""
    columns = dict(spec.inputs)  # asked for another name, protobuf adds it
    try:
        first = given[0] if by_row and given else None
        if isinstance(first, dict) and set(first) != {"b64"}:
            given = {n: [row[n] for row in given] for n in first}
        if not isinstance(given, dict) or set(given) == {"b64"}:
            given = dict.fromkeys([*columns][:1], given)
        return {
            name: _array(values, columns[name].dtype)
            for name, values in given.items()
        }
    except (
        ValueError, KeyError, TypeError, IndexError, RecursionError
    ) as error:  # fmt: skip
        raise Refused(
            INVALID, f"inputs do not fit the signature: {error!r}"
        ) from error


def _array(values, number):
    import tensorflow as tf

    kind = tf.dtypes.as_dtype(number)
    if kind != tf.string:
        return np.array(values, kind.as_numpy_dtype)
    found = np.array(_bytes(values), object)
    if not all(isinstance(value, bytes) for value in found.ravel()):
        raise ValueError("lists of strings must be of one length")
    return found


def _bytes(values):
    if isinstance(values, list):
        return [_bytes(value) for value in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"], validate=True)
    if not isinstance(values, str):
        raise TypeError(f"a string is expected, not {values!r}")
    return values.encode()


def _words(found, by_row):
    columns = {name: _values(name, array) for name, array in found.items()}
    only = next(iter(columns)) if len(columns) == 1 else None
    if not by_row:
        return {"outputs": columns if only is None else columns[only]}
    try:
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise Refused(
            INVALID, f"outputs have no row for each instance: {error}"
        ) from error
    if only is not None:
        rows = [row[only] for row in rows]
    return {"predictions": rows}


def _values(name, array):
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(v).decode()} for v in array.tolist()]
    return _texts(array.tolist())


def _texts(values):
    """Strings of bytes, in lists as deep as they are."""
    if isinstance(values, list):
        return [_texts(value) for value in values]
    return values.decode("utf-8", "replace")


def _metadata(version):
    from google.protobuf import json_format

    signatures = {
        name: json_format.MessageToDict(spec, preserving_proto_field_name=True)
        for name, spec in version.session.signatures.items()
    }
    return {
        "model_spec": {
            "name": version.model,
            "signature_name": "",
            "version": str(version.number),
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
