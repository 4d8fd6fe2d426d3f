"""Weights that do not load, as `test_bad_input` gives them to the commands."""

import functools
import json
import pickle

import numpy as np

from tests.support import published
from tests.support.bad_input import Cases

CASES = Cases()
FILE = "weights.safetensors"


@functools.cache
def _arrays():
    return published.resnet()


def _export(folder, name=FILE):
    """The words that export a folder's weights."""
    return [
        "tfclust.export",
        f"--init_from={folder / name}",
        "--backbone=resnet18",
        f"--output={folder / 'export'}",
    ]


def _case(name, pattern):
    """A case of `CASES`: a function that writes into a folder."""

    def listed(write):
        CASES[name] = lambda folder: (write(folder), rf"{FILE}: .*{pattern}")

    return listed


@_case("published weights cut off", r"the tensors must take [\d]+ bytes")
def _(folder):
    path = published.write_safetensors(folder / FILE, _arrays())
    path.write_bytes(path.read_bytes()[:-1000])
    return _export(folder)


@_case("published weights that are no such file", "a header must lie within")
def _(folder):
    (folder / FILE).write_bytes(b"<html>404 Not Found</html>")
    return _export(folder)


@_case("published weights with an array missing", "1 are missing: bn1.bias")
def _(folder):
    arrays = {k: v for k, v in _arrays().items() if k != "bn1.bias"}
    published.write_safetensors(folder / FILE, arrays)
    return _export(folder)


@_case("published weights with an array left over", "1 arrays over.*what's_it")
def _(folder):
    arrays = {**_arrays(), "what's_it": np.ones(3)}
    published.write_safetensors(folder / FILE, arrays)
    return _export(folder)


@_case("published weights of another network", "Give --backbone=resnet34")
def _(folder):
    arrays = published.resnet("resnet34")
    published.write_safetensors(folder / FILE, arrays)
    return _export(folder)


@_case("published weights of a hostile name", r"arrays \(\\n\\x1b\[2J\) begins")
def _(folder):
    published.write_safetensors(folder / FILE, {"\n\x1b[2J": np.ones(3)})
    return _export(folder)


@_case("published weights with a hostile header", "must take")
def _(folder):
    about = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = json.dumps({"conv1.weight": about}).encode()
    length = len(header).to_bytes(8, "little")
    (folder / FILE).write_bytes(length + header)
    return _export(folder)


@CASES.case("PyTorch's weights that are another pickle")
def _(folder):
    class Command:
        def __reduce__(self):
            return open, (str(folder / "unpickled"), "w")

    (folder / "a.pth").write_bytes(pickle.dumps({"conv1.weight": Command()}))
    # With PyTorch and without it.
    return _export(folder, "a.pth"), r"a\.pth: (it holds objects|a PyTorch fi)"


@CASES.case("weights without an output")
def _(folder):
    return _export(folder)[:-1], "output must be given with init_from"


@CASES.case("a folder of weights")
def _(folder):
    words = _export(folder.parent, folder.name)
    return words, "init_from must be a file of weights.*--workdir"


@CASES.case("ImageNet's weights for a network of ours")
def _(folder):
    words = ["tfclust.export", "--init_from=imagenet", f"--output={folder}"]
    return words, "init_from=imagenet means .* backbone=resnet50, the default"
