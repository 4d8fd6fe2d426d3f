"""Passes over all images: in train mode shuffled, their results by index."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from tests.support import contract_run
from tests.support.image_views import arrays, assert_same, joined, views_of
from tests.support.marks import slow
from tests.support.tiny import tiny_backbone
from tfclust import data, methods, optimizers

COUNT = 500  # digits, of ten classes
WHOLE_IMAGES = {
    "view_sizes": (16,),
    "num_views": (1,),
    "view_scales": ((1.0, 1.0),),
    "aspect_ratio": 1.0,
    "flip_probability": 0.0,
    "augmentation": "none",
}
NARROW = {"projection_width": 16, "hidden_width": 32}
LABELLED = {
    "sela": {"sinkhorn_lambda": 25.0},
    "sela_v2": NARROW,
    "deepcluster_v2": NARROW,
}


@pytest.mark.parametrize("kind", ["train", "eval"])
def test_a_shuffled_pass_is_a_permutation_keyed_by_seed_and_pass(kind):
    def order(draw=3, **knobs):
        views = views_of(**knobs)
        batches = views.extraction_batches(kind, draw=draw, shuffle=True)
        return joined(arrays(batches))

    found = order()
    index, mask = found["index"], found["mask"]
    np.testing.assert_array_equal(np.sort(index[:30]), np.arange(30))
    assert mask.tolist() == [True] * 30 + [False] * 2
    np.testing.assert_array_equal(index[30:], index[:2])
    assert (index[:30] != np.arange(30)).mean() > 0.8
    assert_same(order(), found)
    assert (order(draw=4)["index"] != index).mean() > 0.8
    assert (order(seed=1)["index"] != index).mean() > 0.8
    # No epoch's order either, or the first epoch would repeat it.
    epoch = joined(arrays(views_of().batches(3)))["index"]
    assert (epoch != index[:24]).mean() > 0.8


@pytest.mark.parametrize("num_shards", [2, 4])
def test_splitting_a_shuffled_pass_changes_no_bit(num_shards):
    views, how = views_of(), {"draw": 3, "shuffle": True}
    whole = arrays(views.extraction_batches("train", **how))
    shards = [
        arrays(
            views.extraction_batches(
                "train", num_shards=num_shards, shard=shard, **how
            )
        )
        for shard in range(num_shards)
    ]
    for expected, *parts in zip(whole, *shards, strict=True):
        assert_same(joined(parts), expected)


def test_rows_of_a_shuffled_pass_are_returned_by_index():
    method = contract_run.build("sela")  # without batch norm
    views = contract_run.views(num_images=40)
    method.prepare(views)
    asked = []

    def recorded(*args, batches=views.extraction_batches, **how):
        asked.append(how["shuffle"])
        return batches(*args, **how)

    views.extraction_batches = recorded
    in_order = method.extract("features", training=False)
    shuffled = method.extract("features", training=True)
    assert asked == [False, True]
    # Other neighbours in a batch: the same sums in another order.
    np.testing.assert_allclose(shuffled, in_order, atol=1e-5)


def first_labels(name, order):
    """Labels `[N, H]` before any training, from a batch norm of batches."""
    digits = load_digits()
    images = np.uint8(digits.images[order].repeat(2, 1).repeat(2, 2) * 15.9)
    source = data.ArraySource(images[..., None].repeat(3, -1))
    keras.utils.set_random_seed(0)
    method = methods.METHODS[name](
        tiny_backbone(32, batch_norm=True),
        num_clusters=(10, 10),
        **LABELLED[name],
    )
    method.compile(optimizers.SGD(0.1))
    method.prepare(data.Views(source, batch_size=25, **WHOLE_IMAGES))
    method.reassign(method.extract)
    return method.labels.rows.numpy()


@pytest.mark.parametrize(
    "name", ["sela", *map(slow, ["sela_v2", "deepcluster_v2"])]
)
def test_images_sorted_by_class_get_as_good_labels_as_shuffled_ones(name):
    classes = load_digits().target[:COUNT]
    mixed = np.random.default_rng(0).permutation(COUNT)
    by_class = mixed[np.argsort(classes[mixed], kind="stable")]
    found = []
    for order in (mixed, by_class):
        heads = first_labels(name, order).T
        nmi = [normalized_mutual_info_score(classes[order], h) for h in heads]
        found.append(np.mean(nmi))
    # Batches of one class alone leave a third of the agreement or less; over
    # seeds, shuffled ones vary by 0.02.
    assert min(found) > 0.12
    assert abs(found[0] - found[1]) < 0.06
