"""With which changed knobs a run may resume; the rule is part of the knob."""

from tfclust import options
from tfclust.methods.configs.table import CONFIGS
from tfclust.runs import recipes

FREE = {
    "data",
    "eval_data",
    "max_images",
    "class_shares",
    "imbalance",
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
    "on_trouble",
    "knn_images",
    "knn_epochs",
}
SHAPES = {
    "num_clusters",
    "projection_width",
    "hidden_width",
    "hidden_batch_norm",
    "queue_rows",
    "pca_width",
    "prediction_head",
    "rotation",
    "second_stage_epoch",
    "backbone",
    "width",
    "small_image_stem",
    "sobel",
    "optimizer",
    "mixed_precision",
}
NEVER = SHAPES | {
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


def test_knob_that_sets_shapes_says_so_for_every_method():
    for name, about in knobs():
        assert (about.why_never == options.SHAPES) == (name in SHAPES), name
