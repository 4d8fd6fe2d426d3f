"""VOC folders and zips as a source of images with several labels."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support import detectors
from tests.support.image_files import encoded, picture
from tfclust import data

BOX = (1, 1, 10, 20)


@pytest.fixture
def voc(tmp_path):
    """Three images; b has a difficult cat alone, c nothing."""
    images = {
        "a": (picture(20, 30), [("cat", BOX, 0), ("cat", BOX, 1),
                                ("dog", BOX, 0)]),
        "b": (picture(21, 30), [("cat", BOX, 1), ("dog", BOX, 0)]),
        "c": (picture(22, 30), []),
    }  # fmt: skip
    return detectors.write_voc(tmp_path / "voc", images, split="train")


def sets_of(source):
    return dict(
        zip(source.class_names, source.label_sets.T.tolist(), strict=True)
    )


def test_labels_of_annotations_are_one_zero_or_not_asked(voc):
    source = data.open_source(f"voc:{voc}?split=train")
    assert source.labels is None and source.label_sets.dtype == np.int8
    assert sets_of(source) == {"cat": [1, -1, 0], "dog": [1, 1, 0]}
    assert source.heights.tolist() == [20, 21, 22]


def test_lists_of_classes_come_before_annotations(voc):
    lists = voc / "ImageSets/Main"
    (lists / "cat_train.txt").write_text("a -1\nb  0\nc  1\n")
    (lists / "ox_train.txt").write_text("a  1\nb -1\nc -1\n")
    source = data.open_source(f"voc:{voc}?split=train")
    assert sets_of(source) == {"cat": [0, -1, 1], "ox": [1, 0, 0]}
    # Without a split nothing is known but what annotations say.
    every = data.open_source(f"voc:{voc}")
    assert every.class_names == ("cat", "dog")


def test_classes_have_the_same_number_in_each_split(voc):
    (voc / "ImageSets/Main/c.txt").write_text("c\n")
    source = data.open_source(f"voc:{voc}?split=c")
    assert source.class_names == ("cat", "dog") and source.num_images == 1


def test_zip_reads_as_its_folder_does(voc, tmp_path):
    shutil.make_archive(str(tmp_path / "voc"), "zip", tmp_path, "voc")
    folder = data.open_source(f"voc:{voc}?split=train")
    of_zip = data.open_source(f"voc:{tmp_path}/voc.zip?split=train")
    assert of_zip.manifest_hash == folder.manifest_hash
    np.testing.assert_array_equal(of_zip.label_sets, folder.label_sets)
    pixels = [s.image(tf.constant(1, tf.int64)) for s in (folder, of_zip)]
    np.testing.assert_array_equal(*pixels)
    # Equal images, as a copy of a folder has them.
    assert of_zip.num_shared(folder) == 3


def test_parts_of_it_keep_their_sets(voc):
    source = data.open_source(f"voc:{voc}")
    part = data.Sample(source, np.array([2, 0]))
    np.testing.assert_array_equal(part.label_sets, source.label_sets[[2, 0]])
    assert data.stratified(source, 0.5, seed=0).num_images == 2
    assert part.num_shared(data.Sample(source, np.array([0, 1]))) == 1


def test_a_changed_image_is_replaced_and_told(voc):
    source = data.open_source(f"voc:{voc}")
    (voc / "JPEGImages/a.jpg").write_bytes(encoded(picture(9, 9)))
    indices = tf.constant([0, 1], tf.int64)
    _, choice = source.fetch(indices)
    assert int(choice) == 1
    assert source.failures == {"JPEGImages/a.jpg": "changed since the check"}


def test_bad_parts_are_left_out_by_name(voc):
    (voc / "Annotations/a.xml").write_text("<annotation><object>")
    (voc / "JPEGImages/b.jpg").write_bytes(b"\xff\xd8\xff nothing")
    source = data.open_source(f"voc:{voc}", max_bad_share=0.6)
    assert source.num_images == 1
    names = [name for name, _ in source.skipped]
    assert names == ["JPEGImages/b.jpg", "Annotations/a.xml"]
    with pytest.raises(ValueError, match="1 annotations|cannot be read"):
        data.open_source(f"voc:{voc}")


def broken_list(voc):
    (voc / "ImageSets/Main/cat_train.txt").write_text("a 7\n")


def short_list(voc):
    (voc / "ImageSets/Main/cat_train.txt").write_text("a 1\n")


def nothing_in_it(voc):
    for file in (voc / "Annotations").iterdir():
        file.write_text("<annotation></annotation>")


@pytest.mark.parametrize(
    ("uri", "change", "words"),
    [
        (
            "voc:{}?split=val",
            None,
            "expects ImageSets/Main/val.txt. Found t",
        ),
        ("voc:{}?sets=Layout", None, "sets must be one of Main, Segmentation"),
        ("voc:{}?sets=Segmentation", None, "expects PNG files in Segm"),
        ("voc:{}/none", None, "nothing at"),
        ("voc:{}/Annotations", None, "a folder with JPEGImages/ in it"),
        ("voc:{}?split=train", broken_list, "1, -1 or 0 in each line"),
        ("voc:{}?split=train", short_list, "2 that it lacks, such as b"),
        ("voc:{}?split=train", nothing_in_it, "must name objects in Annot"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_argument(
    voc, uri, change, words
):
    if change is not None:
        change(voc)
    with pytest.raises((ValueError, OSError), match=words):
        data.open_source(uri.format(voc), argument="train_data")


def test_blood_cells_are_read_from_their_zip(shared_data):
    path = shared_data / "bccd_voc.zip"
    if not path.is_file():
        pytest.skip("needs bccd_voc.zip")
    source = data.open_source(f"voc:{path}?split=test")
    assert source.class_names == ("Platelets", "RBC", "WBC")
    assert source.num_images == 72
    assert (source.label_sets == 1).sum(axis=1).max() == 3
