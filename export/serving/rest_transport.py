"""TF Serving over REST, and KServe's V1: JSON, with files in base 64.

Both take rows at `/v1/models/<name>:predict`. KServe has neither versions nor
signatures: what its model takes and gives stands in its V2 metadata.
"""

import base64
import contextlib
import http.client
import json
import threading
import time
import urllib.parse

import numpy as np

from export.serving.faults import (
    FATAL,
    HEAVY,
    REFUSED,
    TRANSIENT,
    Fault,
    is_out_of_memory,
)
from export.serving.transport import (
    DEFAULT_SIGNATURE,
    Column,
    Described,
    Signature,
    checked_answer,
    described,
)

_KIND_OF = {
    **dict.fromkeys((429, 499, 502, 503), TRANSIENT),
    **dict.fromkeys((408, 504), HEAVY),
    **dict.fromkeys((400, 409, 413, 500), REFUSED),
}
_NOT_FOUND = "HTTP 404"
_BLOCK = 1 << 16
# KServe's names of types, where NumPy has others.
_KINDS = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
_KINDS |= {"BYTES": "object", "BOOL": "bool"}


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
        try:
            words = self._call("GET", path, None, deadline)
        except Fault as fault:
            if not str(fault).startswith(_NOT_FOUND):
                raise
            by_kserve = self._described_by_kserve(model, deadline)
            if by_kserve is None:
                raise
            if version is not None or label is not None:
                raise Fault(FATAL, "KServe has no versions or labels") from None
            return by_kserve
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

    def _described_by_kserve(self, model, deadline):
        """`Described` by KServe; None if the server is none."""
        path = f"/v2/models/{urllib.parse.quote(model, safe='')}"
        try:
            words = self._call("GET", path, None, deadline)
            inputs, outputs = map(_columns, (words["inputs"], words["outputs"]))
        except (Fault, KeyError, TypeError, ValueError):
            return None
        signatures = {DEFAULT_SIGNATURE: Signature(inputs, outputs)}
        return Described(model, None, signatures)

    def predict(self, target, inputs, outputs, deadline):
        columns = {name: _plain(values) for name, values in inputs.items()}
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
        body = {"signature_name": target.signature, "instances": rows}
        path = f"{_path(target.model, target.version, None)}:predict"
        words = self._call("POST", path, json.dumps(body).encode(), deadline)
        try:
            found = words["predictions"]
            if target.only is not None:  # TF Serving leaves a single name out
                found = [{target.only: row} for row in found]
            arrays = {
                name: _array(
                    name,
                    [row[name] for row in found],
                    target.outputs[name].dtype,
                )
                for name in outputs
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _odd(f"{error!r}") from error
        return checked_answer(arrays, len(rows))

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
                HEAVY, f"no answer within {deadline:g} seconds"
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
        kind = _KIND_OF.get(status, FATAL)
        why = words.get("error") or words.get("detail") or "without a reason"
        if is_out_of_memory(str(why)):
            kind = HEAVY
        raise Fault(kind, f"HTTP {status}: {why}")

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
        # KServe's JSON has null for NaN, of which NumPy makes NaN again.
        return np.array(values, dtype)
    if name.endswith("_bytes"):
        values = [base64.b64decode(value["b64"]) for value in values]
    return np.array(_encoded(values), object)


def _encoded(values):
    """Bytes of strings, in lists as deep as they are."""
    if isinstance(values, list):
        return [_encoded(value) for value in values]
    return values if isinstance(values, bytes) else values.encode()


def _columns(tensors):
    """`{name: Column}` of KServe's metadata."""
    return {
        one["name"]: Column(
            _KINDS.get(one["datatype"], one["datatype"].lower()),
            tuple(int(side) for side in one["shape"]),
        )
        for one in tensors
    }


def _odd(words):
    return Fault(FATAL, f"the answer is not TF Serving's: {words}")
