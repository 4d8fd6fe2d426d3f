"""Each sentence on a run comes when, and only when, its figures are bad."""

import dataclasses

import pytest

from tfclust.engine.config import RunFacts
from tfclust.engine.health import health, lasting_collapse
from tfclust.methods import DeepCluster, DeepClusterV2, FixedLabels, SeLa, SwAV

CONFIG = SwAV.Config(num_clusters=(60,), freeze_steps=100)
GOOD = {
    "epoch": 6,
    "step": 600,
    "loss": 2.0,
    "loss_over_log_k": 0.5,
    "effective_clusters": 50.0,
    "empty_clusters": 2,
    "largest_cluster_share": 0.06,
    "changed_share": 0.3,
    "nmi_previous": 0.6,
}


def sentences(config=CONFIG, before=(), **figures):
    return health([*before, {**GOOD, **figures}], config)


def test_healthy_run_is_told_nothing():
    assert sentences() == []
    assert sentences(epoch=1, nmi_previous=None, changed_share=None) == []


@pytest.mark.parametrize(
    ("figures", "symptom", "remedy"),
    [
        (
            {"loss_over_log_k": 1.0},
            "Nothing has been learnt",
            "--epsilon (0.03",
        ),
        ({"effective_clusters": 1.3}, "collapse into 1.3", "--freeze_steps"),
        ({"largest_cluster_share": 0.8}, "holds 80%", "--sinkhorn_iters"),
        ({"empty_clusters": 40}, "40 of 60 clusters are empty", "--queue_rows"),
        ({"nmi_previous": 0.04}, "NMI of 0.04", "--learning_rate"),
        (
            {"input_wait_milliseconds": 30.0, "step_milliseconds": 70.0},
            "waits 30 ms for its images",
            "--num_views",
        ),
    ],
)
def test_bad_figure_is_reported_with_its_remedy(figures, symptom, remedy):
    (sentence,) = sentences(**figures)
    assert symptom in sentence and remedy in sentence


def test_label_steps_that_end_by_their_number_are_reported():
    config = SeLa.Config(num_clusters=(60,), label_iters=500)
    figures = {"label_mass_error": 0.001, "label_passes": 500}
    (sentence,) = sentences(config, **figures)
    assert "ended after 500 passes" in sentence and "0.0001" in sentence
    assert "--label_iters" in sentence and "--label_tolerance" in sentence
    assert sentences(config, **{**figures, "label_passes": 490}) == []
    (sentence,) = sentences(config, label_mass_error=0.07)
    assert "7% off its share" in sentence and "--label_iters" in sentence


def test_images_without_a_label_are_reported():
    config = DeepCluster.Config(num_clusters=(60,))
    (sentence,) = sentences(config, unlabelled_share=0.6)
    assert "60% of the images have no label" in sentence
    assert "--min_cluster_size" in sentence
    assert sentences(config, unlabelled_share=0.2) == []


def test_clusters_that_were_not_looked_for_are_not_missing():
    config = DeepCluster.Config(num_clusters=(600,))
    found = {"found_clusters": 60.0, "effective_clusters": 40.0}
    assert sentences(config, empty_clusters=545.0, **found) == []
    (sentence,) = sentences(config, empty_clusters=580.0, **found)
    assert "40 of 60 clusters are empty" in sentence


def test_only_k_means_asks_for_39_images_a_cluster():
    for clustering, count in (("kmeans", 1), ("pic", 0)):
        config = DeepCluster.Config(num_clusters=(60,), clustering=clustering)
        assert len(config.notices(RunFacts(1000, 50, 100, 20))) == count


def test_first_epochs_may_be_at_chance_and_restless():
    assert sentences(epoch=2, loss_over_log_k=1.0) == []
    assert sentences(epoch=3, nmi_previous=0.04) == []


def test_remedy_that_a_method_has_no_knob_for_is_left_out():
    config = DeepClusterV2.Config(num_clusters=(60, 60))
    (sentence,) = sentences(config, loss_over_log_k=1.0)
    assert "--learning_rate" in sentence and "--epsilon" not in sentence


def test_classes_that_are_given_are_not_to_be_changed():
    config = FixedLabels.Config(num_clusters=(60,))
    assert sentences(config, empty_clusters=40) == []
    for figures in ({"effective_clusters": 1.3}, {"nmi_previous": 0.04}):
        (sentence,) = sentences(config, **figures)
        assert "--learning_rate" in sentence
        assert "--num_clusters" not in sentence


def test_loss_that_rises_as_the_queue_comes_in_points_to_the_queue():
    config = dataclasses.replace(
        CONFIG, queue_rows=128, queue_start_epoch=5
    )  # epochs count from 0 there, from 1 in the figures
    before = [{**GOOD, "epoch": 5, "loss": 1.5}]
    (sentence,) = sentences(config, before, epoch=6)
    assert "from 1.500 to 2.000" in sentence
    assert "--queue_start_epoch" in sentence
    (sentence,) = sentences(CONFIG, before, epoch=6)
    assert "--warmup_epochs" in sentence and "queue" not in sentence


def test_loss_that_stalls_after_the_release_points_to_the_freeze():
    config = dataclasses.replace(CONFIG, freeze_steps=200)
    steps = zip((100, 200, 300, 400), (3.0, 2.0, 2.05, 2.1), strict=True)
    before = [{**GOOD, "step": step, "loss": loss} for step, loss in steps]
    (sentence,) = sentences(config, before, step=500, loss=2.1)
    assert "released at step 200" in sentence
    assert sentences(config, before, step=500, loss=1.9) == []


def told(config, **numbers):
    usual = {
        "num_images": 6000,
        "batch_size": 64,
        "total_steps": 1000,
        "steps_per_epoch": 93,
    }
    return config.notices(RunFacts(**{**usual, **numbers}))


def test_sensible_settings_are_told_nothing():
    assert told(CONFIG) == []


def test_batch_that_cannot_fill_the_clusters_is_reported():
    config = dataclasses.replace(CONFIG, num_clusters=(300,))
    (sentence,) = told(config)
    assert "64 images cannot fill 300" in sentence
    assert "--queue_rows=256" in sentence  # 64 + 256 >= 300
    assert told(dataclasses.replace(config, queue_rows=256)) == []


def test_freeze_longer_than_the_run_is_reported():
    (sentence,) = told(CONFIG, total_steps=100)
    assert "--freeze_steps=100 covers all 100 steps" in sentence
    assert "has 93" in sentence


def test_few_images_a_cluster_are_reported_where_k_means_runs():
    config = DeepClusterV2.Config(num_clusters=(300, 100))
    (sentence,) = told(config)
    assert "20 images per cluster" in sentence and "to 153" in sentence
    assert told(CONFIG, num_images=1000) == []


def test_collapse_lasts_when_three_epochs_in_a_row_have_it():
    bad, good = {**GOOD, "effective_clusters": 1.0}, GOOD
    for history in ([], [bad], [bad, bad], [bad, bad, good], [bad, good, bad]):
        assert lasting_collapse(history, CONFIG) is None
    sentence = lasting_collapse([good, bad, bad, bad], CONFIG)
    assert "collapse into 1.0" in sentence and "--epsilon" in sentence
    flat = {**GOOD, "loss_over_log_k": 1.0}
    assert lasting_collapse([flat] * 5, CONFIG) is None


def test_two_clusters_have_not_collapsed_while_both_are_used():
    config = dataclasses.replace(CONFIG, num_clusters=(2,))
    even = {"effective_clusters": 1.99, "empty_clusters": 0}
    assert sentences(config, **even) == []
    one = {"effective_clusters": 1.2, "empty_clusters": 0}
    assert "collapse into 1.2" in sentences(config, **one)[0]
