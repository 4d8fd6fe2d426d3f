"""TensorFlow's C interface by `ctypes`, as far as a session needs it.

`ctypes` frees Python's lock during a call, so that threads run side by side.
"""

import ctypes
import functools
import importlib.util
import pathlib

_LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
POINTER = ctypes.c_void_p


class RuntimeFailure(Exception):
    """What the runtime says, with its code (as gRPC's)."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


class Output(ctypes.Structure):
    """TFOutput: an operation and the number of its output."""

    _fields_ = (("operation", POINTER), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
    """TFBuffer."""

    _fields_ = (
        ("data", POINTER),
        ("length", ctypes.c_size_t),
        ("deallocator", POINTER),
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
    "p": POINTER,
    "s": ctypes.c_char_p,
    "z": ctypes.c_size_t,
}


class Status:
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
def library():
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
def types_of_numbers():
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
def numbers_of_types():
    """TF_DataType by NumPy's types."""
    return {
        kind: number for number, kind in reversed(types_of_numbers().items())
    }
