"""The versions that the local server has loaded, found as TF Serving does."""

import pathlib
import threading
from typing import NamedTuple

import numpy as np

from export.serving.local.c_interface import RuntimeFailure
from export.serving.local.session import Session
from tfclust.saved_model import labels, newest_version

INVALID, NOT_FOUND, FAILED_PRECONDITION = 3, 5, 9  # codes, as gRPC's
WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")


class Refused(Exception):
    """A request that gets no answer, with gRPC's code and a sentence."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


class Version(NamedTuple):
    """A loaded version."""

    model: str
    number: int
    session: Session


class Models:
    """Models by their name; each has its versions, and labels of some.

    Args:
      folders: dict of a name to the folder of its versions.
      threads: int, of the runtime for one operation; 0 for one a core.
      warm_up: whether the requests that an export keeps for it are replayed
        before a version answers, as TF Serving does.

    Raises:
      FileNotFoundError: if a folder has no version.
      ValueError: if a version cannot be loaded.
    """

    def __init__(self, folders, *, threads=0, warm_up=True):
        self._folders = {n: pathlib.Path(p) for n, p in folders.items()}
        self._threads, self._warm_up = threads, warm_up
        self._loaded: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()
        for name in self._folders:
            self.reload(name)

    def reload(self, name):
        """Loads the versions that are labelled, or the newest; forgets others.

        A request that is under way keeps its version until it has its answer.
        """
        folder = self._folders[name]
        named = labels.read(folder)
        newest = int(newest_version(folder).name)
        wanted = named.named() or {newest}
        with self._lock:
            before = self._loaded.get(name, {})
        loaded = {
            number: before.get(number) or self._load(name, number)
            for number in sorted(wanted)
        }
        with self._lock:
            self._loaded[name], self._labels[name] = loaded, named.labels

    def names(self):
        """Names of all models."""
        return list(self._folders)

    def versions(self, name):
        """Numbers of the versions of a model that are loaded."""
        with self._lock:
            if name not in self._loaded:
                raise Refused(NOT_FOUND, f"Could not find model {name}")
            return sorted(self._loaded[name])

    def find(self, name, number=None, label=None):
        """The `Version` that a request means: by number, by label, the newest.

        Raises:
          Refused: if there is none.
        """
        with self._lock:
            loaded = self._loaded.get(name)
            if loaded is None:
                raise Refused(
                    NOT_FOUND, f"Servable not found for request: Latest({name})"
                )
            if label is not None:
                number = self._labels[name].get(label)
                if number is None:
                    raise Refused(
                        INVALID, f"Unrecognized servable version label: {label}"
                    )
            if number is None:
                number = max(loaded)
            if number not in loaded:
                raise Refused(
                    NOT_FOUND,
                    "Servable not found for request: "
                    f"Specific({name}, {number})",
                )
            return loaded[number]

    def _load(self, name, number):
        path = self._folders[name] / str(number)
        try:
            version = Version(name, number, Session(path, self._threads))
            if self._warm_up:
                replay(path / WARM_UP, version)
        except RuntimeFailure as error:
            raise ValueError(
                f"models={path} cannot be loaded: {error}. Export it again."
            ) from error
        return version


def replay(path, version):
    """Sends the requests of a warm-up file to a version.

    Returns:
      int, how many there were.

    Raises:
      RuntimeFailure: if one fails.
    """
    if not pathlib.Path(path).is_file():
        return 0
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        version.session.run(
            request.model_spec.signature_name or "serving_default", inputs
        )
        count += 1
    return count


def answer(version, signature, inputs, outputs=()):
    """What a version says to inputs; refused as TF Serving words it.

    Args:
      version: `Version`.
      signature: str. inputs: dict of arrays. outputs: aliases, empty for all.

    Returns:
      dict of an alias to an array.

    Raises:
      Refused: with gRPC's code.
    """
    signatures = version.session.signatures
    if signature not in signatures:
        raise Refused(
            FAILED_PRECONDITION,
            f'Serving signature key "{signature}" not found.',
        )
    spec = signatures[signature]
    if set(inputs) != set(spec.inputs):
        raise Refused(
            INVALID,
            "input keys must be "
            f"{', '.join(sorted(spec.inputs))}. Received: "
            f"{', '.join(sorted(inputs)) or 'none'}.",
        )
    unknown = set(outputs) - set(spec.outputs)
    if unknown:
        raise Refused(
            INVALID,
            "output tensor alias not found in signature: "
            f"{', '.join(sorted(unknown))}",
        )
    for name, array in inputs.items():
        _check_kind(name, np.asarray(array), spec.inputs[name].dtype)
    try:
        return version.session.run(signature, inputs, outputs)
    except RuntimeFailure as error:
        raise Refused(error.code, str(error).split("\n")[0]) from error


def _check_kind(name, array, number):
    import tensorflow as tf

    wanted = tf.dtypes.as_dtype(number)
    if array.dtype != wanted.as_numpy_dtype:
        raise Refused(
            INVALID,
            f"input {name} must be {wanted.name}. Received: {array.dtype}.",
        )
