"""Settings and images that are refused, told or trained on."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.support.small_runs import quietly, recipe
from tfclust.runs import metrics, recipes
from tfclust.training import images

pytestmark = pytest.mark.usefixtures("one_block")


def test_a_clustering_that_finds_its_number_takes_any_limit(tmp_path):
    """More clusters than images are a limit that is never reached."""
    trained, _ = quietly(
        recipe(
            tmp_path,
            method="deepcluster",
            freeze_steps=None,
            clustering="pic",
            pca_width=4,
            num_clusters=100,
            epochs=1,
        )
    )
    figures = metrics.read_metrics(trained.workdir)[-1]
    assert 1 <= figures["found_clusters"] < 64
    chance = np.log(max(2, figures["found_clusters"]))
    assert figures["loss_over_log_k"] == pytest.approx(figures["loss"] / chance)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"data": ""}, "data must be given"),
        ({"workdir": ""}, "workdir must be given"),
        ({"epochs": None}, "epochs or steps"),
        ({"steps": 9}, "either epochs or steps.*epochs=2, steps=9"),
        ({"data": "cloud:x"}, "Received: data=cloud:x"),
        ({"batch_size": 65}, "64 images cannot fill a batch of 65"),
        ({"num_clusters": 65}, "64 images cannot fill 65 clusters"),
        ({"queue_rows": 24}, "queue_rows=24, batch_size=16. Try 16"),
        (
            {"queue_rows": 1_600_000_000},
            "queue_rows=1600000000, 64 images. Try 64",
        ),
        (
            {"backbone": "VGG16", "batch_size": 2},
            "vgg16 is too deep for images of 8 px.*view_sizes=8. Give 32",
        ),
        ({"image_size": 65}, "views of 65 px are more than 8 times larger"),
        ({"resize_size": 7}, "resize_size=7, image_size=8"),
        ({"warmup_epochs": 3.0}, "warmup_epochs=3, epochs=2"),
        ({"idle_epochs": 2.0}, "must leave some epochs.*idle_epochs=2"),
        ({"num_replicas": 2, "strategy": "one"}, "num_replicas=2"),
        ({"strategy": "multi_worker"}, "TF_CONFIG"),
        ({"num_views": (1,)}, "num_views must sum to at least 2"),
        ({"learning_rat": 3}, "no knob.*Did you mean learning_rate"),
        ({"min_cluster": 3}, "read only by odc"),
    ],
)
def test_impossible_setting_is_refused_with_its_numbers(
    tmp_path, knobs, message
):
    with pytest.raises(ValueError, match=message):
        quietly(recipe(knobs.pop("workdir", tmp_path), **knobs))
    assert not (tmp_path / "metrics.jsonl").exists()


def write_folder(folder, *, num=20, labelled=False, start=0):
    generator = np.random.default_rng(start)
    for i in range(start, start + num):
        where = folder / (f"class{i % 2}" if labelled else "")
        where.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(pixels).save(where / f"{i}.png")
    return f"folder:{folder}"


def test_images_without_labels_train_without_label_figures(tmp_path):
    data = write_folder(tmp_path / "images")
    quietly(recipe(tmp_path / "run", data=data, epochs=1))
    (figures,) = metrics.read_metrics(tmp_path / "run")
    assert "loss" in figures and "nmi_labels" not in figures


def test_test_images_need_labels_on_both_sides(tmp_path):
    data = write_folder(tmp_path / "images")
    with pytest.raises(ValueError, match="eval_data tests a kNN"):
        quietly(
            recipe(tmp_path / "run", data=data, eval_data="digits:?split=test")
        )


def test_test_images_of_other_classes_are_refused(tmp_path):
    data = write_folder(tmp_path / "images", labelled=True)
    with pytest.raises(ValueError, match="class0, class1 .2 classes"):
        quietly(recipe(tmp_path / "run", eval_data=data))


def test_unreadable_images_are_left_out_by_name(tmp_path):
    data = write_folder(tmp_path / "images")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    lenient = recipe(tmp_path / "run", data=data, epochs=1, max_bad_share=0.1)
    _, said = quietly(lenient)
    assert said[0].startswith("Left out: broken.jpg: ")


def test_images_left_out_that_a_plan_has_told_are_only_listed(tmp_path):
    data = write_folder(tmp_path / "images")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    lenient = recipe(tmp_path, data=data, max_bad_share=0.1)
    said: list = []
    images.open_images(lenient, tmp_path, said.append, told=True)
    assert not said
    assert "broken.jpg" in (tmp_path / "skipped.txt").read_text()


def test_unreadable_test_images_are_listed_too(tmp_path):
    data = write_folder(tmp_path / "images", labelled=True)
    test = write_folder(tmp_path / "test", labelled=True, start=20)
    (tmp_path / "test" / "class0" / "broken.jpg").write_bytes(b"no image")
    knobs = {"data": data, "eval_data": test, "epochs": 1}
    listed = tmp_path / "run" / "skipped.txt"
    _, said = quietly(recipe(tmp_path / "run", max_bad_share=0.1, **knobs))
    assert said[0].startswith("Left out: class0/broken.jpg: ")
    assert listed.read_text().startswith("class0/broken.jpg\t")
    with pytest.raises(ValueError, match="1 of .* listed in .*skipped.txt"):
        quietly(recipe(tmp_path / "run", max_bad_share=0.02, **knobs))
    (tmp_path / "images" / "class0" / "empty.jpg").touch()
    with pytest.raises(ValueError, match="1 of .* listed in .*skipped.txt"):
        quietly(recipe(tmp_path / "run", max_bad_share=0.02, **knobs))
    assert listed.read_text().startswith("class0/empty.jpg\tempty")
    before = listed.read_text()
    with pytest.raises(FileNotFoundError):
        quietly(recipe(tmp_path / "run", **knobs | {"data": "folder:/none"}))
    assert listed.read_text() == before  # a slip in a path costs no list


def test_an_image_that_cannot_be_listed_ends_no_run(tmp_path):
    said = []
    images._tell_failure(tmp_path / "gone", said.append, "a.jpg", "why")
    assert said[0] == "Replaced by others from now on: a.jpg: why"
    assert "could not be listed in skipped.txt: No such file" in said[1]


def test_recipe_survives_its_words(tmp_path):
    some = recipe(
        tmp_path,
        view_sizes=(16, 8),
        num_views=(2, 3),
        view_scales=((0.5, 1.0), (0.1, 0.5)),
        init_from="",
        seed=7,
    )
    words = json.loads(json.dumps(recipes.to_words(some)))
    assert recipes.from_words(words) == some
    assert recipes.differences(some, words) == []


def test_no_two_configs_share_a_knob():
    for config_class in recipes.METHOD_CONFIGS.values():
        names = [
            field.name
            for part in (*recipes.CONFIGS.values(), config_class)
            for field in dataclasses.fields(part)
        ]
        assert len(names) == len(set(names))
