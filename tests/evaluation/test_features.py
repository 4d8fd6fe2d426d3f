"""Features are computed once, kept by their content, and never out of date."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig, FeatureStore, Network, Subject
from tfclust.evaluation.probes.trainable import trainable_copy

ROOM = 1 << 20


def source(seed=0, num_images=6, size=8):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, [num_images, size, size, 3], np.uint8)
    return data.ArraySource(images, np.arange(num_images) % 2)


class Counted:
    """Mean colours, and how many passes over images were begun."""

    def __init__(self):
        self.traced = 0

    def __call__(self, images):
        self.traced += 1
        return tf.reduce_mean(images, axis=[1, 2])


def measured(store, *, digest="a", train=None, test=None, **sizes):
    """The features of both sources, and the number of passes."""
    counted = Counted()
    subject = Subject(
        Network(counted, digest=digest),
        train or source(),
        test or source(1),
        store=store,
        **{"image_size": 8, **sizes},
    )
    return subject.train_features, subject.test_features, counted.traced


def test_second_evaluation_passes_no_image_and_has_the_same_features(tmp_path):
    first = measured(FeatureStore(tmp_path, ROOM))
    second = measured(FeatureStore(tmp_path, ROOM))
    assert (first[2], second[2]) == (2, 0)
    for one, two in zip(first[:2], second[:2], strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({"digest": "b"}, 2),
        ({"image_size": 7}, 2),
        ({"resize_size": 9}, 2),
        ({"train": source(2)}, 1),
        ({"test": source(1, num_images=5)}, 1),
        ({"resize_size": 8}, 0),  # the default for 8
        ({"batch_size": 4}, 0),
        ({"digest": ""}, 2),
    ],
)
def test_other_weights_images_and_sizes_are_computed_anew(
    tmp_path, change, passes
):
    measured(FeatureStore(tmp_path, ROOM))
    assert measured(FeatureStore(tmp_path, ROOM), **change)[2] == passes


def network_of(units=3, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Normalization(mean=0.5, variance=1.0),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(units),
        ]
    )


def test_digest_of_a_network_is_that_of_its_weights_and_layers():
    model = network_of()
    digests = {evaluation.keras_network(model).digest}
    digests.add(evaluation.keras_network(network_of(seed=1)).digest)
    digests.add(evaluation.keras_network(model, words="other").digest)
    digests.add(evaluation.keras_network(model, head=[tf.ones(2)]).digest)
    other = keras.Sequential([keras.Input([8, 8, 3]), *model.layers])
    other.layers[0].mean = other.layers[0].input_mean = 0.4  # no weight
    digests.add(evaluation.keras_network(other).digest)
    assert len(digests) == 5
    weight = model.layers[-1].kernel
    weight.assign(weight + 1e-7)
    assert evaluation.keras_network(model).digest not in digests


def test_images_that_were_replaced_are_not_kept(tmp_path):
    lost = source()
    lost.failures["a.jpg"] = "gone"
    store = FeatureStore(tmp_path, ROOM)
    assert measured(store, train=lost)[2] == 2
    assert measured(store)[2] == 1  # the test source alone was kept


def test_damaged_file_is_computed_again_and_mended(tmp_path):
    said = []
    store = FeatureStore(tmp_path, ROOM, said.append)
    expected, _, _ = measured(store)
    for path in tmp_path.iterdir():
        bytes_of = bytearray(path.read_bytes())
        bytes_of[len(bytes_of) // 2] ^= 1
        path.write_bytes(bytes_of)
    found, _, passes = measured(store)
    assert passes == 2 and len(said) == 2 and "is damaged" in said[0]
    np.testing.assert_array_equal(found, expected)
    assert measured(store)[2] == 0


def test_cut_off_file_is_computed_again(tmp_path):
    store = FeatureStore(tmp_path, ROOM)
    measured(store)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert measured(store)[2] == 2


def test_folder_keeps_its_size_and_what_was_used_last(tmp_path):
    rows = np.zeros([10, 10], np.float32)  # 400 bytes and the file's own
    store = FeatureStore(tmp_path, 2000)
    for number in range(3):
        store.put(f"{number}", rows)
        os.utime(tmp_path / f"{number}.npz", (number, number))
    assert store.get("0") is not None  # used again
    store.put("3", rows)
    store.put("large", np.zeros([10, 100], np.float32))
    found = {key: store.get(key) is not None for key in "0123"}
    assert not found["1"] and found["3"]
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 2000
    assert store.get("large") is None


def test_features_without_room_are_told_with_the_room_they_need(tmp_path):
    said = []
    store = FeatureStore(tmp_path, 10**8, said.append)
    rows = np.broadcast_to(np.float32(0), [26 * 10**6])  # 104 MB
    store.put("large", rows)
    assert store.get("large") is None
    (line,) = said
    assert line.startswith("0.2 GB are not kept for the next evaluation: ")
    assert "may hold 0.1 GB. Give --feature_cache_gb=0.2 or more" in line


def test_half_written_files_are_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".a.npz.1.partial", tmp_path / ".b.npz.2.partial"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    FeatureStore(tmp_path, ROOM).put("a", np.zeros([2, 2]))
    assert not old.exists() and new.exists()


def test_folder_that_cannot_be_written_costs_no_evaluation(tmp_path):
    said = []
    file = tmp_path / "file"
    file.write_text("")
    store = FeatureStore(file / "folder", ROOM, said.append)
    assert measured(store)[2] == 2
    assert any("Features are not kept" in line for line in said)


def test_relu_is_part_of_what_features_depend_on():
    plain = Network(lambda images: images - 0.5, digest="a")
    assert plain.rectified().digest not in ("", plain.digest)
    assert Network(plain.features).rectified().digest == ""
    np.testing.assert_array_equal(
        plain.rectified().features(tf.constant([[0.25, 1.0]])), [[0.0, 0.5]]
    )


def test_relu_is_in_the_model_that_is_trained_further():
    images = np.random.default_rng(0).random([5, 8, 8, 3], np.float32)
    plain = evaluation.keras_network(network_of())
    rows = plain.keras_model()(images).numpy()
    assert (rows < 0).any() and (rows > 0).any()

    copy = trainable_copy(plain.rectified())

    found = copy(images).numpy()
    np.testing.assert_allclose(found, np.maximum(rows, 0), atol=1e-6)
    np.testing.assert_array_equal(plain.keras_model()(images), rows)
    assert Network(plain.features).rectified().keras_model is None


def test_feature_relu_reaches_the_protocols():
    """Two classes that only negative features tell apart become one."""

    def signed(images):
        below = -1 - images[:, 0, 0, :1]
        return tf.concat([below, tf.ones_like(below)], axis=1)

    grey = np.array([0, 255] * 20, np.uint8)[:, None, None, None]
    images = np.ones([40, 8, 8, 3], np.uint8) * grey
    images[:, 7, 7] = np.arange(40)[:, None]  # all are different images
    train = data.ArraySource(images[:30], np.arange(30) % 2)
    test = data.ArraySource(images[30:], np.arange(10) % 2)
    found = {
        relu: evaluation.evaluate(
            {"trained": signed},
            train,
            test,
            EvaluationConfig(protocols=("knn",), feature_relu=relu),
            image_size=8,
        )["trained"]["knn"]["top1"]
        for relu in (False, True)
    }
    assert found == {False: 1.0, True: 0.5}


def test_own_clusters_are_those_of_the_network(tmp_path):
    def clusters(images):
        return tf.cast(images[:, 0, 0, 0] * 255, tf.int32)

    network = Network(Counted(), digest="a", clusters=clusters)
    images = source()
    subject = Subject(
        network, None, images, image_size=8, store=FeatureStore(tmp_path, ROOM)
    )
    found = subject.clusters(images)
    pixels = images.stored().numpy()[:, 1, 1, 0]
    np.testing.assert_allclose(found, pixels, atol=1)  # a product, cut down
    assert found.dtype == np.int64
    bare = Subject(Counted(), None, images, image_size=8)
    assert bare.clusters(images) is None
