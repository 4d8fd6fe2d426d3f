"""Checkpoints as others publish them, made of random numbers by NumPy alone.

Names and shapes are written down here from the projects' own files, apart from
those that the library derives from its layers.
"""

import json
import math

import numpy as np

DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
_TYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64"}


def write_safetensors(path, arrays):
    """Writes `{name: array}` in the public format; returns the path."""
    header, place, body = {"__metadata__": {"format": "pt"}}, 0, []
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, place + len(data)],
        }
        place += len(data)
        body.append(data)
    words = json.dumps(header).encode()
    path.write_bytes(len(words).to_bytes(8, "little") + words + b"".join(body))
    return path


class Maker:
    """Arrays by name, of values that keep activations of a usual size."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.arrays = {}

    def weights(self, name, shape, bias=False):
        """A convolution or a linear layer, outputs first."""
        fan_in = math.prod(shape[1:])
        values = self.random.standard_normal(shape) * math.sqrt(2 / fan_in)
        self.arrays[f"{name}.weight"] = np.float32(values)
        if bias:
            self._vector(f"{name}.bias", shape[0], -0.1, 0.1)

    def norm(self, name, width):
        """A batch norm with statistics of its own."""
        self._vector(f"{name}.weight", width, 0.5, 1.5)
        self._vector(f"{name}.bias", width, -0.2, 0.2)
        self._vector(f"{name}.running_mean", width, -0.2, 0.2)
        self._vector(f"{name}.running_var", width, 0.5, 1.5)
        self.arrays[f"{name}.num_batches_tracked"] = np.int64(7)

    def _vector(self, name, width, low, high):
        values = self.random.uniform(low, high, width)
        self.arrays[name] = np.float32(values)


def resnet(name="resnet18", *, width=1, stem=7, seed=0):
    """torchvision's arrays of a ResNet, without `fc`."""
    make, deep = Maker(seed), name == "resnet50"
    channels = before = 64 * width
    make.weights("conv1", (channels, 3, stem, stem))
    make.norm("bn1", channels)
    for stage, depth in enumerate(DEPTHS[name], start=1):
        after = channels * (4 if deep else 1)
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            shapes = [(channels, before, 3), (channels, channels, 3)]
            if deep:
                shapes = [
                    (channels, before, 1),
                    (channels, channels, 3),
                    (after, channels, 1),
                ]
            for number, (outputs, inputs, size) in enumerate(shapes, start=1):
                shape = (outputs, inputs, size, size)
                make.weights(f"{prefix}.conv{number}", shape)
                make.norm(f"{prefix}.bn{number}", outputs)
            if block == 0 and (stage > 1 or before != after):
                make.weights(f"{prefix}.downsample.0", (after, before, 1, 1))
                make.norm(f"{prefix}.downsample.1", after)
            before = after
        channels *= 2
    return make.arrays


def swav_head(features, *, hidden=24, width=8, prototypes=(11,), seed=1):
    """Projector and prototypes as SwAV has them, or DeepCluster-v2 (heads)."""
    make = Maker(seed)
    make.weights("projection_head.0", (hidden, features), bias=True)
    make.norm("projection_head.1", hidden)
    make.weights("projection_head.3", (width, hidden), bias=True)
    if len(prototypes) == 1:
        make.weights("prototypes", (prototypes[0], width))
    else:
        for head, count in enumerate(prototypes):
            make.weights(f"prototypes.prototypes{head}", (count, width))
    return make.arrays


ALEXNET = {0: (96, 11), 4: (256, 5), 8: (384, 3), 11: (384, 3), 14: (256, 3)}
VGG16 = {
    0: 64, 3: 64, 7: 128, 10: 128, 14: 256, 17: 256, 20: 256,
    24: 512, 27: 512, 30: 512, 34: 512, 37: 512, 40: 512,
}  # fmt: skip


def alexnet(*, places=36, sobel=True, seed=0):
    """DeepCluster's AlexNet; places: of the last map, 36 from 224 pixels."""
    make, before = Maker(seed), 2 if sobel else 3
    for number, (outputs, size) in ALEXNET.items():
        shape = (outputs, before, size, size)
        make.weights(f"features.{number}", shape, bias=True)
        make.norm(f"features.{number + 1}", outputs)
        before = outputs
    make.weights("classifier.1", (4096, 256 * places), bias=True)
    make.weights("classifier.4", (4096, 4096), bias=True)
    return {**make.arrays, **(edges() if sobel else {})}


def vgg16(*, places=49, sobel=True, seed=0):
    """DeepCluster's VGG16; places: of the last map, 49 from 224 pixels."""
    make, before = Maker(seed), 2 if sobel else 3
    for number, outputs in VGG16.items():
        make.weights(f"features.{number}", (outputs, before, 3, 3), bias=True)
        make.norm(f"features.{number + 1}", outputs)
        before = outputs
    make.weights("classifier.0", (4096, 512 * places), bias=True)
    make.weights("classifier.3", (4096, 4096), bias=True)
    return {**make.arrays, **(edges() if sobel else {})}


def edges():
    """DeepCluster's two fixed layers: grey, then Sobel's filters."""
    across = np.float32([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    return {
        "sobel.0.weight": np.full([1, 3, 1, 1], 1 / 3, np.float32),
        "sobel.0.bias": np.zeros(1, np.float32),
        "sobel.1.weight": np.stack([across, across.T])[:, None],
        "sobel.1.bias": np.zeros(2, np.float32),
    }


def prefixed(prefix, arrays):
    """The same arrays with something before each name."""
    return {prefix + name: array for name, array in arrays.items()}


def numbered(arrays):
    """A ResNet's arrays as the children of `nn.Sequential`."""
    children = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5}
    children |= {"layer3": 6, "layer4": 7}
    found = {}
    for name, array in arrays.items():
        first, rest = name.split(".", 1)
        found[f"{children[first]}.{rest}"] = array
    return found
