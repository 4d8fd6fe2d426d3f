"""Sources by name: arrays of NumPy files, sets of TensorFlow Datasets."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support.image_files import pixels
from tfclust import data

RNG = np.random.default_rng(0)


# npz:


@pytest.fixture
def archive(tmp_path):
    arrays = {
        "x": RNG.integers(0, 256, (6, 7, 8, 3), np.uint8),
        "grey": RNG.integers(0, 256, (6, 7, 8, 1), np.uint8),
        "y": np.array([0, 1, 2, 0, 1, 2]),
        "column": np.arange(6)[:, None],
        "class_names": np.array(["ant", "bee", "cat"]),
        "floats": np.zeros((6, 7, 8, 3)),
        "short": np.arange(5),
        "objects": np.array([{}, 1], object),
    }
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz", arrays


def test_arrays_of_a_file_are_images_and_labels(archive):
    path, arrays = archive
    source = data.open_source(f"npz:{path}?images=x&labels=y")
    np.testing.assert_array_equal(np.array(pixels(source)), arrays["x"])
    np.testing.assert_array_equal(source.labels, arrays["y"])
    assert source.class_names == ("ant", "bee", "cat")
    unlabelled = data.open_source(f"npz:{path}?images=x", max_images=4)
    assert unlabelled.labels is None and unlabelled.num_images == 4
    assert source.num_shared(unlabelled) == 4


def test_grey_images_and_columns_of_labels_are_taken(archive):
    path, arrays = archive
    source = data.open_source(f"npz:{path}?images=grey&labels=column")
    found = np.array(pixels(source))
    np.testing.assert_array_equal(found, np.repeat(arrays["grey"], 3, -1))
    assert source.labels.tolist() == list(range(6))
    assert source.class_names is None  # three names for six labels


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "does not say which array"),
        ("?labels=y", "does not say which array"),
        ("?images=z", "no array z. Write images=<name> with one of: x, grey"),
        ("?images=x&labels=z", "Write labels=<name> with one of"),
        ("?images=floats", "uint8.*floats of type float64"),
        ("?images=y", "uint8.*y of type int64"),
        ("?images=x&labels=short", "short.*shape \\(5,\\) for 6 images"),
        ("?images=x&labels=class_names", "one integer per image"),
        ("?images=objects", "array of Python objects"),
        ("?images=x&images=grey", "each once"),
        ("?image=x", "takes images, labels"),
        ("?images=", "each once"),
    ],
)
def test_arrays_that_are_none_are_reported_with_the_way_out(
    archive, query, words
):
    with pytest.raises(ValueError, match=words):
        data.open_source(f"npz:{archive[0]}{query}")


def test_files_that_are_no_archive_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="eval_data=npz:.*nothing"):
        data.open_source("npz:/nowhere?images=x", argument="eval_data")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("words")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("one.npy", "text.npz", "empty.npz", "zip.npz", ""):
        with pytest.raises(ValueError, match="not a readable NumPy archive"):
            data.open_source(f"npz:{tmp_path}/{name}?images=x")


def test_a_bare_archive_is_answered_with_the_right_uri(archive):
    with pytest.raises(ValueError, match="Write npz:.*images=<array>"):
        data.open_source(str(archive[0]))


def test_cifar_arrays_are_read_with_their_classes(shared_data):
    path = shared_data / "cifar10_small.npz"
    source = data.open_source(f"npz:{path}?images=x_test&labels=y_test")
    assert source.num_images == 1000 and source.class_names[3] == "cat"
    assert (np.bincount(source.labels) == 100).all()


# tfds:

COUNT = 300


def prepared_fashion_mnist(shared_data, folder, file_format):
    """The first images of the real set, prepared from the given files."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.download import resource

    tfds.disable_progress_bar()
    builder = tfds.builder(
        "fashion_mnist", data_dir=str(folder), file_format=file_format
    )
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    for url, info in builder.url_infos.items():
        original = url.split("/")[-1]
        name = resource.get_dl_fname(url, info.checksum)
        shutil.copy(shared_data / "fashion_mnist" / original, downloads / name)
        about = {
            "urls": [url],
            "original_fname": original,
            "dataset_names": ["fashion_mnist"],
            "url_info": {"size": info.size, "checksum": info.checksum},
        }
        (downloads / f"{name}.INFO").write_text(json.dumps(about))
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            max_examples_per_split=COUNT
        )
    )
    return builder


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def fashion(request, shared_data, tmp_path_factory):
    """The builder, and its split `train` in the order of TFDS."""
    folder = tmp_path_factory.mktemp(request.param)
    builder = prepared_fashion_mnist(shared_data, folder, request.param)
    if request.param == "array_record":
        examples = list(builder.as_data_source(split="train"))
    else:
        tfds = sys.modules["tensorflow_datasets"]
        config = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = builder.as_dataset(split="train", read_config=config)
        examples = list(dataset.as_numpy_iterator())
    return folder, examples


def test_a_set_of_tfds_is_read_in_any_order_by_its_ids(fashion):
    folder, examples = fashion
    uri = f"tfds:fashion_mnist?split=train&data_dir={folder}"
    for _ in range(2):  # the second time from the index
        source = data.open_source(uri)
        assert source.num_images == len(examples) == COUNT
        assert source.class_names[9] == "Ankle boot"
        assert source.labels.tolist() == [int(e["label"]) for e in examples]
    order = [7, 299, 0, 7, 123]
    found = tf.data.Dataset.from_tensor_slices(np.int64(order))
    for i, image in zip(order, found.map(source.image), strict=True):
        grey = np.repeat(examples[i]["image"], 3, axis=-1)
        np.testing.assert_array_equal(image, grey)
    name = source.manifest().names[7]
    assert name.startswith("fashion_mnist-train.") and name.endswith("__7")


def test_a_part_of_a_split_is_those_records(fashion):
    folder, examples = fashion
    uri = f"tfds:fashion_mnist?split=train[10:40]&data_dir={folder}"
    source = data.open_source(uri, max_images=20)
    assert source.num_images == 20
    expected = [int(example["label"]) for example in examples[10:30]]
    assert source.labels.tolist() == expected
    assert source.manifest().names[0].endswith("__10")
    whole = data.open_source(f"tfds:fashion_mnist?data_dir={folder}")
    assert source.num_shared(whole) == 20
    test = f"tfds:fashion_mnist?split=test&data_dir={folder}"
    assert data.open_source(test).num_shared(whole) == 0


def test_a_prepared_folder_is_a_set_of_tfds(fashion):
    folder, _ = fashion
    (version,) = (folder / "fashion_mnist").iterdir()
    assert data.open_source(f"tfds:{version}").num_images == COUNT


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("fashion_mnist", "split=valid&", "splits train, test. Rec.*valid"),
        ("fashion_mnist", "split=train[5:5]&", "split=train\\[5:5\\]"),
        ("fashion_mnist", "image=label&", "image=<name> with one of: image"),
        ("fashion_mnist", "fold=1&", "takes split, data_dir, image, label"),
    ],
)
def test_what_a_set_does_not_have_is_reported(fashion, name, query, words):
    with pytest.raises(ValueError, match=words):
        data.open_source(f"tfds:{name}?{query}data_dir={fashion[0]}")


def test_names_that_tfds_does_not_know_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="no_such_set is not a data set of Tensor"
    ):
        data.open_source(f"tfds:no_such_set?data_dir={tmp_path}")
