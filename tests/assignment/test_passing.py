"""Images opened for a model, and the list of those left out."""

import csv
import pathlib
import shutil
import types

import pytest
import tensorflow as tf

from tests.support.assigned import config, model, photos
from tfclust import data
from tfclust.assignment import assigning, passing
from tfclust.data.reading import scan
from tfclust.runs.config import RunConfig


def test_runs_own_images_open_as_in_its_training(tmp_path, monkeypatch):
    """What the run has let pass and checked is neither refused nor repeated."""
    root, cache = tmp_path / "digits", tmp_path / "cache"
    photos(root, count=20)
    (root / "5.png").write_bytes(b"none")
    cache.mkdir()
    run = RunConfig(
        data=f"folder:{root}", max_bad_share=0.2, cache_dir=str(cache)
    )
    data.open_source(run.data, max_bad_share=0.2, cache_dir=str(cache))
    with monkeypatch.context() as patch:
        patch.setattr(scan, "check_images", None)
        own = passing.open_images(config(), model(run=run), print)
    assert own.num_images == 19
    with pytest.raises(ValueError, match="1 of 20 images cannot be read"):
        passing.open_images(config(max_bad_share=0.0), model(run=run), print)
    other = shutil.copytree(root, tmp_path / "other")
    new = config(data=f"folder:{other}")
    with pytest.raises(ValueError, match="1 of 20 images cannot be read"):
        passing.open_images(new, model(run=run), print)


def test_image_that_was_away_only_while_a_run_trained_has_its_row(
    workdir, monkeypatch
):
    source = photos(workdir / "digits", count=20)
    back, gone = source.manifest().names[3:5]
    told = []
    source.when_failing(lambda *failure: told.append(failure))
    source.note_failure(back, "No such file or directory")
    source.note_failure(gone, "No such file or directory")
    pathlib.Path(source.path(4)).unlink()
    method = types.SimpleNamespace(
        views=types.SimpleNamespace(source=source),
        clusterer=None,
        distribute_strategy=tf.distribute.get_strategy(),
    )
    trained = types.SimpleNamespace(
        method=method, workdir=workdir, step=7, run=None
    )
    monkeypatch.setattr(assigning.models, "of_method", lambda *_: model())
    assigning.after_training(trained, 9, print)
    with open(workdir / "clusters.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert back in names and gone not in names and len(names) == 19
    assert len(told) == 2  # and none of them again


BEFORE = "an.png\tdamaged\n"
GONE = {"a.png": "No such file or directory"}
LINE = "a.png\tNo such file or directory"


@pytest.fixture
def workdir(tmp_path):
    """A run's folder with its list of images left out."""
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    (tmp_path / "skipped.txt").write_text(BEFORE)
    return tmp_path


def test_list_of_a_runs_left_out_images_only_grows(workdir):
    source = types.SimpleNamespace(skipped=[])
    for _ in range(2):
        passing.list_left_out(workdir / "clusters.csv", source, GONE, print)
        assert (workdir / "skipped.txt").read_text() == (
            f"{BEFORE}{LINE} (after the check)\n"
        )


def test_other_images_have_a_list_of_their_own_in_a_runs_folder(workdir):
    """Even one that is called as an image of the training."""
    source = types.SimpleNamespace(skipped=[("an.png", "empty")])
    passing.list_left_out(workdir / "new.csv", source, GONE, print)
    assert (workdir / "skipped.txt").read_text() == BEFORE
    listed = (workdir / "new.skipped.txt").read_text()
    assert listed == f"an.png\tempty\n{LINE}\n"
