"""Streams of records: windows in order, the same wherever one begins."""

import gzip
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import TINY, status
from tests.support.image_files import encoded, example, write_records
from tests.support.marks import slow
from tests.support.small_runs import interrupted, quietly, recipe
from tfclust import data, evaluate, methods, optimizers
from tfclust.evaluation import EvaluationConfig
from tfclust.runs import checkpoints
from tfclust.training import measuring

NO_LABELS = [a for a in TINY if not a.startswith(("--eval_data", "--max_im"))]


def image(number):
    """Of a size of its own, and told by its colour."""
    colour = (number, 255 - number, 50)
    return np.full((20 + number % 3, 24, 3), colour, np.uint8)


def write_stream(folder, counts, packed=False):
    """Files of images that are numbered through."""
    number = 0
    for shard, count in enumerate(counts):
        path = folder / f"{shard}.tfrecord"
        numbers = range(number, number + count)
        write_records(path, [example(encoded(image(i))) for i in numbers])
        if packed:
            path.with_suffix(".gz").write_bytes(
                gzip.compress(path.read_bytes())
            )
            path.unlink()
        number += count
    return f"tfrecord_stream:{folder}/*?window=8"


def views_of(uri):
    return data.Views(
        data.open_source(uri, max_bad_share=0.2),
        batch_size=4,
        view_sizes=(16,),
        num_views=(1,),
        augmentation="none",
    )


def numbers_in(views, epoch, **where):
    """The number of each image of an epoch, from its colour."""
    batches = list(views.batches(epoch, **where))
    shown = np.concatenate([b["views"][0] for b in batches])[:, 0]
    assert (shown == shown[:, :1, :1]).all()
    return shown[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("packed", [slow(False), True])
def test_windows_follow_one_another_over_files_and_passes(tmp_path, packed):
    views = views_of(write_stream(tmp_path, [5, 0, 7, 9], packed))
    seen = [numbers_in(views, epoch) for epoch in range(5)]
    assert sorted(seen[0]) == list(range(8))
    assert sorted(seen[1]) == list(range(8, 16))
    first_pass = set(seen[2]) & set(range(16, 21))
    assert first_pass == set(range(16, 21))
    # The next pass takes the files in another order, but each once.
    rest = [n for n in seen[2] if n < 16] + seen[3] + seen[4]
    assert len(rest) == 19 and len(set(rest)) == 19
    assert seen[0] != sorted(seen[0])  # shuffled in the window


@pytest.mark.slow
def test_a_stream_begins_anywhere_as_if_it_had_run_there(tmp_path):
    uri = write_stream(tmp_path, [5, 7, 9])
    views = views_of(uri)
    seen = {epoch: numbers_in(views, epoch) for epoch in (1, 2, 3)}
    assert numbers_in(views_of(uri), 3) == seen[3]
    assert numbers_in(views_of(uri), 2, start_step=1) == seen[2][4:]
    assert numbers_in(views, 1) == seen[1]  # and goes back
    one, two = (
        numbers_in(views_of(uri), 1, num_shards=2, shard=s) for s in (0, 1)
    )
    assert one[:2] + two[:2] + one[2:] + two[2:] == seen[1]


def test_bad_records_of_a_window_are_replaced_within_it(tmp_path):
    records = [example(encoded(image(i))) for i in range(16)]
    records[2] = records[11] = example(b"junk")
    write_records(tmp_path / "a.tfrecord", records)
    uri = f"tfrecord_stream:{tmp_path}/a.tfrecord?window=8"
    views = views_of(uri)
    told = []
    views.source.when_failing(lambda *failure: told.append(failure))
    assert [name for name, _ in views.source.skipped] == ["a.tfrecord@2"]
    first, second = (numbers_in(views, epoch) for epoch in (0, 1))
    assert set(first) == set(range(8)) - {2} and len(first) == 8
    assert set(second) == set(range(8, 16)) - {11}
    assert [name for name, _ in told] == ["a.tfrecord@11"]
    assert numbers_in(views_of(uri), 1) == second


def test_bad_records_of_a_window_that_is_refused_are_reported(tmp_path):
    records = [example(encoded(image(i))) for i in range(16)]
    records[9:13] = [example(b"junk")] * 4
    write_records(tmp_path / "a.tfrecord", records)
    views = views_of(f"tfrecord_stream:{tmp_path}/a.tfrecord?window=8")
    told = []
    views.source.when_failing(lambda *failure: told.append(failure[0]))
    with pytest.raises(ValueError, match="4 of 8 images cannot be read"):
        views.source.begin_epoch(1)
    assert told == [f"a.tfrecord@{i}" for i in range(9, 13)]


def test_streams_that_are_none_are_refused(tmp_path):
    uri = write_stream(tmp_path, [3])
    path = tmp_path / "0.tfrecord"
    whole = path.read_bytes()
    for damaged in (whole[:-20], gzip.compress(whole)[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a complete TFRecord file"):
            data.open_source(uri)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="a stream needs a record"):
        data.open_source(uri)
    with pytest.raises(FileNotFoundError, match="Found 0 files"):
        data.open_source("tfrecord_stream:/nowhere*")
    for query in ("window=0", "window=x", "windows=3", "window=1&window=2"):
        with pytest.raises(ValueError, match="window"):
            data.open_source(f"tfrecord_stream:{path}?{query}")
    with pytest.raises(ValueError, match="max_images=3. Give fewer --steps"):
        data.open_source(uri, max_images=3)


@pytest.mark.slow
def test_an_interrupted_run_on_a_stream_goes_on_the_same(tmp_path):
    uri = write_stream(tmp_path, [30, 40, 50]).replace("=8", "=48")

    def run(name):
        known = {"epochs": None, "max_images": None}
        return recipe(tmp_path / name, data=uri, steps=8, **known)

    quietly(run("whole"))
    stopped, _ = interrupted(run("parts"), 4)  # in the second window
    assert stopped.interrupted and stopped.step == 5
    quietly(run("parts"))
    whole, parts = (
        checkpoints.latest(tmp_path / name).arrays
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, parts[name], err_msg=name)
    metrics = [
        json.loads(line)
        for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    ]
    assert len(metrics) == 3  # 48 images are 3 steps of 16
    assert {m["changed_share"] for m in metrics} == {None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method=deepcluster_v2", "--steps=3"], "instead of tfrecord_str"),
        (
            ["--method=odc", "--hidden_width=8", "--steps=3"],
            "method=odc keeps something for each",
        ),
        (["--epochs=1"], "Give --steps"),
        (["--steps=3", "--eval_data=digits:"], "without labels"),
    ],
)
def test_what_needs_known_images_is_refused_by_name(
    tmp_path, capsys, arguments, words
):
    uri = write_stream(tmp_path, [30]).replace("=8", "=16")
    known = [a for a in NO_LABELS if not a.startswith("--freeze_steps")]
    folder = f"--workdir={tmp_path / 'run'}"
    assert status("train", *known, f"--data={uri}", folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error


def test_a_method_in_python_refuses_a_stream_that_it_cannot_use(tmp_path):
    uri = write_stream(tmp_path, [30]).replace("=8", "=16")
    views = data.Views(data.open_source(uri), batch_size=8, image_size=16)
    backbone = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    method = methods.DeepClusterV2(backbone, num_clusters=4, hidden_width=8)
    method.compile(optimizer=optimizers.LARS(learning_rate=0.1))
    with pytest.raises(ValueError, match="keeps something for each.*use SwAV"):
        method.fit(views, steps=1)


def test_evaluation_of_a_stream_is_refused_with_the_way_out(tmp_path):
    uri = write_stream(tmp_path, [30]).replace("=8", "=16")
    known = {"epochs": None, "max_images": None}
    run = recipe(tmp_path / "run", data=uri, steps=1, **known)
    command = evaluate.EvaluateConfig(workdir=run.run.workdir)
    with pytest.raises(ValueError, match="read again"):
        measuring.open_labelled(command, EvaluationConfig(), run)


def test_sizes_of_a_window_are_those_of_its_images(tmp_path):
    views = views_of(write_stream(tmp_path, [5, 7, 9]))
    for epoch in (0, 1):
        views.source.begin_epoch(epoch)
        for i in range(8):
            height = views.source.image(tf.constant(i, tf.int64)).shape[0]
            assert height == views.source.heights[i]
