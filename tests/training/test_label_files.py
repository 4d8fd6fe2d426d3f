"""Labels from CSV files: published ones, and tables of `tfclust.cluster`."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from tfclust import data
from tfclust.training import given_labels, label_files

NAMES = ("cat/a.png", "cat/b.png", "dog/a.png", "dog/c.png", "dog/d.png")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five images in two folders, two of which share a file name."""
    folder = tmp_path_factory.mktemp("images")
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (40 * i, 0, 0)).save(folder / name)
    found = data.open_source(f"folder:{folder}")
    assert tuple(found.manifest().names) == NAMES
    return found


@pytest.fixture
def labels_of(tmp_path, source):
    """Reads a file of these words."""

    def read(words):
        path = tmp_path / "labels.csv"
        path.write_bytes(words if isinstance(words, bytes) else words.encode())
        return label_files.read(str(path), source)

    return read


@settings(max_examples=30, deadline=None)
@given(
    some.lists(
        some.lists(some.integers(0, 3000), min_size=3, max_size=3),
        min_size=5,
        max_size=5,
    ),
    some.permutations(range(5)),
    some.sampled_from([True, False]),
    some.sampled_from([True, False]),
)
def test_rows_with_names_find_their_images_in_any_order(
    tmp_path_factory, source, labels, order, header, bare
):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    with path.open("w", newline="") as lines:
        rows = csv.writer(lines)
        if header:
            rows.writerow(["image", "head 1", "head 2", "head 3"])
        for i in order:
            # A file name alone is enough where no other image has it.
            alone = bare and NAMES[i] != "cat/a.png" and NAMES[i] != "dog/a.png"
            name = NAMES[i].split("/")[1] if alone else NAMES[i]
            rows.writerow([name, *labels[i]])
    np.testing.assert_array_equal(
        label_files.read(str(path), source), np.array(labels)
    )


def test_rows_without_names_are_in_the_order_of_the_images(labels_of):
    found = labels_of("3,1\n0,2\n\n5,-7\n ,2\n1,1\n")
    np.testing.assert_array_equal(
        found, [[3, 1], [0, 2], [5, -1], [-1, 2], [1, 1]]
    )


def test_table_of_clusters_is_read_by_its_columns(labels_of):
    words = (
        "cluster_name,name,confidence,cluster\n"
        'pets,cat/b.png,0.91,4\n"big, grey",dog/c.png,0.20,2\n'
        "pets,elsewhere.png,0.3,9\n"
    )
    np.testing.assert_array_equal(labels_of(words)[:, 0], [-1, 4, -1, 2, -1])


@pytest.fixture
def numbered(tmp_path):
    """Four images named by numbers."""
    for i in range(4):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{i}.png")
    return data.open_source(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    "header", ["name,cluster", "id,label", "image_id,a", "File Name,class"]
)
def test_numbers_below_a_header_of_names_are_names(numbered, tmp_path, header):
    path = tmp_path / "labels.csv"
    path.write_text(f"{header}\n2,5\n0,6\n1,7\n3,8\n")
    found = label_files.read(str(path), numbered)
    assert found[:, 0].tolist() == [6, 7, 5, 8]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("class_id,label\n2,5\n0,6\n", "below class_id,label.*the header out"),
        ("2,5\n0,6\n1,7\n3,8\n", "below no header.*put names before them"),
    ],
)
def test_numbers_that_may_be_names_or_labels_are_refused(
    numbered, tmp_path, rows, words
):
    path = tmp_path / "labels.csv"
    path.write_text(rows)
    with pytest.raises(ValueError, match=words):
        label_files.read(str(path), numbered)


def test_image_labelled_twice_must_have_the_same_labels(labels_of):
    found = labels_of("dog/d,2\ncat/b.png,4\nd.png,2\n")
    assert found[:, 0].tolist() == [-1, 4, -1, -1, 2]
    with pytest.raises(ValueError, match="'dog/d.png' again below, with other"):
        labels_of("dog/d.png,2\ncat/b.png,4\ndog/d,3\n")


def test_file_name_of_two_images_labels_neither(labels_of):
    found = labels_of("/data/train/a.png,1\n/data/train/d.png,2\n")
    np.testing.assert_array_equal(found[:, 0], [-1, -1, -1, -1, 2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "is empty"),
        ("name,cluster\n", "has a header and no labels"),
        ("1\n2\n", "2 rows for 5 images"),
        ("x.png,1\ny.png,2\n", "names none of the images. Received: 'x.png'"),
        ("cat/a.png,1\ncat/b.png\n", "Received: 'cat/b.png' in line 2"),
        ("cat/a.png,1\ncat/b.png,1.5\n", "'cat/b.png,1.5' in line 2"),
        ("name,cluster\ncat/a.png\n", "'cat/a.png' in line 2"),
        (b"\xff\xfe1\x00\n", "must be a CSV file in UTF-8"),
    ],
)
def test_other_files_are_refused_with_the_line(labels_of, words, message):
    with pytest.raises(ValueError, match=message) as error:
        labels_of(words)
    assert "labels.csv" in str(error.value)


def test_label_beyond_int32_is_refused_however_long(source, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("0\n1\n2\n3\n" + "9" * 40)
    with pytest.raises(ValueError, match="takes labels up to 2,147,483,646"):
        given_labels._of_file(str(path), source)


def test_missing_file_is_told_as_one(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv is no file"):
        label_files.read(str(tmp_path / "no.csv"), source)


@settings(max_examples=60, deadline=None)
@given(some.binary(max_size=80))
def test_any_bytes_are_labels_or_one_sentence(tmp_path_factory, source, words):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    path.write_bytes(words)
    try:
        found = label_files.read(str(path), source)
    except ValueError as error:
        assert "pseudo_labels=" in str(error)
    else:
        assert found.shape[0] == 5
        assert found.min() >= -1


def test_classes_of_each_head_are_counted(source, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{n},{i % 2},{i}\n" for i, n in enumerate(NAMES)))
    found = given_labels._of_file(str(path), source)
    assert found.num_clusters == (2, 5)
    assert found.labels.dtype == np.int32
    assert f"those of {path}: 2 heads of 2, 5" in given_labels.in_words(found)
