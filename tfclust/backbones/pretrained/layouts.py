"""Whose checkpoint it is: the network's arrays, and what stands beside them.

Every project wraps the same network in names of its own: `module.` of data
parallelism, `encoder_q.` of MoCo, `_feature_blocks.` of VISSL, `backbone.` of
lightly and solo-learn. Here the network is found by the names of its first
layers, and all names become torchvision's. What is left must be known: heads
and copies of the network are set aside, anything else is an error.

Names were read in facebookresearch/swav `src/resnet50.py` at 06b1b7c, dino
`main_dino.py` at 7c446df, vissl `extra_scripts/convert_vissl_to_torchvision.py`
at 09270ed, deepcluster `models/` at 1b56bec, moco issue 84,
yukimasano/self-label `models/` at 3891e37, lightly-ai/lightly `models/` and
`benchmarks/imagenet/resnet50/` at e8d317f, and vturrisi/solo-learn
`solo/methods/` at 9187ea3.
"""

import re
from typing import NamedTuple

import numpy as np

from tfclust.backbones import front
from tfclust.backbones.pretrained import unsuitable

# SwAV's own deviations are `front.IMAGE_STD`; all others train with these.
USUAL_STD = (0.229, 0.224, 0.225)

_PARALLEL = re.compile(r"(?<![^.])(module|_orig_mod)\.")
_COUNTS = "num_batches_tracked"
# A ResNet in words, or its children numbered by `nn.Sequential`.
_NAMED, _NUMBERED, _PLAIN = "named", "numbered", "plain"
_CHILDREN = {"0": "conv1", "1": "bn1"}
_CHILDREN |= {str(4 + i): f"layer{1 + i}" for i in range(4)}
_OF_RESNET = re.compile(r"(conv1|bn1|layer\d+)\..*")
_OF_PLAIN = re.compile(r"(features\.\d+|classifier\.[0134])\..*")

_CONTAINERS = {
    *("state_dict", "model_state_dict", "classy_state_dict", "base_model"),
    *("model", "trunk", "net", "network", "teacher", "student"),
}
# Networks that follow or lead the one that is evaluated. In DINO the teacher
# is evaluated; lightly calls that one `backbone`, beside `student_backbone`.
_COPIES = re.compile(
    r"student|encoder_k|(momentum|key|teacher|student|target)_\w+|\w+_momentum"
)
_HEADS = re.compile(
    r"((momentum|key|teacher|student|target|online)_)?"
    r"(fc|linear|clf|mlp|heads?|projector|projection(_head)?|predictor|"
    r"prediction_head|classifier|knn_classifier|prototypes\d*|top_layer\d*|"
    r"queues?|queue_\w+|centers?|criterion|local_memory_\w+)(_momentum)?"
)


class Layout(NamedTuple):
    """A checkpoint, sorted.

    title: whose it is, in words. network: arrays by torchvision's names, or
    deepcluster's. aside: heads and copies, by their names. sobel: what the
    file has of fixed edges, by name. image_std: what images were divided by.
    """

    title: str
    network: dict[str, np.ndarray]
    aside: dict[str, np.ndarray]
    sobel: dict[str, np.ndarray]
    image_std: tuple[float, ...]


class _Trunk(NamedTuple):
    """Where a network begins in the names, and how it writes them."""

    prefix: str
    style: str


def recognised(arrays):
    """The `Layout` of a checkpoint.

    Args:
      arrays: `{name: ndarray}`, as in the file.

    Raises:
      ValueError: if it has no network that is known, or several, or arrays of
        unknown purpose.
    """
    arrays = _plain_names(arrays)
    trunks = _trunks(arrays)
    if not trunks:
        raise ValueError(unsuitable.without_network(arrays))
    trunk = _evaluated(trunks)
    copies = tuple(t.prefix for t in trunks if t is not trunk)
    layout = Layout(_title(trunk, arrays), {}, {}, {}, _std(trunk, arrays))
    unknown = []
    for name, array in arrays.items():
        inner = _inner_name(name, trunk)
        if inner is not None:
            layout.network[inner] = array
        elif ".sobel." in f".{name}":
            layout.sobel[f"sobel.{name.rpartition('sobel.')[2]}"] = array
        elif _is_known(name, trunk, copies):
            layout.aside[name] = array
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{layout.title} leaves {len(unknown)} arrays over, whose purpose "
            f"is unknown: {unsuitable.listed(unknown)}"
        )
    unsuitable.refuse(layout)
    return layout


def first_words(names):
    """`{first word: how many}` of names, without containers."""
    counts: dict[str, int] = {}
    for name in names:
        word = _without_containers(name).split(".")[0]
        counts[word] = counts.get(word, 0) + 1
    return counts


def _plain_names(arrays):
    """Without the words of data parallelism, and counters of batches."""
    found = {
        _PARALLEL.sub("", name): array
        for name, array in arrays.items()
        if not name.endswith(_COUNTS)
    }
    wanted = sum(not name.endswith(_COUNTS) for name in arrays)
    if len(found) < wanted:
        raise ValueError(
            f"{wanted - len(found)} arrays have the name of another one, once "
            "module. is left out"
        )
    return found


def _trunks(arrays):
    """Every network in the file."""
    found = []
    for name in arrays:
        for end, style in (
            ("layer1.0.conv1.weight", _NAMED),
            ("4.0.conv1.weight", _NUMBERED),
            ("features.0.weight", _PLAIN),
        ):
            if not f".{name}".endswith(f".{end}"):
                continue
            prefix = name.removesuffix(end)
            if _begins(arrays, prefix, style):
                found.append(_Trunk(prefix, style))
    return found


def _begins(arrays, prefix, style):
    """Whether a network's other first layer is there too."""
    if style == _NAMED:
        return f"{prefix}conv1.weight" in arrays
    if style == _NUMBERED:
        return {f"{prefix}0.weight", f"{prefix}1.running_mean"} <= set(arrays)
    return any(name.startswith(f"{prefix}classifier.") for name in arrays)


def _evaluated(trunks):
    """The one of several networks that is meant to be used."""
    main = [
        trunk
        for trunk in trunks
        if not any(_COPIES.fullmatch(w) for w in trunk.prefix.split("."))
    ]
    chosen = main if len(trunks) > 1 else trunks
    if len(chosen) != 1:
        names = [trunk.prefix or "(no prefix)" for trunk in trunks]
        raise ValueError(
            "one network must be the one that is evaluated. Received: "
            f"{len(trunks)} networks, below {unsuitable.listed(names)}"
        )
    return chosen[0]


def _inner_name(name, trunk):
    """The name within the network, None for what is no part of it."""
    if not name.startswith(trunk.prefix):
        return None
    inner = name.removeprefix(trunk.prefix)
    if trunk.style == _PLAIN:
        return inner if _OF_PLAIN.fullmatch(inner) else None
    if trunk.style == _NUMBERED:
        first, _, rest = inner.partition(".")
        inner = f"{_CHILDREN.get(first, first)}.{rest}"
    # lightly's ResNetGenerator calls it so.
    inner = inner.replace(".shortcut.", ".downsample.")
    return inner if _OF_RESNET.fullmatch(inner) else None


def _is_known(name, trunk, copies):
    if copies and name.startswith(copies):
        return True
    if trunk.prefix and name.startswith(trunk.prefix):
        name = name.removeprefix(trunk.prefix)
    if trunk.style == _PLAIN and name.startswith("classifier.6."):
        return True  # torchvision's last layer
    return _HEADS.fullmatch(_without_containers(name).split(".")[0]) is not None


def _without_containers(name):
    words = name.split(".")
    while len(words) > 1 and words[0] in _CONTAINERS:
        words = words[1:]
    return ".".join(words)


def _title(trunk, arrays):
    """Whose layout it is, as a sentence's subject."""
    words = set(trunk.prefix.split("."))
    others = set(first_words(n.removeprefix(trunk.prefix) for n in arrays))
    if trunk.style == _PLAIN:
        return _plain_title(others)
    if trunk.prefix.endswith("features."):
        return "SeLa's ResNet"
    if _has_prototypes(trunk, arrays):
        return "SwAV's ResNet (or DeepCluster-v2's, SeLa-v2's)"
    for word, title in (
        ("_feature_blocks", "VISSL's ResNet"),
        ("encoder_q", "MoCo's ResNet"),
        ("base_encoder", "MoCo-v3's ResNet"),
        ("teacher", "DINO's ResNet, the teacher"),
        ("student", "DINO's ResNet, the student"),
    ):
        if word in words:
            return title
    if trunk.style == _NUMBERED:
        return "lightly's ResNet, its layers numbered"
    if words & {"backbone", "encoder"}:
        if others & {"projector", "classifier"}:
            return "solo-learn's ResNet"
        if others & {"projection_head", "online_classifier"}:
            return "lightly's ResNet"
        return "a ResNet in a wrapper"
    return "torchvision's ResNet (or a plain one in its names)"


def _plain_title(others):
    if "sobel" in others:
        return "DeepCluster's network, of edges"
    if any(word.startswith("top_layer") for word in others):
        return "SeLa's or DeepCluster's network, of colours"
    return "torchvision's network"


def _has_prototypes(trunk, arrays):
    """Whether heads stand beside the first layer, as SwAV has them."""
    own = {
        name.removeprefix(trunk.prefix).split(".")[0]
        for name in arrays
        if name.startswith(trunk.prefix)
    }
    wrapped = {"backbone", "encoder"} & set(trunk.prefix.split("."))
    return not wrapped and {"conv1", "projection_head", "prototypes"} <= own


def _std(trunk, arrays):
    return front.IMAGE_STD if _has_prototypes(trunk, arrays) else USUAL_STD
