"""VOC and COCO: what is read, and what is left out, by name."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from export.detection import annotated, batches
from tests.support import detectors
from tests.support.image_files import encoded, picture


def opened(uri, **knobs):
    return annotated.open_annotated(uri, **{"max_bad_share": 0.5, **knobs})


def left_out(data):
    return {(one.what, one.name): one.why for one in data.left_out}


@pytest.fixture
def two(tmp_path):
    """Two images of 30 x 20, one without boxes."""
    images = {
        "a": (picture(20, 30), [("cat", (1, 1, 10, 20), 0)]),
        "b": (picture(20, 30), []),
    }
    return detectors.write_voc(tmp_path / "two", images, split="train")


def test_voc_boxes_lose_the_count_from_one_and_keep_their_last_pixel(two):
    data = opened(f"voc:{two}")
    assert data.names == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]
    np.testing.assert_array_equal(data.boxes[0], [[0, 0, 10, 20]])
    assert data.class_names == ("cat",) and not data.left_out


def test_images_without_boxes_are_kept(two):
    data = opened(f"voc:{two}")
    assert data.boxes[1].shape == (0, 4) and data.labels[1].shape == (0,)
    _, boxes, labels = next(iter(batches.whole(data, 64, 2)))
    assert (boxes.numpy()[1] == -1).all() and (labels.numpy()[1] == -1).all()


def test_zip_reads_as_its_folder_does(two, tmp_path):
    shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path, "two")
    from_zip = opened(f"voc:{tmp_path}/two.zip?split=train")
    from_folder = opened(f"voc:{two}?split=train")
    assert from_zip.digest() == from_folder.digest()
    assert from_zip.read(0) == from_folder.read(0)


def test_each_bad_part_is_named_with_its_reason(tmp_path):
    good = [("cat", (3, 3, 9, 9), 0)]
    boxes = [
        *good,
        ("cat", (5, 5, 5, 5), 0),
        ("cat", (31, 3, 40, 9), 0),
        ("cat", (20, 3, 40, 9), 0),
    ]
    images = {"boxes": (picture(20, 30), boxes), "gone": (None, good)}
    images |= {f"fine{i}": (picture(20, 30), good) for i in range(9)}
    folder = detectors.write_voc(tmp_path, images)
    (folder / "Annotations/broken.xml").write_text("<annotation><object>")
    (folder / "JPEGImages/fine0.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "JPEGImages/fine1.jpg").write_bytes(encoded(picture(10, 30)))
    data = opened(f"voc:{folder}")
    assert len(data.names) == 8
    told = left_out(data)
    assert told["image", "JPEGImages/gone.jpg"] == "No such file or directory"
    assert "damaged" in told["image", "JPEGImages/fine0.jpg"]
    assert (
        "30 x 20 pixels, the file has 30 x 10"
        in (told["image", "JPEGImages/fine1.jpg"])
    )
    assert told["annotation", "Annotations/broken.xml"].startswith("broken: ")
    reasons = [o.why for o in data.left_out if o.what == "box"]
    assert reasons == [
        "(5, 5, 5, 5) no area",
        "(30, 2, 40, 9) outside the image",
        "(19, 2, 40, 9) cut to the image of 30 x 20",
    ]
    np.testing.assert_array_equal(
        data.boxes[data.names.index("JPEGImages/boxes.jpg")],
        [[2, 2, 9, 9], [19, 2, 30, 9]],
    )


@pytest.mark.parametrize("upright", [False, True])
def test_boxes_of_a_turned_photo_lie_where_its_size_says(tmp_path, upright):
    """Red where the box is, in the picture that the annotation is for."""
    seen = np.full([20, 30, 3], 90, np.uint8)
    seen[4:8, 6:12] = 255, 0, 0
    stored = np.ascontiguousarray(np.rot90(seen))  # 6 turns it back
    box = (7, 5, 12, 8) if upright else (5, 19, 8, 24)
    images = {"a": (seen if upright else stored, [("red", box, 0)])}
    folder = detectors.write_voc(tmp_path, images)
    turned = Image.Exif()
    turned[0x0112] = 6
    file = encoded(stored, "PNG", exif=turned)
    (folder / "JPEGImages/a.jpg").write_bytes(file)
    data = opened(f"voc:{folder}")
    assert data.sizes.tolist() == [[20, 30] if upright else [30, 20]]
    canvases, boxes, _ = next(iter(batches.whole(data, 30, 1)))
    left, top, right, bottom = boxes.numpy()[0, 0].astype(int)
    inside = canvases.numpy()[0, top:bottom, left:right]
    np.testing.assert_array_equal(
        inside, np.broadcast_to([255, 0, 0], inside.shape)
    )
    assert inside.size == 4 * 6 * 3


@pytest.mark.parametrize(
    ("corner", "words"),
    [("many", "<xmin> is 'many', not a number"), ("nan", "not a number")],
)
def test_corners_that_are_no_numbers_are_named(two, corner, words):
    path = two / "Annotations/a.xml"
    xml = path.read_text().replace("<xmin>1<", f"<xmin>{corner}<")
    path.write_text(xml)
    data = opened(f"voc:{two}", class_names=("cat",))
    assert any(words in one.why for one in data.left_out)


def test_more_bad_images_than_allowed_are_an_error(two):
    (two / "JPEGImages/a.jpg").unlink()
    with pytest.raises(ValueError, match="1 of 2 images cannot be used.*a.jpg"):
        opened(f"voc:{two}", max_bad_share=0.1)


def test_missing_split_tells_those_there_are(two):
    with pytest.raises(FileNotFoundError, match="Main/val.txt. Found train"):
        opened(f"voc:{two}?split=val")


def test_difficult_boxes_are_ignored_ones(tmp_path):
    boxes = [("cat", (3, 3, 9, 9), 1), ("cat", (13, 3, 19, 9), 0)]
    images = {"a": (picture(20, 30), boxes)}
    folder = detectors.write_voc(tmp_path, images)
    data = opened(f"voc:{folder}")
    assert data.ignored[0].tolist() == [True, False]
    _, found, _ = next(iter(batches.whole(data, 60, 1)))
    np.testing.assert_array_equal(found.numpy()[0, 0], [24, 4, 38, 18])
    assert (found.numpy()[0, 1] == -1).all()


def test_boxes_of_a_class_that_was_not_learnt_are_left_out(tmp_path):
    boxes = [
        ("cat", (3, 3, 9, 9), 0),
        ("emu", (3, 3, 9, 9), 0),
        ("ox", (5, 5, 5, 5), 0),
    ]
    images = {"a": (picture(20, 30), boxes), "b": (picture(20, 30), boxes[1:])}
    folder = detectors.write_voc(tmp_path, images)
    data = opened(f"voc:{folder}", class_names=("cat", "dog"))
    assert data.class_names == ("cat", "dog")
    assert [one.tolist() for one in data.labels] == [[0], []]
    reasons = [one.why for one in data.left_out]
    assert reasons == 2 * [
        "(2, 2, 9, 9) of a class that is not learnt: emu",
        "(5, 5, 5, 5) no area",
    ]


def test_images_of_other_classes_alone_are_refused(two):
    with pytest.raises(ValueError, match="eval_data must .* dog.*only cat"):
        opened(f"voc:{two}", class_names=("dog",), argument="eval_data")


def test_coco_boxes_crowds_and_strange_annotations(tmp_path):
    rows = [
        {"image_id": 1, "category_id": 2, "bbox": [3, 4, 5, 6]},
        {"image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9]},
        {"image_id": 1, "category_id": 9, "bbox": [0, 0, 9, 9]},
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9]},
        {"image_id": 1, "category_id": 1, "bbox": [3, 3, 0, 9]},
    ]
    images = {"b.png": picture(20, 30), "a.png": picture(20, 30)}
    path = detectors.write_coco(tmp_path / "x" / "all.json", images, rows)
    data = opened(f"coco:{path}")
    assert data.names == ["a.png", "b.png"]
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.boxes[1], [[3, 4, 8, 10]])
    assert data.labels[1].tolist() == [1]
    assert data.ignored[0].tolist() == [True]
    told = left_out(data)
    assert told["box", "annotation 3"] == "no image has the id 7"
    assert told["box", "annotation 4"] == "no category has the id 9"
    assert "not four numbers" in told["box", "annotation 5"]
    assert "no area" in told["box", "b.png"]


def test_coco_finds_images_where_coco_lays_them(tmp_path):
    path = detectors.write_coco(
        tmp_path / "annotations" / "instances_val2017.json",
        {"a.png": picture(20, 30)},
        [{"image_id": 1, "category_id": 1, "bbox": [3, 4, 5, 6]}],
    )
    (tmp_path / "val2017").mkdir()
    (path.parent / "a.png").rename(tmp_path / "val2017" / "a.png")
    assert opened(f"coco:{path}").names == ["a.png"]
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "val2017").rename(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"Give it: \?images="):
        opened(f"coco:{path}")
    assert opened(f"coco:{path}?images={elsewhere}").names == ["a.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("{", "is broken JSON"),
        ("[]", "must have a list of images"),
        (json.dumps({"images": [{}]}), "images with id and file_name"),
    ],
)
def test_other_json_files_are_refused(tmp_path, words, told):
    (tmp_path / "a.json").write_text(words)
    with pytest.raises(ValueError, match=told):
        opened(f"coco:{tmp_path}/a.json")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("/some/folder", "must name images with boxes"),
        ("folder:/a", "must name images with boxes"),
        ("voc:", "must name images with boxes"),
        ("voc:/a?part=train", "voc: takes split"),
        ("voc:/nowhere/at/all", "nothing at /nowhere/at/all"),
        ("coco:/nowhere/at.json", "nothing at /nowhere/at.json"),
    ],
)
def test_uris_that_name_nothing_are_refused(uri, told):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        opened(uri)


def test_files_that_are_no_zip_and_folders_without_annotations(tmp_path):
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(ValueError, match="a folder or a zip"):
        opened(f"voc:{tmp_path}/a.zip")
    with pytest.raises(FileNotFoundError, match="with Annotations/ in it"):
        opened(f"voc:{tmp_path}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("readme.txt", "x")
    with pytest.raises(FileNotFoundError, match="expects Annotations/ in"):
        opened(f"voc:{tmp_path}/b.zip")


def test_bccd_is_read_as_its_readme_counts_it(shared_data):
    data = opened(f"voc:{shared_data}/bccd_voc.zip?split=test")
    assert len(data.names) == 72
    assert data.class_names == ("Platelets", "RBC", "WBC")
    every = opened(f"voc:{shared_data}/bccd_voc.zip")
    counts = np.bincount(np.concatenate(every.labels))
    zero = [one for one in every.left_out if "no area" in one.why]
    assert [o.name[-9:-4] for o in zero] == ["00338", "00343"]
    # 361 platelets, 4,155 red and 372 white cells are in the files.
    assert counts.sum() + len(zero) == 361 + 4155 + 372
