"""Every flagfile in configs/ that trains is a recipe that can be built."""

import dataclasses
import json
import re
import shlex

import pytest

from tests.support import processes
from tests.support.processes import ROOT, run_in_subprocess
from tfclust import data, evaluate, methods, optimizers, sweep
from tfclust.cli import flags, recipe_flags
from tfclust.data.config import chain
from tfclust.evaluation import PROTOCOLS, EvaluationConfig
from tfclust.training.sweeps.variants import variants

# Those of configs/eval measure: `test_eval_recipes`.
FILES = sorted(
    file
    for file in ROOT.glob("configs/**/*.flags")
    if file.parent.name != "eval"
)
SMOKE = sorted(ROOT.glob("configs/smoke/*.flags"))
SWEEPS = sorted(ROOT.glob("configs/sweeps/*.flags"))
HEADER = ("Source:", "Expected:", "Time:", "Command:")
DEFAULT = [n for n, of in PROTOCOLS.items() if "labels" in of.default_for]
# What an expected figure is called, and the protocols that give it.
MEASURE = {
    "linear": {"linear", "layers"},
    "20-NN": {"knn"},
    "kNN": {"knn"},
    "SVM": {"svm"},
    "classification": {"finetune"},
    "retrieval": {"retrieval"},
    "NMI of ten": {"clusters"},
    "adjusted": {"pseudo_labels"},
}
# Without its variables even the widest network takes a second and no memory;
# in a process of its own, since Keras would make them up for later.
BUILD = """
import keras
from tfclust import backbones
from tfclust.layers import projectors
from tests.cli import test_recipes
import functools

@functools.cache
def sizes(config, image_size, **widths):
    with keras.StatelessScope(initialize_variables=False):
        backbone = backbones.from_config(config, image_size=image_size)
        projector = projectors.projector(backbone.output_shape[-1], **widths)
    # Without a projector there are layers, but no variables.
    return len(backbone.variables), len(projector.layers)

for file in test_recipes.FILES:
    recipe = test_recipes.read(file)
    print(test_recipes.name(file), *sizes(
        recipe.backbone, recipe.largest_view,
        hidden_width=recipe.method.hidden_width,
        projection_width=recipe.method.projection_width))
"""


def name(file):
    """Of a flagfile, below configs/."""
    return str(file.relative_to(ROOT / "configs").with_suffix(""))


def read(file):
    """The `Recipe` of a flagfile."""
    recipe_flags.define(sweep.SweepConfig)
    flags.parse(["train.py", f"--flagfile={file}"])
    return recipe_flags.read()


def test_every_method_has_recipes():
    for method in methods.METHODS:
        files = list(ROOT.glob(f"configs/{method}/*.flags"))
        assert files, method
        for file in files:
            assert read(file).run.method == method, file


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_run_of_a_sweep_is_a_recipe(file):
    recipe, vary = read(file), flags.read(sweep.SweepConfig).vary
    run = dataclasses.replace(recipe.run, data="digits:", workdir="W")
    found = variants(recipe._replace(run=run), vary)
    assert len(found) >= 2
    named = [m for m in methods.METHODS if file.stem.startswith(f"{m}_")]
    assert recipe.run.method == max(named, key=len)


@pytest.mark.slow
@pytest.mark.parametrize("file", SMOKE, ids=lambda file: file.stem)
def test_smoke_recipe_trains_to_its_end(file, tmp_path):
    arguments = ["-m", "tfclust.train", f"--flagfile={file}"]
    done = processes.run([*arguments, f"--workdir={tmp_path}"])
    assert (done.returncode, done.stderr) == (0, "")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)


def test_every_method_has_a_smoke_recipe():
    assert {file.stem for file in SMOKE} == set(methods.METHODS)


def test_every_method_is_tried_on_uneven_classes():
    tried = {f.stem for f in SWEEPS}
    for name, method in methods.METHODS.items():
        if issubclass(method, methods.ClusteringMethod):
            assert f"{name}_uneven" in tried


@pytest.mark.parametrize("file", FILES, ids=name)
def test_recipe_parses_and_its_parts_fit(file):
    recipe = read(file)
    assert recipe.run.epochs or recipe.run.steps
    chain(recipe.views)
    # Those by steps are for CIFAR-10's first images, the others for ImageNet.
    images = 10_000 if recipe.run.steps else 1_281_167
    steps = images // recipe.run.batch_size
    optimizers.build(
        recipe.optimizer,
        steps_per_epoch=steps,
        total_steps=recipe.run.steps or steps * recipe.run.epochs,
    )


@pytest.mark.parametrize("file", FILES, ids=name)
def test_header_tells_source_figure_time_and_command(file):
    comments = [
        line for line in file.read_text().splitlines() if line.startswith("#")
    ]
    for word in HEADER:
        assert any(line.startswith(f"# {word}") for line in comments), word
    (command,) = (line for line in comments if line.startswith("# Command:"))
    assert f"--flagfile={file.relative_to(ROOT)}" in command


def header(file):
    """(word, text) of each entry of a flagfile's header, in order."""
    entries: list = []
    for line in file.read_text("utf-8").split("\n\n")[0].splitlines():
        word, colon, text = line.removeprefix("# ").partition(": ")
        if colon and not line.startswith("#  "):
            entries.append((word, text))
        elif entries:  # goes on
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line[1:]}")
    return entries


def measured_by(command, monkeypatch):
    """The `EvaluateConfig` and the protocols of an evaluation's command."""
    *program, first = command.split(maxsplit=3)
    assert program == ["python", "-m", "tfclust.evaluate"]
    monkeypatch.chdir(ROOT)
    flags.define(evaluate.EvaluateConfig, EvaluationConfig)
    flags.parse(["evaluate.py", *shlex.split(first)])
    named = flags.read(EvaluationConfig).protocols
    return flags.read(evaluate.EvaluateConfig), {*named} or {*DEFAULT}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_every_figure_that_is_expected_has_its_command(file, monkeypatch):
    entries = header(file)
    told = dict(entries)
    (workdir,) = re.findall(r"--workdir=(\S+)", told["Command"])
    measured = set()
    for word, command in entries:
        if word == "Measured by":
            config, protocols = measured_by(command, monkeypatch)
            assert config.workdir == workdir
            measured |= protocols
    if not re.search(r"\d\.\d|\d %", told["Expected"]):
        return
    assert measured
    for words, able in MEASURE.items():
        if words in told["Expected"]:
            assert measured & able, words
    if "detection" in told["Expected"]:  # export.detection's, by another one
        assert "detection" in told["Differs"]


def test_every_recipe_builds_its_network():
    lines = run_in_subprocess(BUILD).splitlines()
    assert [line.split()[0] for line in lines] == list(map(name, FILES))
    for line in lines:
        backbone, projector = map(int, line.split()[1:])
        # A projector of width 0 is none.
        assert backbone > 1 and projector != 1, line


def test_recipes_that_name_their_images_find_them():
    for file in FILES:
        uri = read(file).run.data
        if uri.startswith("digits:"):
            assert data.open_source(uri, max_images=8).num_images == 8
