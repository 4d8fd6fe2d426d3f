"""With which changed knobs a run may resume; the rule is part of the knob."""

from tfclust.methods.configs.table import CONFIGS
from tfclust.runs import recipes

FREE = {
    "data",
    "eval_data",
    "max_images",
    "class_shares",
    "max_bad_share",
    "cache_dir",
    "workdir",
    "allow_config_change",
    "start_anew",
    "strategy",
    "num_replicas",
    "jit_compile",
    "deterministic",
    "threads",
    "checkpoint_epochs",
    "checkpoint_steps",
    "keep_checkpoints",
    "stop_on_collapse",
    "knn_images",
    "knn_epochs",
}
NEVER = {
    "method",
    "batch_size",
    "init_from",
    "init_stages",
    "frozen_stages",
    "pseudo_labels",
}


def knobs():
    for method in CONFIGS:
        yield from recipes.knobs_of(recipes.make_recipe(method=method)).items()


def test_machine_and_looks_are_free_and_some_knobs_are_for_good():
    by_rule = {"free": set(), "asked": set(), "never": set()}
    for name, about in knobs():
        by_rule[about.resume].add(name)
    assert by_rule["free"] == FREE
    assert by_rule["never"] == NEVER
