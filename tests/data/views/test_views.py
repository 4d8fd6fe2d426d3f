"""Views: batches by step, whoever makes them and however they are split."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.image_views import (
    LARGE,
    RNG,
    SMALL,
    arrays,
    assert_same,
    joined,
    views_of,
)
from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust import data


@pytest.fixture(scope="module", params=["stored", "one by one"])
def views(request):
    """Views cut from the decoded store, and image by image."""
    if request.param == "stored":
        return views_of(SMALL)
    return views_of(LARGE, antialias_from=1.0)


def test_batches_have_the_promised_shapes_and_no_labels():
    views = views_of(labels=np.arange(30))
    batches = arrays(views.batches(0))
    assert views.steps_per_epoch == len(batches) == 3
    assert set(batches[0]) == {"views", "photometric", "index"}
    large, small = batches[0]["views"]
    assert large.shape == (8, 2, 16, 16, 3) and large.dtype == np.uint8
    assert small.shape == (8, 3, 12, 12, 3)
    assert batches[0]["photometric"][1].shape == (8, 3, 8)
    assert batches[0]["index"].dtype == np.int64
    shapes = tf.nest.map_structure(
        lambda spec: spec.shape.is_fully_defined(),
        views.batches(0).element_spec,
    )
    assert all(tf.nest.flatten(shapes))
    assert views.num_views == 5 and views.num_global_views == 2


def test_an_epoch_shows_each_image_at_most_once():
    index = joined(arrays(views_of().batches(3)))["index"]
    assert len(set(index.tolist())) == 24


def test_several_passes_an_epoch_show_each_image_once_in_each():
    views = views_of(passes=4)  # of 30 images, in batches of 8
    assert views.steps_per_epoch == 15
    epochs = [
        np.concatenate([b["index"] for b in arrays(views.batches(epoch))])
        for epoch in range(2)
    ]
    orders = np.stack(epochs).reshape(-1, 30)
    assert (np.sort(orders, axis=1) == np.arange(30)).all()
    assert len(np.unique(orders, axis=0)) == 8
    resumed = arrays(views.batches(1, start_step=9))
    np.testing.assert_array_equal(
        np.concatenate([b["index"] for b in resumed]), epochs[1][72:]
    )


def test_the_same_seed_and_step_give_the_same_bits(views):
    expected = arrays(views.batches(1))
    assert_same(arrays(views.batches(1)), expected)
    again = data.Views(views.source, views.config, batch_size=8)
    assert_same(arrays(again.batches(1)), expected)


def test_another_seed_epoch_or_step_gives_other_crops():
    order = np.zeros(24, np.int64)  # one image over and over
    views = views_of()
    first = arrays(views.batches(0, order=order))
    crops_seen = {batch["views"][0].tobytes() for batch in first}
    crops_seen.add(
        arrays(views.batches(1, order=order))[0]["views"][0].tobytes()
    )
    other = views_of(seed=1)
    crops_seen.add(
        arrays(other.batches(0, order=order))[0]["views"][0].tobytes()
    )
    assert len(crops_seen) == 5
    rows = first[0]["views"][0].reshape(16, -1)
    assert len(np.unique(rows, axis=0)) == 16


@pytest.mark.parametrize("num_shards", [2, slow(4)])
def test_splitting_a_batch_changes_no_bit(views, num_shards):
    expected = arrays(views.batches(2))
    shards = [
        arrays(views.batches(2, num_shards=num_shards, shard=shard))
        for shard in range(num_shards)
    ]
    for whole, *parts in zip(expected, *shards, strict=True):
        assert_same(joined(parts), whole)


def test_an_epoch_resumed_at_a_step_goes_on_as_if_never_stopped(views):
    assert_same(
        arrays(views.batches(1, start_step=2)), arrays(views.batches(1))[2:]
    )
    assert arrays(views.batches(1, start_step=3)) == []


def test_a_given_order_is_followed():
    order = RNG.integers(0, 30, 30)
    index = joined(arrays(views_of().batches(0, order=order)))["index"]
    np.testing.assert_array_equal(index, order[:24])


def test_photometric_numbers_do_not_depend_on_how_crops_are_cut(views):
    assert_same(
        arrays(views_of(SMALL).batches(0))[0]["photometric"],
        arrays(views.batches(0))[0]["photometric"],
    )


def test_both_ways_to_cut_agree_but_for_whole_pixels():
    coarse = RNG.integers(0, 256, (8, 6, 6, 3), np.uint8)
    images = tf.image.resize(coarse, [60, 60], "bicubic")
    images = tf.cast(tf.clip_by_value(images, 0, 255), tf.uint8).numpy()
    knobs = {"view_sizes": (32,), "num_views": (2,), "view_scales": ((0.3, 1),)}
    stored = views_of(images, batch_size=8, **knobs)
    ragged = views_of([*images, images[0][:50]], batch_size=8, **knobs)
    order = np.arange(8)
    (one,) = arrays(stored.batches(0, order=order))[0]["views"]
    (other,) = arrays(ragged.batches(0, order=order))[0]["views"]
    # Half a pixel on this image of 10-pixel patches is up to 5 % of a step.
    assert np.abs(one.astype(int) - other).mean() < 8


def test_extraction_for_training_sees_every_image_once_by_global_views(views):
    batches = arrays(views.extraction_batches("train", batch_size=8))
    whole = joined(batches)
    assert whole["index"].tolist() == [*range(30), 0, 1]
    assert whole["mask"].tolist() == [True] * 30 + [False] * 2
    assert len(whole["views"]) == 1
    assert whole["views"][0].shape == (32, 2, 16, 16, 3)


def test_extraction_for_evaluation_sees_every_image_once(views):
    whole = joined(arrays(views.extraction_batches("eval", batch_size=8)))
    assert whole["index"].tolist() == [*range(30), 0, 1]
    assert whole["images"].shape == (32, 16, 16, 3)
    assert whole["mask"].sum() == 30


def test_no_pass_has_a_tuning_thread_that_its_end_would_wait_for(views):
    evaluation = data.evaluation_batches(
        views.source, image_size=16, batch_size=8
    )
    for batches in (
        views.batches(0),
        views.extraction_batches("train"),
        views.extraction_batches("eval"),
        evaluation,
    ):
        assert batches.options().autotune.enabled is False


def test_extraction_depends_on_the_draw_and_not_on_the_batch_size(views):
    def crops_by(epoch, batch_size):
        batches = views.extraction_batches(
            "train", batch_size=batch_size, draw=epoch
        )
        return joined(arrays(batches))["views"][0][:30]

    expected = crops_by(2, 8)
    np.testing.assert_array_equal(crops_by(2, 6), expected)
    assert (crops_by(3, 8) != expected).mean() > 0.9


def test_extraction_draws_other_crops_than_training():
    views = views_of(batch_size=30)
    trained = arrays(views.batches(0, order=np.arange(30)))[0]
    extracted = arrays(views.extraction_batches("train", draw=0))[0]
    assert (trained["views"][0] != extracted["views"][0]).mean() > 0.9


def test_evaluation_batches_resize_and_cut_the_centre():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 30:50] = 255  # the middle quarter
    source = data.ArraySource([image, image[:, :60]])
    batch = arrays(
        data.evaluation_batches(
            source, image_size=16, resize_size=20, batch_size=2
        )
    )[0]
    # 20 x 40 pixels: the centre is columns 12 to 28, the bar 15 to 25.
    np.testing.assert_array_equal(batch["images"][0, :, 4:12], 255)
    np.testing.assert_array_equal(batch["images"][0, :, :2], 0)


def test_an_image_of_the_evaluated_size_is_unchanged():
    source = data.ArraySource(SMALL)
    batch = arrays(
        data.evaluation_batches(source, image_size=20, batch_size=30)
    )[0]
    np.testing.assert_array_equal(batch["images"], SMALL)


@pytest.mark.parametrize("size, resize", [(224, 256), (96, 110), (64, 64)])
def test_default_resize_is_the_usual_one(size, resize):
    assert data.default_resize(size) == resize


def test_on_device_gives_views_first_in_0_to_1():
    views = views_of()
    batch = next(iter(views.batches(0)))
    large, small = views.on_device(batch)
    assert large.shape == (2, 8, 16, 16, 3) and small.shape == (3, 8, 12, 12, 3)
    assert large.dtype == tf.float32
    assert np.min(large) >= 0 and np.max(large) <= 1


def test_on_device_without_augmentation_gives_the_crops():
    views = views_of(augmentation="none")
    batch = next(iter(views.batches(0)))
    expected = np.swapaxes(batch["views"][0], 0, 1) / 255
    np.testing.assert_allclose(views.on_device(batch)[0], expected, atol=1e-6)


def test_on_device_of_evaluation_is_one_view():
    views = views_of()
    batch = next(iter(views.extraction_batches("eval")))
    (images,) = views.on_device(batch)
    np.testing.assert_allclose(images[0], batch["images"] / 255, atol=1e-6)


def test_flips_happen_by_their_probability():
    half = np.zeros((1, 20, 20, 3), np.uint8)
    half[:, :, :10] = 255
    knobs = {
        "view_sizes": (16,),
        "num_views": (1,),
        "view_scales": ((1.0, 1.0),),
        "augmentation": "none",
        "aspect_ratio": 1.0,
    }
    images = np.repeat(half, 64, axis=0)
    for flip, low, high in ((0.0, 0, 0), (1.0, 64, 64), (0.5, 18, 46)):
        views = views_of(images, batch_size=64, flip_probability=flip, **knobs)
        left = arrays(views.batches(0))[0]["views"][0][:, 0, :, 0]
        assert low <= (left == 0).all(axis=(1, 2)).sum() <= high


@pytest.mark.slow
def test_two_replicas_get_the_rows_of_one_and_the_same_colours():
    code = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust import data
from tfclust.runtime.sharing import distribute
source = data.ArraySource(
    np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8))
views = data.Views(source, batch_size=8, view_sizes=(16,))
expected = views.on_device(next(iter(views.batches(0))))[0]
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
batches = distribute(
    strategy, lambda **shards: views.batches(0, **shards))
@tf.function
def step(batch):
    def replica(batch):
        images, = views.on_device(batch)
        return tf.distribute.get_replica_context().all_gather(images, axis=1)
    return strategy.run(replica, args=(batch,))
found = strategy.experimental_local_results(step(next(batches)))[0]
print("largest difference", np.abs(found - expected).max())
"""
    words = run_in_subprocess(code).split()
    assert words[:2] == ["largest", "difference"] and float(words[2]) < 1e-6


@pytest.mark.parametrize("images", [SMALL, slow(LARGE)], ids=["stored", "each"])
def test_turns_are_keyed_and_change_no_other_number(images):
    still = arrays(views_of(images).batches(1))
    barely = arrays(views_of(images, rotation_degrees=1e-5).batches(1))
    assert_same(barely, still)  # the same boxes, flips and colours
    views = views_of(images, rotation_degrees=20.0)
    turned = arrays(views.batches(1))
    assert_same(turned[0]["photometric"], still[0]["photometric"])
    assert (turned[0]["views"][0] != still[0]["views"][0]).mean() > 0.5
    assert_same(arrays(views.batches(1, start_step=1)), turned[1:])
    halves = [arrays(views.batches(1, num_shards=2, shard=s)) for s in (0, 1)]
    for whole, *parts in zip(turned, *halves, strict=True):
        assert_same(joined(parts), whole)


@pytest.mark.parametrize("images", [SMALL, LARGE], ids=["stored", "each"])
def test_turns_reach_the_angle_either_way(images):
    """A bright half plane tilts by the angle that its edge shows."""
    half = [np.zeros((40, 40, 3), np.uint8) for _ in range(64)]
    for image in half:
        image[:, 20:] = 255
    if images is LARGE:
        half[0] = half[0][:39]  # of two sizes, so that each is cut alone
    views = views_of(
        half,
        batch_size=64,
        view_sizes=(32,),
        num_views=(1,),
        view_scales=((1.0, 1.0),),
        aspect_ratio=1.0,
        augmentation="none",
        rotation_degrees=30.0,
    )
    crops_seen = arrays(views.batches(0))[0]["views"][0][:, 0, :, :, 0] > 127
    bright = crops_seen.sum(axis=2)  # [64, 32] by row
    angles = np.rad2deg(np.arctan((bright[:, 20] - bright[:, 11]) / 9))
    assert -34 < angles.min() < -15 and 15 < angles.max() < 34


def test_crops_that_shrink_too_far_are_not_cut_from_the_store():
    """The store's crops are plain; the others are antialiased one by one."""
    images = RNG.integers(0, 256, (8, 24, 24, 3), np.uint8)
    for scale, least, stored in (
        (1.0, 2.0, False),
        (0.5, 2.0, True),
        # sqrt(0.5 * 24 * 24 * 4 / 3) / 12 = 1.63
        (0.5, 1.7, True),
        (0.5, 1.6, False),
        (0.3, 1.51, True),
        (0.3, 1.5, False),  # the views of 16 px shrink from 24
        (0.12, 1.0, False),
    ):
        views = views_of(
            images,
            view_scales=((0.1, 1.0), (0.1, scale)),
            antialias_from=least,
        )
        views.batches(0)
        assert (views._cutter(2)._store is not None) == stored
