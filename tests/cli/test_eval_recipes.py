"""Every flagfile in configs/eval is read by the command in its header."""

import re

import pytest

from tests.support.processes import ROOT
from tfclust import evaluate
from tfclust.cli import flags
from tfclust.evaluation import PROTOCOLS, EvaluationConfig

FILES = sorted(ROOT.glob("configs/eval/*.flags"))


def read(file):
    """The `EvaluationConfig` of a flagfile."""
    flags.define(evaluate.EvaluateConfig, EvaluationConfig)
    flags.parse(["evaluate.py", f"--flagfile={file}"])
    return flags.read(EvaluationConfig)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_flagfile_measures_what_it_is_named_after(file):
    protocol, *others = read(file).protocols
    header = file.read_text("utf-8").split("\n\n")[0]
    assert all(line.startswith("# ") for line in header.splitlines())
    command = header.partition("# Command: ")[2]
    assert f"tfclust.evaluate --flagfile=configs/eval/{file.name}" in command
    if protocol in ("linear", "finetune"):
        # Hours of SGD on what no publication shows.
        assert set(read(file).baselines) <= {"untrained"}
    if not file.stem.endswith("_cpu"):
        assert "# Source: " in header and not others
    if file.stem == "whole_cpu":
        return
    # SwAV's windows of 6 x 6 are a layer's.
    named = "layers" if file.stem == "linear_swav_6x6" else file.stem
    assert named.startswith(protocol)


def test_every_protocol_has_a_flagfile_or_needs_none():
    measured = {read(file).protocols[0] for file in FILES}
    assert set(PROTOCOLS) - measured == {"unlabelled"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipes_that_a_flagfile_expects_figures_of_are_there(file):
    for name in re.findall(r"configs/[\w/.]+\.flags", file.read_text("utf-8")):
        assert (ROOT / name).is_file()
