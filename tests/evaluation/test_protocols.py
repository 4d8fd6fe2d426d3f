"""The table of protocols, and what stands in each one's record."""

import dataclasses

import pytest

from tfclust.evaluation import PROTOCOLS, EvaluationConfig
from tfclust.evaluation.config import SharedConfig

FIGURES = {
    "knn": {"top1": 0.5, "top5": 0.9, "num_neighbors": 7},
    "linear": {"top1": 0.5, "top5": 0.9, "protocol": "sgd"},
    "layers": {
        "conv1_top1": 0.5,
        "conv1_top5": 0.9,
        "layers": ["conv1"],
    },
    "clusters": {"ami": 0.5, "num_clusters": 3},
    "svm": {"map_area": 0.5},
    "finetune": {"top1": 0.5, "num_labelled": 3},
    "segmentation": {"miou": 0.5},
    "pseudo_labels": {"ami": 0.5},
    "retrieval": {"mAP": 0.5, "figures": ["mAP"]},
    "unlabelled": {"stability": 0.5, "num_clusters": 3},
    "filters": {"layers": ["conv1"], "conv1_alike": 0.5},
}
# What they tell has no level that says nothing.
WITHOUT_CHANCE = {"unlabelled", "filters"}


def names(config_class):
    return [field.name for field in dataclasses.fields(config_class)]


def test_knobs_of_protocols_are_those_of_the_evaluation_once_each():
    parts = [SharedConfig, *(p.Config for p in PROTOCOLS.values())]
    knobs = [name for part in parts for name in names(part)]
    assert names(EvaluationConfig) == knobs
    assert len(set(knobs)) == len(knobs)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_record_says_what_help_and_tables_need(name):
    protocol = PROTOCOLS[name]
    first, *_ = columns = protocol.columns(FIGURES[name])
    assert first.figure in FIGURES[name] and first.said and first.short
    assert len({column.title for column in columns}) == len(columns)
    assert (
        protocol.words
        in dataclasses.fields(EvaluationConfig)[0].metadata["option"].help
    )


def test_which_protocols_learn_from_training_images():
    learning = [n for n, protocol in PROTOCOLS.items() if protocol.learns]
    assert learning == [
        "knn",
        "linear",
        "layers",
        "svm",
        "finetune",
        "segmentation",
        "pseudo_labels",
    ]


def test_agreement_and_accuracy_are_never_without_a_chance_level():
    for name, protocol in PROTOCOLS.items():
        for column in protocol.columns(FIGURES[name]):
            assert column.chance is not None or name in WITHOUT_CHANCE


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("labels", ["knn", "linear", "clusters"]),
        ("label sets", ["svm"]),
        ("masks", ["segmentation"]),
        ("no labels", ["unlabelled"]),
    ],
)
def test_what_is_measured_without_being_asked_for(kind, names):
    found = [n for n, of in PROTOCOLS.items() if kind in of.default_for]
    assert found == names
