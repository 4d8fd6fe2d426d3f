"""A SavedModel in TensorFlow's C++ runtime, by its C interface, without Python.

TF Serving is built on the same loader and the same session. The libraries are
those of the TensorFlow wheel.
"""

import ctypes

import numpy as np

from export.serving.local.c_interface import (
    POINTER,
    Buffer,
    Output,
    Status,
    library,
    numbers_of_types,
    types_of_numbers,
)

_STRING = 7  # TF_STRING of TF_DataType; all others are plain numbers
_STRING_BYTES = 24  # of a TF_TString


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

    _session = _graph = None  # if the libraries are missing

    def __init__(self, path, threads=0):
        self._library = library()
        self._graph = self._library.TF_NewGraph()
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
            with Status(self._library) as status:
                self._library.TF_CloseSession(self._session, status.pointer)
                self._library.TF_DeleteSession(self._session, status.pointer)
            self._session = None
        if self._graph is not None:
            self._library.TF_DeleteGraph(self._graph)
            self._graph = None

    def __del__(self):
        # A version that is forgotten ends with the last request that it has.
        self.close()

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
            with Status(library) as status:
                library.TF_SetConfig(options, words, len(words), status.pointer)
                status.check()
                self._session = library.TF_LoadSessionFromSavedModel(
                    options, None, str(path).encode(), tags, 1,
                    self._graph, about, status.pointer,
                )  # fmt: skip
                status.check()
            buffer = ctypes.cast(about, ctypes.POINTER(Buffer)).contents
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
            found.append(Output(self._operations[operation], int(index or 0)))
        return (Output * len(found))(*found)

    def _run(self, fed, tensors, fetched):
        given = (POINTER * len(tensors))(*tensors)
        found = (POINTER * len(fetched))()
        with Status(self._library) as status:
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
            number = numbers_of_types()[array.dtype.type]
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
            return np.frombuffer(data, types_of_numbers()[number]).reshape(
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
