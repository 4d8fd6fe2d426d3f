"""A SavedModel in TensorFlow's C++ runtime, by its C interface, without Python.

TF Serving is built on the same loader and the same session. The libraries are
those of the TensorFlow wheel; `ctypes` frees Python's lock during a call, so
that threads run side by side.
"""

import ctypes
import functools
import importlib.util
import pathlib

import numpy as np

_STRING = 7  # TF_STRING of TF_DataType; all others are plain numbers
_STRING_BYTES = 24  # of a TF_TString
_LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
_POINTER = ctypes.c_void_p


class RuntimeFailure(Exception):
    """What the runtime says, with its code (as gRPC's)."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


class _Output(ctypes.Structure):
    """TF_Output: an operation and the number of its output."""

    _fields_ = (("operation", _POINTER), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = (
        ("data", _POINTER),
        ("length", ctypes.c_size_t),
        ("deallocator", _POINTER),
    )


# Result and arguments; `p` is a pointer, `z` a size, `i` an int, `s` bytes.
_FUNCTIONS = {
    "TF_AllocateTensor": "pipiz",
    "TF_CloseSession": "_pp",
    "TF_DeleteBuffer": "_p",
    "TF_DeleteGraph": "_p",
    "TF_DeleteSession": "_pp",
    "TF_DeleteSessionOptions": "_p",
    "TF_DeleteStatus": "_p",
    "TF_DeleteTensor": "_p",
    "TF_Dim": "lpi",
    "TF_GetCode": "ip",
    "TF_GraphOperationByName": "pps",
    "TF_LoadSessionFromSavedModel": "pppspippp",
    "TF_Message": "sp",
    "TF_NewBuffer": "p",
    "TF_NewGraph": "p",
    "TF_NewSessionOptions": "p",
    "TF_NewStatus": "p",
    "TF_NumDims": "ip",
    "TF_SessionRun": "_ppppippipipp",
    "TF_SetConfig": "_pszp",
    "TF_StringCopy": "_psz",
    "TF_StringDealloc": "_p",
    "TF_StringGetDataPointer": "pp",
    "TF_StringGetSize": "zp",
    "TF_StringInit": "_p",
    "TF_TensorByteSize": "zp",
    "TF_TensorData": "pp",
    "TF_TensorType": "ip",
}
_KINDS = {
    "_": None,
    "i": ctypes.c_int,
    "l": ctypes.c_int64,
    "p": _POINTER,
    "s": ctypes.c_char_p,
    "z": ctypes.c_size_t,
}


class Session:
    """A version that is loaded; `run` may be called from any thread.

    Args:
      path: of the version, the folder that holds `saved_model.pb`.
      threads: int, of the runtime's pool for one operation; 0 for one a core.

    Attributes:
      signatures: dict of a name to its `SignatureDef`.

    Raises:
      RuntimeFailure: if the runtime cannot load it.
    """

    def __init__(self, path, threads=0):
        self._library = _library()
        self._graph = self._library.TF_NewGraph()
        self._session = None
        self._operations = {}
        self.signatures = self._load(path, threads)

    def run(self, signature, inputs, outputs=()):
        """What a signature answers.

        Args:
          signature: str, its name.
          inputs: dict of an alias to an array; strings are arrays of objects,
            which are bytes.
          outputs: aliases; empty for all.

        Returns:
          dict of an alias to an array.

        Raises:
          RuntimeFailure: if the call fails.
        """
        spec = self.signatures[signature]
        # Asked for a name that it lacks, protobuf's own map would add it.
        takes, gives = dict(spec.inputs), dict(spec.outputs)
        names = list(outputs or gives)
        fed = self._outputs(takes[name].name for name in inputs)
        fetched = self._outputs(gives[name].name for name in names)
        tensors = []
        try:
            for array in inputs.values():
                tensors.append(self._tensor(array))
            found = self._run(fed, tensors, fetched)
        finally:
            for tensor in tensors:
                self._delete(tensor, is_ours=True)
        try:
            arrays = [self._array(tensor) for tensor in found]
        finally:
            for tensor in found:
                self._delete(tensor)
        return dict(zip(names, arrays, strict=True))

    def close(self):
        """Frees the session; no call may be under way."""
        if self._session is not None:
            with _status(self._library) as status:
                self._library.TF_CloseSession(self._session, status.pointer)
                self._library.TF_DeleteSession(self._session, status.pointer)
            self._session = None
        if self._graph is not None:
            self._library.TF_DeleteGraph(self._graph)
            self._graph = None

    def _load(self, path, threads):
        # TensorFlow's protos; their import brings the rest of the package.
        from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

        library = self._library
        config = config_pb2.ConfigProto(intra_op_parallelism_threads=threads)
        words = config.SerializeToString()
        options = library.TF_NewSessionOptions()
        about = library.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with _status(library) as status:
                library.TF_SetConfig(options, words, len(words), status.pointer)
                status.check()
                self._session = library.TF_LoadSessionFromSavedModel(
                    options, None, str(path).encode(), tags, 1,
                    self._graph, about, status.pointer,
                )  # fmt: skip
                status.check()
            buffer = ctypes.cast(about, ctypes.POINTER(_Buffer)).contents
            graph = meta_graph_pb2.MetaGraphDef.FromString(
                ctypes.string_at(buffer.data, buffer.length)
            )
        finally:
            library.TF_DeleteBuffer(about)
            library.TF_DeleteSessionOptions(options)
        return {
            name: spec
            for name, spec in graph.signature_def.items()
            if not name.startswith("__")  # the runtime's own
        }

    def _outputs(self, names):
        """An array of TF_Output from names such as `operation:0`."""
        found = []
        for name in names:
            operation, _, index = name.partition(":")
            if operation not in self._operations:
                self._operations[operation] = (
                    self._library.TF_GraphOperationByName(
                        self._graph, operation.encode()
                    )
                )
            found.append(_Output(self._operations[operation], int(index or 0)))
        return (_Output * len(found))(*found)

    def _run(self, fed, tensors, fetched):
        given = (_POINTER * len(tensors))(*tensors)
        found = (_POINTER * len(fetched))()
        with _status(self._library) as status:
            self._library.TF_SessionRun(
                self._session, None, fed, given, len(fed), fetched, found,
                len(fetched), None, 0, None, status.pointer,
            )  # fmt: skip
            status.check()
        return list(found)

    def _tensor(self, array):
        """A TF_Tensor with the values of an array."""
        library, dims = self._library, (ctypes.c_int64 * array.ndim)
        shape = dims(*array.shape)
        if array.dtype != object:
            array = np.asarray(array, order="C")
            number = _numbers_of_types()[array.dtype.type]
            tensor = library.TF_AllocateTensor(
                number, shape, array.ndim, array.nbytes
            )
            place = library.TF_TensorData(tensor)
            if array.nbytes:
                ctypes.memmove(place, array.ctypes.data, array.nbytes)
            return tensor
        size = array.size * _STRING_BYTES
        tensor = library.TF_AllocateTensor(_STRING, shape, array.ndim, size)
        begin = library.TF_TensorData(tensor) or 0
        for i, value in enumerate(array.ravel().tolist()):
            library.TF_StringInit(begin + i * _STRING_BYTES)
            library.TF_StringCopy(begin + i * _STRING_BYTES, value, len(value))
        return tensor

    def _array(self, tensor):
        """The values of a TF_Tensor."""
        library = self._library
        shape = [
            library.TF_Dim(tensor, i) for i in range(library.TF_NumDims(tensor))
        ]
        number = library.TF_TensorType(tensor)
        begin = library.TF_TensorData(tensor) or 0
        if number != _STRING:
            data = ctypes.string_at(begin, library.TF_TensorByteSize(tensor))
            return np.frombuffer(data, _types_of_numbers()[number]).reshape(
                shape
            )
        values = np.empty(int(np.prod(shape)), object)
        for i in range(len(values)):
            place = begin + i * _STRING_BYTES
            values[i] = ctypes.string_at(
                library.TF_StringGetDataPointer(place),
                library.TF_StringGetSize(place),
            )
        return values.reshape(shape)

    def _delete(self, tensor, *, is_ours=False):
        """Frees a tensor; the runtime frees its own strings, not ours."""
        library = self._library
        if is_ours and library.TF_TensorType(tensor) == _STRING:
            begin = library.TF_TensorData(tensor) or 0
            count = library.TF_TensorByteSize(tensor) // _STRING_BYTES
            for i in range(count):
                library.TF_StringDealloc(begin + i * _STRING_BYTES)
        library.TF_DeleteTensor(tensor)


class _status:
    """A context with a TF_Status."""

    def __init__(self, library):
        self._library = library

    def __enter__(self):
        self.pointer = self._library.TF_NewStatus()
        return self

    def __exit__(self, *_):
        self._library.TF_DeleteStatus(self.pointer)

    def check(self):
        code = self._library.TF_GetCode(self.pointer)
        if code:
            words = self._library.TF_Message(self.pointer)
            raise RuntimeFailure(code, words.decode("utf-8", "replace"))


@functools.cache
def _library():
    """The runtime, with the types of its functions."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None and spec.submodule_search_locations
    folder = pathlib.Path(spec.submodule_search_locations[0])
    missing = [name for name in _LIBRARIES if not (folder / name).is_file()]
    if missing:
        raise OSError(
            "the local server needs TensorFlow's C++ libraries, which its "
            f"wheels for Linux hold. Found no {missing[0]} in {folder}. Use "
            "TF Serving itself: see docker-compose.yml of export.serving.serve."
        )
    ctypes.CDLL(str(folder / _LIBRARIES[0]), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / _LIBRARIES[1]))
    for name, letters in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, *arguments = (_KINDS[letter] for letter in letters)
        function.argtypes = arguments
    return library


@functools.cache
def _types_of_numbers():
    """NumPy's types by TF_DataType."""
    from tensorflow.dtypes import as_dtype

    found = {}
    for number in range(1, 24):
        try:
            found[number] = as_dtype(number).as_numpy_dtype
        except (TypeError, KeyError):
            continue
    return found


@functools.cache
def _numbers_of_types():
    return {
        kind: number for number, kind in reversed(_types_of_numbers().items())
    }
