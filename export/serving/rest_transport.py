"""TF Serving over REST: JSON, with files in base 64."""

import base64
import contextlib
import http.client
import json
import threading
import time
import urllib.parse

import numpy as np

from export.serving.faults import FATAL, REFUSED, TRANSIENT, Fault
from export.serving.transport import checked_answer, described

_TRANSIENT = (408, 429, 499, 502, 503, 504)
_REFUSED = (400, 409, 413, 500)
_BLOCK = 1 << 16


class RestTransport:
    """A connection a thread, kept open between requests.

    Args:
      host: str. port: int.
    """

    def __init__(self, host, port):
        self._address = host, port
        self._own = threading.local()
        self._all, self._lock = set(), threading.Lock()
        self._closed = False

    def describe(self, model, version, label, deadline):
        from google.protobuf import json_format
        from tensorflow.core.protobuf import meta_graph_pb2

        path = f"{_path(model, version, label)}/metadata"
        words = self._call("GET", path, None, deadline)
        try:
            number = int(words["model_spec"]["version"])
            found = words["metadata"]["signature_def"]["signature_def"]
            signatures = {
                name: json_format.ParseDict(
                    spec,
                    meta_graph_pb2.SignatureDef(),
                    ignore_unknown_fields=True,
                )
                for name, spec in found.items()
            }
        except (KeyError, TypeError, ValueError, json_format.Error) as error:
            raise _odd(f"{error!r}") from error
        return described(model, number, signatures)

    def predict(self, target, inputs, outputs, deadline):
        body = {
            "signature_name": target.signature,
            "inputs": {name: _plain(v) for name, v in inputs.items()},
        }
        path = f"{_path(target.model, target.version, None)}:predict"
        words = self._call("POST", path, json.dumps(body).encode(), deadline)
        found = words.get("outputs")
        columns = target.outputs
        if target.only is not None:  # TF Serving leaves a single name out
            found = {target.only: found}
        rows = len(next(iter(inputs.values())))
        try:
            arrays = {
                name: _array(name, found[name], columns[name].dtype)
                for name in outputs
            }
        except (KeyError, TypeError, ValueError) as error:
            raise _odd(f"{error!r}") from error
        return checked_answer(arrays, rows)

    def close(self):
        """Ends all connections; calls under way fail at once."""
        with self._lock:
            self._closed = True
            connections, self._all = self._all, set()
        for connection in connections:
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(2)  # wakes the thread that reads
            connection.close()

    def _call(self, verb, path, body, deadline):
        """The JSON object that is answered."""
        ends = time.monotonic() + deadline
        try:
            status, data = self._exchange(verb, path, body, ends)
        except TimeoutError as error:
            raise Fault(
                TRANSIENT, f"no answer within {deadline:g} seconds"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or repr(error)
            kind = FATAL if self._closed else TRANSIENT
            raise Fault(kind, words) from error
        try:
            words = json.loads(data)
        except (ValueError, RecursionError) as error:
            words = {"error": data[:200].decode("utf-8", "replace")}
            if status == 200:
                raise _odd(words["error"]) from error
        if not isinstance(words, dict):
            raise _odd(str(words)[:200])
        if status == 200 and "error" not in words:
            return words
        kind = FATAL
        if status in _TRANSIENT:
            kind = TRANSIENT
        elif status in _REFUSED:
            kind = REFUSED
        raise Fault(kind, f"HTTP {status}: {words.get('error', '')}")

    def _exchange(self, verb, path, body, ends):
        """Status and body; a kept connection may have ended meanwhile."""
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            self._own.connection = None
            try:
                return self._exchange_on(connection, verb, path, body, ends)
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException):
                if self._closed:
                    raise
        return self._exchange_on(self._opened(ends), verb, path, body, ends)

    def _opened(self, ends):
        connection = http.client.HTTPConnection(
            *self._address, timeout=_left(ends)
        )
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("closed")
            self._all.add(connection)
        try:
            connection.connect()
        except BaseException:
            self._forget(connection)
            raise
        return connection

    def _exchange_on(self, connection, verb, path, body, ends):
        try:
            connection.sock.settimeout(_left(ends))
            headers = {"Content-Type": "application/json"} if body else {}
            # A server that refuses a large body answers before it has it all.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(verb, path, body, headers)
            response = connection.getresponse()
            blocks = []
            while block := response.read(_BLOCK):
                blocks.append(block)
                # Of the whole exchange: a server may also dribble.
                if connection.sock is not None:
                    connection.sock.settimeout(_left(ends))
            if connection.sock is None:  # the server closes it
                self._forget(connection)
            else:
                self._own.connection = connection
            return response.status, b"".join(blocks)
        except BaseException:
            self._forget(connection)
            raise

    def _forget(self, connection):
        with self._lock:
            self._all.discard(connection)
        connection.close()


def _left(ends):
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _path(model, version, label):
    path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
    if version is not None:
        return f"{path}/versions/{version}"
    if label is not None:
        return f"{path}/labels/{urllib.parse.quote(label, safe='')}"
    return path


def _plain(values):
    """Bytes as base 64, arrays as lists."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.tolist()
    return [{"b64": base64.b64encode(v).decode("ascii")} for v in values]


def _array(name, values, dtype):
    if dtype != "object":
        return np.array(values, dtype)
    if name.endswith("_bytes"):
        values = [base64.b64decode(value["b64"]) for value in values]
    else:
        values = [value.encode() for value in values]
    return np.array(values, object)


def _odd(words):
    return Fault(FATAL, f"the answer is not TF Serving's: {words}")
