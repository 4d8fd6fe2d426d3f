"""Each sentence on a run comes when, and only when, its figures are bad."""

import dataclasses

import pytest

from tests.support.epoch_figures import FIGURES
from tfclust.engine.facts import RunFacts
from tfclust.engine.health import health
from tfclust.methods import (
    CoKe,
    DeepCluster,
    DeepClusterV2,
    FixedLabels,
    SeLa,
    SeLaV2,
    SwAV,
)

CONFIG = SwAV.Config(num_clusters=(60,), freeze_steps=100)
FACTS = RunFacts(
    num_images=6000,
    batch_size=60,
    total_steps=1000,
    steps_per_epoch=100,
    learning_rate=0.6,
    jitter_strength=1.0,
)
GOOD = {**FIGURES, "changed_share": 0.3}


def sentences(config=CONFIG, before=(), facts=FACTS, **figures):
    return health([*before, {**GOOD, **figures}], config, facts)


def test_healthy_run_is_told_nothing():
    assert sentences() == []
    first = {"epoch": 1, "step": 100, "nmi_previous": None}
    assert sentences(**first, changed_share=None) == []


@pytest.mark.parametrize(
    ("figures", "symptom", "remedy"),
    [
        (
            {"loss_over_log_k": 1.0},
            "Nothing has been learnt",
            "Let codes be as hard as these images need (--epsilon=), freeze "
            "prototypes longer (--freeze_steps=200), halve the learning rate "
            "(--learning_rate=0.3); or change the images' colours less "
            "(--jitter_strength=0.5).",
        ),
        (
            {"loss_over_log_k": 2.4, "effective_clusters": 1.3},
            "loss is 2.40 of that of blind guessing",
            "Halve the learning rate (--learning_rate=0.3); or warm up longer",
        ),
        (
            {"effective_clusters": 1.3, "loss_over_log_k": 1.0},
            "collapse into few clusters, as if there were 1.3 and not 60",
            "(--epsilon=), freeze prototypes longer (--freeze_steps=200)",
        ),
        (
            {"largest_cluster_share": 0.8},
            "holds 80%",
            "Make codes a little softer (--epsilon=0.06), balance codes more "
            "exactly (--sinkhorn_iters=6)",
        ),
        (
            {"empty_clusters": 40},
            "40 of 60 clusters are empty",
            "Use fewer clusters; ten per kind of image are ample "
            "(--num_clusters=20).",
        ),
        (
            {"nmi_previous": 0.04},
            "agree by 0.04",
            "Halve the learning rate (--learning_rate=0.3).",
        ),
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


def test_remedy_that_is_in_place_is_not_given():
    """Least epsilon, all steps frozen, weak colours, codes fitted."""
    frozen = dataclasses.replace(CONFIG, freeze_steps=600)
    facts = FACTS._replace(jitter_strength=0.4)
    (sentence,) = sentences(frozen, facts=facts, loss_over_log_k=1.0)
    assert "--freeze_steps" not in sentence and "jitter" not in sentence
    config = SeLaV2.Config(num_clusters=(60,), epsilon=0.01)
    (sentence,) = sentences(config, loss_over_log_k=1.0)
    assert "--epsilon" not in sentence
    config = dataclasses.replace(config, epsilon=0.05)
    (sentence,) = sentences(config, loss_over_log_k=1.0)
    assert "(--epsilon=0.025)" in sentence


def test_what_makes_images_come_faster_is_not_advised_where_it_is_in_place():
    waits = {"input_wait_milliseconds": 30.0, "step_milliseconds": 70.0}
    (sentence,) = sentences(**waits)
    assert "--stored_size" in sentence and "--antialias_from" in sentence
    facts = FACTS._replace(stored_size=64, antialias_from=2.0)
    (sentence,) = sentences(facts=facts, **waits)
    assert "Use fewer views (--num_views); or give the run more" in sentence
    assert "stored" not in sentence and "antialias" not in sentence


def test_a_loss_that_rises_while_cokes_duals_even_out_is_no_fault():
    config = CoKe.Config(num_clusters=(60,))
    facts = FACTS._replace(total_steps=5000)
    losses = (5.7, 5.2, 4.4, 4.2, 4.8, 5.0, *[4.8] * 6, *[6.0] * 2)
    history = [
        {**GOOD, "epoch": i, "step": 100 * i, "loss": loss}
        for i, loss in enumerate(losses, 1)
    ]
    rose = [
        len(seen)
        for seen in (history[:n] for n in range(1, len(history) + 1))
        if any("rose" in sentence for sentence in health(seen, config, facts))
    ]
    assert rose == [13]


def test_fitted_codes_are_not_to_be_made_harder():
    fitted = dataclasses.replace(CONFIG, epsilon=None)
    for figures in (
        {"loss_over_log_k": 1.0},
        {"effective_clusters": 1.0},
        {"largest_cluster_share": 0.8},
    ):
        (sentence,) = sentences(fitted, **figures)
        assert "epsilon" not in sentence


def test_what_a_collapse_brings_along_is_not_advised_on_beside_it():
    (sentence,) = sentences(
        effective_clusters=1.0,
        loss_over_log_k=1.0,
        largest_cluster_share=0.9,
        empty_clusters=58,
        nmi_previous=0.0,
    )
    assert "collapse" in sentence and "--num_clusters" not in sentence


def test_more_clusters_than_a_few_images_can_fill_are_not_missing():
    """1,000 images in 1,000 clusters leave 1,000 / e empty by chance."""
    config = dataclasses.replace(CONFIG, num_clusters=(1000,))
    facts = FACTS._replace(num_images=1000, batch_size=10)
    usual = {"effective_clusters": 560.0, "largest_cluster_share": 0.01}
    assert sentences(config, facts=facts, empty_clusters=400, **usual) == []
    (sentence,) = sentences(config, facts=facts, empty_clusters=700, **usual)
    assert "700 of 1,000" in sentence and "--num_clusters=300" in sentence


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


def test_classifier_of_few_steps_is_to_learn_faster_first():
    config = DeepCluster.Config(num_clusters=(60,))
    (sentence,) = sentences(config, loss_over_log_k=1.0)
    assert "Let the fresh classifier learn faster (--classifier_ra" in sentence
    (sentence,) = sentences(
        config,
        facts=FACTS._replace(steps_per_epoch=5000, total_steps=50000),
        epoch=6,
        step=30000,
        loss_over_log_k=1.0,
    )
    assert "--classifier_rate" not in sentence


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
    assert sentences(epoch=2, step=200, loss_over_log_k=1.0) == []
    assert sentences(epoch=3, step=300, nmi_previous=0.04) == []
    warming = FACTS._replace(warmup_steps=580)
    assert len(sentences(facts=warming, loss_over_log_k=1.0)) == 1  # halfway
    assert sentences(facts=warming, step=540, loss_over_log_k=1.0) == []


def test_first_epochs_of_few_steps_are_more():
    facts = FACTS._replace(steps_per_epoch=5)
    config = dataclasses.replace(CONFIG, freeze_steps=0)
    for step, count in ((15, 0), (45, 0), (50, 1)):
        figures = {"epoch": step // 5, "step": step, "loss_over_log_k": 1.0}
        assert len(sentences(config, facts=facts, **figures)) == count


def test_remedy_that_a_method_has_no_knob_for_is_left_out():
    config = DeepClusterV2.Config(num_clusters=(60, 60))
    (sentence,) = sentences(config, loss_over_log_k=1.0)
    assert "--learning_rate" in sentence and "--epsilon" not in sentence


def test_duals_that_change_fast_come_before_the_rate():
    config = CoKe.Config(num_clusters=(60,))
    (sentence,) = sentences(config, nmi_previous=0.04)
    assert "Even sizes out more slowly (--dual_step=0.01); or halve" in sentence


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
    before = [{**GOOD, "epoch": 5, "step": 500, "loss": 1.5}]
    (sentence,) = sentences(config, before, epoch=6)
    assert "from 1.500 to 2.000" in sentence
    assert "--queue_start_epoch" in sentence
    (sentence,) = sentences(CONFIG, before, epoch=6)
    assert "--warmup_epochs" in sentence and "queue" not in sentence


def test_noise_of_a_few_steps_is_no_rise():
    """As a healthy run of five steps an epoch had it at its epoch 29."""
    facts = FACTS._replace(steps_per_epoch=5)
    config = dataclasses.replace(CONFIG, freeze_steps=0)
    noisy = [2.0 if epoch % 2 else 1.7 for epoch in range(60)]
    for rise, count in ((1.0, 0), (1.2, 1)):
        before = [
            {**GOOD, "epoch": epoch + 1, "step": 5 * epoch + 5, "loss": loss}
            for epoch, loss in enumerate(noisy)
        ]
        for figures in before[40:]:  # a hundred steps
            figures["loss"] *= rise
        assert len(health(before, config, facts)) == count


def test_loss_that_stalls_after_the_release_points_to_the_freeze():
    config = dataclasses.replace(CONFIG, freeze_steps=200)
    steps = zip((100, 200, 300, 400), (3.0, 2.0, 2.05, 2.1), strict=True)
    before = [{**GOOD, "step": step, "loss": loss} for step, loss in steps]
    (sentence,) = sentences(config, before, step=500, loss=2.1)
    assert "released at step 200" in sentence
    assert sentences(config, before, step=500, loss=1.9) == []


def told(config, **numbers):
    return config.notices(FACTS._replace(batch_size=64, **numbers))


def test_sensible_settings_are_told_nothing():
    assert told(CONFIG) == []
    # CIFAR's recipe, three clusters for each image of a batch.
    assert told(dataclasses.replace(CONFIG, num_clusters=(200,))) == []


def test_batch_that_cannot_fill_the_clusters_is_reported():
    config = dataclasses.replace(CONFIG, num_clusters=(600,))
    (sentence,) = told(config)
    assert "spread 64 rows over 600 clusters" in sentence
    assert "Lower --num_clusters to 512" in sentence
    assert "queue" not in sentence  # it harms short runs
    (sentence,) = told(config, total_steps=10_000)
    assert "--queue_rows=576" in sentence  # nine batches, below 600
    assert told(dataclasses.replace(config, queue_rows=64)) == []


def test_freeze_longer_than_the_run_is_reported():
    (sentence,) = told(CONFIG, total_steps=100)
    assert "--freeze_steps=100 covers all 100 steps" in sentence
    assert "has 100" in sentence


def test_few_images_a_cluster_are_reported_where_k_means_runs():
    config = DeepClusterV2.Config(num_clusters=(1200, 100))
    (sentence,) = told(config)
    assert "5 images per cluster" in sentence and "to 600" in sentence
    assert told(CONFIG, num_images=1000) == []


def test_two_clusters_have_not_collapsed_while_both_are_used():
    config = dataclasses.replace(CONFIG, num_clusters=(2,))
    even = {"effective_clusters": 1.99, "empty_clusters": 0}
    assert sentences(config, **even) == []
    uneven = {**even, "largest_cluster_share": 0.6}
    assert sentences(config, **uneven) == []
    one = {"effective_clusters": 1.2, "empty_clusters": 0}
    assert "as if there were 1.2" in sentences(config, **one)[0]
