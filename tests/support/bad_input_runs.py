"""Damaged runs and exports, as `test_bad_input` gives them to the commands.

`CASES` has, by name, a function from an empty folder to the arguments after
`python -m` and a pattern of the one line that standard error must have.
"""

import functools
import json
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf

from tests.support.commands import NO_PLAN
from tfclust.runs import checkpoints

TRAIN = [
    "tfclust.train",
    NO_PLAN,
    "--data=digits:?split=train",
    "--epochs=1",
]
EVALUATE = ["tfclust.evaluate", "--test_data=digits:?split=test"]
CASES = {}


def case(name, pattern):
    """Registers a function that prepares a folder and gives the arguments."""

    def register(prepare):
        CASES[name] = lambda folder: (prepare(folder), pattern)
        return prepare

    return register


@functools.cache
def _export():
    """Version 1 of a SavedModel as small as one can be, with its card."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tfclust-export-"))
    module = tf.Module()
    module.kernel = tf.Variable(tf.eye(3, 5))

    def call(images, training=False):
        return tf.reduce_mean(images, axis=[1, 2]) @ module.kernel

    module.__call__ = tf.function(call, autograph=False)
    images = tf.TensorSpec([None, None, None, 3], tf.float32)
    module.__call__.get_concrete_function(images, training=False)
    tf.saved_model.save(module, str(folder / "1"))
    card = {
        "recipe": None,
        "preprocessing": {"centre_crop": 8, "resize_short_side": 8},
    }
    (folder / "1" / "model_card.json").write_text(json.dumps(card))
    return folder


def _exported(folder, damage):
    """The arguments that evaluate a damaged copy."""
    copy = folder / "export"
    shutil.copytree(_export(), copy)
    damage(copy / "1")
    return [*EVALUATE, f"--saved_model={copy}", "--baselines=pixels"]


def _cut(file, keep=0.5):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])


def _garble(file):
    random = np.random.default_rng(0)
    file.write_bytes(random.bytes(file.stat().st_size))


def _zero(file):
    file.write_bytes(bytes(file.stat().st_size))


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(bytes(content))


def _replace(file):
    file.unlink()
    file.mkdir()


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


_INDEX, _DATA = "variables/variables.index", "variables/variables.data"
_DATA += "-00000-of-00001"
_BROKEN = {
    "saved_model.pb empty": ("saved_model.pb", lambda f: _cut(f, 0)),
    "saved_model.pb cut": ("saved_model.pb", _cut),
    "saved_model.pb cut near its end": (
        "saved_model.pb",
        lambda f: _cut(f, 0.98),
    ),
    "saved_model.pb garbled": ("saved_model.pb", _garble),
    "saved_model.pb of zeros": ("saved_model.pb", _zero),
    "saved_model.pb of text": (
        "saved_model.pb",
        lambda f: f.write_text("a model"),
    ),
    "variables missing": ("variables", _remove),
    "variables' data missing": (_DATA, _remove),
    "variables' data cut": (_DATA, _cut),
    "variables' data garbled": (_DATA, _garble),
    "a bit of the variables' data": (_DATA, _flip),
    "variables' index missing": (_INDEX, _remove),
    "variables' index cut": (_INDEX, _cut),
    "variables' index garbled": (_INDEX, _garble),
    "a bit of the variables' index": (_INDEX, _flip),
    "fingerprint cut": ("fingerprint.pb", _cut),
    "fingerprint garbled": ("fingerprint.pb", _garble),
    "a folder for the variables' data": (_DATA, _replace),
}
for _name, (_file, _damage) in _BROKEN.items():
    CASES[f"export with {_name}"] = lambda folder, file=_file, do=_damage: (
        _exported(folder, lambda version: do(version / file)),
        "evaluate: saved_model=.*/1 cannot be loaded: .*Write it again",
    )


def _card(change):
    def damage(version):
        file = version / "model_card.json"
        card = json.loads(file.read_text())
        change(card)
        file.write_text(json.dumps(card))

    return damage


_CARDS = {
    "missing": lambda v: _remove(v / "model_card.json"),
    "cut": lambda v: _cut(v / "model_card.json"),
    "of bytes": lambda v: _garble(v / "model_card.json"),
    "of a list": lambda v: (v / "model_card.json").write_text("[]"),
    "nested without end": lambda v: (v / "model_card.json").write_text(
        "[" * 100_000
    ),
    "without preprocessing": _card(lambda card: card.pop("preprocessing")),
    "with a crop in words": _card(
        lambda card: card["preprocessing"].update(centre_crop="8")
    ),
    "with a crop of 0": _card(
        lambda card: card["preprocessing"].update(centre_crop=0)
    ),
    "with a crop above the image": _card(
        lambda card: card["preprocessing"].update(resize_short_side=4)
    ),
    "with a recipe in words": _card(lambda card: card.update(recipe="swav")),
}
for _name, _damage in _CARDS.items():
    CASES[f"export with a card {_name}"] = lambda folder, do=_damage: (
        _exported(folder, do),
        "evaluate: .*model_card.json.*Write it again",
    )


@case("export with a recipe of nothing", "a recipe must be what this version")
def _(folder):
    return _exported(folder, _card(lambda card: card.update(recipe={})))


@case("export with a recipe of an unknown method", "method must be one of")
def _(folder):
    run = {"run": {"method": "swaw", "data": "digits:"}}
    return _exported(folder, _card(lambda card: card.update(recipe=run)))


@case("export whose newest version has no graph", "export/2 .*saved_model.pb")
def _(folder):
    def damage(version):
        shutil.copytree(version, version.with_name("2"))
        _remove(version.with_name("2") / "saved_model.pb")

    return _exported(folder, damage)


@case("export that is a file", "no SavedModel in .*/export")
def _(folder):
    (folder / "export").write_text("a model")
    return [*EVALUATE, f"--saved_model={folder / 'export'}"]


@case("home of nobody", "Received: ~nobody_at_all/1: no such user")
def _(folder):
    return [*EVALUATE, "--saved_model=~nobody_at_all/1"]


def _run(folder, *damages, step=4):
    """A folder with a checkpoint, damaged; what it holds nobody reads."""
    run = folder / "run"
    path = checkpoints.save(run, step, {"kernel": np.ones(50)})
    for damage in damages:
        damage(path)
    return run


def _other_format(number):
    def damage(path):
        file = path / "manifest.json"
        manifest = {**json.loads(file.read_text()), "format": number}
        file.write_text(json.dumps(manifest))

    return damage


def _a_file(path):
    shutil.rmtree(path)
    path.write_text("mine")


_CHECKPOINTS = {
    "cut": (lambda p: _cut(p / "arrays.npz"), "start_anew"),
    "with a flipped bit": (lambda p: _flip(p / "arrays.npz"), "start_anew"),
    "garbled": (lambda p: _garble(p / "arrays.npz"), "start_anew"),
    "without a manifest": (lambda p: _remove(p / "manifest.json"), "start_an"),
    "with a folder as its arrays": (
        lambda p: _replace(p / "arrays.npz"),
        "start_anew",
    ),
    "that is a file": (_a_file, "start_anew"),
    "of format 2": (_other_format(2), "has format 2, of another version"),
    "of format 99": (_other_format(99), "has format 99, of another version"),
}
_READERS = {
    "train": lambda run: [*TRAIN, f"--workdir={run}"],
    "evaluate": lambda run: [*EVALUATE, f"--workdir={run}"],
    "export": lambda run: ["tfclust.export", f"--workdir={run}"],
}
for _name, (_damage, _pattern) in _CHECKPOINTS.items():
    CASES[f"train, checkpoint {_name}"] = (
        lambda folder, do=_damage, pattern=_pattern: (
            _READERS["train"](_run(folder, do)),
            f"train: .*{pattern}",
        )
    )
for _name in ("evaluate", "export"):
    CASES[f"{_name}, checkpoint cut"] = lambda folder, name=_name: (
        _READERS[name](_run(folder, _CHECKPOINTS["cut"][0])),
        f"{name}: workdir=.* only damaged checkpoints: 1",
    )
    CASES[f"{_name}, workdir a file"] = lambda folder, name=_name: (
        _READERS[name](_file_at(folder / "run")),
        f"{name}: workdir=.* holds no run",
    )


def _file_at(path):
    path.write_text("mine")
    return path


@case("labels of a damaged run", "pseudo_labels=|only damaged checkpoints: 1")
def _(folder):
    run = _run(folder, _CHECKPOINTS["cut"][0])
    method = ["--method=fixed_labels", f"--pseudo_labels={run}"]
    return [*TRAIN, *method, f"--workdir={folder / 'mine'}"]


@case("workdir a file", "train: workdir must be a folder")
def _(folder):
    return [*TRAIN, f"--workdir={_file_at(folder / 'run')}"]


@case("workdir within a file", "train: workdir must be a folder")
def _(folder):
    return [*TRAIN, f"--workdir={_file_at(folder / 'file') / 'run'}"]


@case("workdir without leave", "train: workdir must be a folder")
def _(folder):
    return [*TRAIN, "--workdir=/proc/nothing"]


@case("workdir with a name too long", "train: workdir must be a folder")
def _(folder):
    return [*TRAIN, f"--workdir={folder / ('x' * 300)}"]


@case("workdir in the home of nobody", "Received: ~nobody_at_all/run: no such")
def _(folder):
    return [*TRAIN, "--workdir=~nobody_at_all/run"]


@case("file in the place of the checkpoints", "checkpoints must be a folder")
def _(folder):
    _file_at(folder / "checkpoints")
    return [*TRAIN, f"--workdir={folder}"]


@case("lock that is a link", r"train: workdir must have no \.lock.* is a link")
def _(folder):
    target = _file_at(folder / "precious")
    (folder / ".lock").symlink_to(target)
    return [*TRAIN, f"--workdir={folder}"]


@case("initial weights of a damaged Keras file", "init_from=.*backbone.keras")
def _(folder):
    _file_at(folder / "backbone.keras")
    start = f"--init_from={folder / 'backbone.keras'}"
    return [*TRAIN, start, f"--workdir={folder / 'run'}", *SMALL]


@case("initial weights of a damaged HDF5 file", "init_from=.*weights.h5")
def _(folder):
    _file_at(folder / "a.weights.h5")
    start = f"--init_from={folder / 'a.weights.h5'}"
    return [*TRAIN, start, f"--workdir={folder / 'run'}", *SMALL]


SMALL = [
    "--max_images=64",
    "--backbone=small",
    "--image_size=8",
    "--batch_size=16",
    "--num_clusters=5",
]
