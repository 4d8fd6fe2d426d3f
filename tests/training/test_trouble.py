"""Runs in trouble end early where that is asked for, each by its own fault.

Real runs, with parts that are broken: projections that are all alike, which
also keeps the loss at chance, and more clusters than a network uses. The least
spell is shortened, since they are short.
"""

import dataclasses
import re
import shlex

import keras
import pytest

from tests.support.small_runs import quietly, recipe
from tfclust.cli import flags, recipe_flags
from tfclust.engine import trouble
from tfclust.engine.facts import RunFacts
from tfclust.methods.configs.swav import SwAVConfig
from tfclust.runs import checkpoints, flagfile, folder, metrics
from tfclust.runtime import exit_codes
from tfclust.training import pretraining, restarting

pytestmark = pytest.mark.usefixtures("one_block", "eager")

BROKEN = {
    "on_trouble": "stop",
    "epochs": 8,
    "freeze_steps": 0,
    "learning_rate": 1e-6,  # what is broken stays so
    "num_clusters": 16,
    "temperature": 1.0,
}


@pytest.fixture(autouse=True)
def short_spell(monkeypatch):
    monkeypatch.setattr(trouble, "LEAST_STEPS", 12)


class AllAlike(keras.callbacks.Callback):
    """Projections of all images are the same from the first step on."""

    def on_train_begin(self, logs=None):
        kernel, bias = self.model.projector.trainable_variables[-2:]
        kernel.assign(0.0 * kernel)
        bias.assign(0.0 * bias + 1.0)


def broken(workdir, **knobs):
    """A recipe, and its flags in its folder, as the command leaves them."""
    made = recipe(workdir, **{**BROKEN, **knobs})
    workdir.mkdir(exist_ok=True)
    flagfile.write(workdir / folder.CONFIG, made, "python -m tfclust.train")
    return made


def ended(made, capsys, *, alike=True):
    """The line with which the command of a run ends, by exit code 2."""
    capsys.readouterr()
    callbacks = [AllAlike()] if alike else []
    said = []

    def train():
        pretraining.pretrain(made, say=said.append, callbacks=callbacks)

    code = flags.status(train, ["train.py"])
    assert code == exit_codes.BAD_INPUT == 2
    page = f"python -m tfclust.report --workdir={made.run.workdir}"
    assert said[-1].endswith(page)
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("train: ")]
    return line.removeprefix("train: ")


def started_again(line):
    """The recipe of the command in the line, read as the command reads it."""
    (command,) = re.findall(r"python -m tfclust\.train (.*) \(--on_tr", line)
    recipe_flags.define()
    flags.parse(["train.py", *shlex.split(command)])
    return recipe_flags.read()


def test_collapse_ends_the_run(tmp_path, capsys):
    """All faults at once: the cause is told."""
    made = broken(tmp_path / "run")
    line = ended(made, capsys)
    assert line.startswith(
        "on_trouble=stop ended the run at step 12 of 32. The images collapse "
        "into few clusters, as if there were 1.0 and not 16, and it has not "
        "got better since"
    )
    assert checkpoints.latest(tmp_path / "run").step == 12
    assert len(metrics.read_metrics(tmp_path / "run")) == 3
    assert "Let codes be as hard as these images need: python" in line
    again = started_again(line)
    assert again.run.workdir == f"{tmp_path / 'run'}-2"
    assert again.method == dataclasses.replace(made.method, epsilon=None)
    assert again.views == made.views and again.optimizer == made.optimizer


def test_loss_that_stays_at_chance_ends_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SwAVConfig, "watched", lambda self, facts: {"flat": 0})
    fitted = broken(tmp_path / "run")
    fitted = fitted._replace(
        method=dataclasses.replace(fitted.method, epsilon=None)
    )
    flagfile.write(tmp_path / "run" / folder.CONFIG, fitted, "again")
    line = ended(fitted, capsys)
    assert "step 12 of 32. Nothing has been learnt so far: the loss i" in line
    assert "Freeze prototypes longer: " in line  # epsilon is fitted already
    again = started_again(line)
    assert again.method == dataclasses.replace(fitted.method, freeze_steps=4)


def test_clusters_without_images_end_the_run(tmp_path, capsys, monkeypatch):
    """An untrained network uses few of many; its loss is not looked at."""
    monkeypatch.setattr(SwAVConfig, "watched", lambda self, facts: {"empty": 0})
    line = ended(broken(tmp_path / "run", num_clusters=60), capsys, alike=False)
    found = re.search(r"(\d+) of 60 clusters are empty", line)
    again = started_again(line)
    assert again.method.num_clusters == (60 - int(found[1]),)
    assert "Use fewer clusters; ten per kind of image are ample: " in line


def test_healthy_run_says_what_is_watched_and_goes_on(tmp_path):
    trained, said = quietly(recipe(tmp_path, on_trouble="stop", epochs=4))
    assert trained.step == 16
    told = "Ends where one of these lasts for 12 steps: a loss far above"
    assert any(told in line for line in said)


def test_trouble_is_only_told_of_unless_its_end_is_asked_for(tmp_path, capsys):
    made = broken(tmp_path, on_trouble="tell", epochs=4)
    trained, said = quietly(made, callbacks=[AllAlike()])
    assert trained.step == 16
    assert not any("watched" in line or "lasts" in line for line in said)
    assert "as if there were 1.0 and not 16" in capsys.readouterr().out


@pytest.mark.slow
def test_ended_run_counts_on_and_a_change_of_flags_has_a_spell_to_help(
    tmp_path, capsys
):
    run = tmp_path / "run"
    assert "step 12 of 32" in ended(broken(run), capsys)
    (tmp_path / "run-2").mkdir()
    line = ended(broken(run), capsys)
    assert "step 16 of 32" in line and "run-3" in line
    changed = {"learning_rate": 2e-6, "allow_config_change": True}
    assert "step 28 of 32" in ended(broken(run, **changed), capsys)
    trained, _ = quietly(broken(run, learning_rate=2e-6, on_trouble="tell"))
    assert trained.step == 32


def test_notebook_without_flags_gets_the_change_as_knobs(tmp_path, capsys):
    line = ended(recipe(tmp_path / "run", **BROKEN), capsys)
    assert "python -m" not in line
    assert re.search(r"need: epsilon= in workdir=.*run-2 \(", line)


def test_change_that_the_recipe_refuses_is_not_proposed(tmp_path):
    """Half the rate would be below the final one, which is fixed."""
    made = broken(
        tmp_path / "run",
        method="odc",
        freeze_steps=None,
        temperature=None,
        hidden_width=8,
        learning_rate=0.002,
        final_learning_rate=0.0015,
        on_trouble="tell",
    )
    made_in = tmp_path / "run"
    facts = RunFacts(64, 16, 32, 4, 0, 0.002, jitter_strength=1.0)
    found = restarting.restart(made, made_in, "flat", facts, {})
    assert found.remedy.knob == "jitter_strength"
    assert "--jitter_strength=0.5 --workdir=" in found.command
    weak = facts._replace(jitter_strength=0.3)
    assert restarting.restart(made, made_in, "flat", weak, {}) is None
