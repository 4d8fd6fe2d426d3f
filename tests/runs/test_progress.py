"""What a run writes and says of its epochs."""

import json
import time

import keras
import pytest
import tensorflow as tf

from tests.support import contract_run
from tests.support.disk import full_disk
from tfclust.methods import SwAV
from tfclust.runs import metrics as progress
from tfclust.runtime import folders

CONFIG = SwAV.Config(num_clusters=(60,))
FIGURES = {
    "epoch": 6,
    "step": 600,
    "loss": 2.0,
    "loss_over_log_k": 0.5,
    "effective_clusters": 50.0,
    "empty_clusters": 2,
    "largest_cluster_share": 0.06,
    "changed_share": None,
    "nmi_previous": 0.6,
    "learning_rate": 0.1,
    "images_per_second": 1234.5,
    "reassign_seconds": 0.0,
}


def console(history):
    return progress.Console(
        history, CONFIG, total_steps=900, start_step=0, batch_size=64
    )


def test_figures_are_ordered_and_of_json_types():
    logs = {name: FIGURES[name] for name in sorted(FIGURES)}
    figures = progress.epoch_figures({**logs, "step": 600.0, "val": 3})
    assert list(figures) == list(FIGURES)
    assert isinstance(figures["step"], int)


def test_figure_that_is_no_number_is_null():
    figures = progress.epoch_figures({**FIGURES, "loss": float("nan")})
    assert json.loads(json.dumps(figures, allow_nan=False))["loss"] is None


def test_line_of_an_epoch_names_what_matters():
    line = progress.epoch_line({**FIGURES, "knn_accuracy": 0.971}, CONFIG)
    assert line == (
        "epoch 6 · loss 2.000 (0.50 of ln K) · 50.0 of 60 clusters · "
        "kNN 97.1% · 1,234 images/s"
    )


def test_remedy_is_told_once_while_its_symptom_lasts(capsys):
    history = []
    teller = console(history)
    spoken = []
    for flat in (True, True, False, True):
        history.append({**FIGURES, "loss_over_log_k": 1.0 if flat else 0.5})
        teller.on_epoch_end(0)
        spoken.append("".join(capsys.readouterr().out.splitlines()[1:]))
    assert "chance. Lower --epsilon" in spoken[0]
    assert spoken[1].endswith("which is chance (as before).")
    assert spoken[2] == ""
    assert "Lower --epsilon" in spoken[3]


def test_cut_off_metrics_are_read_to_the_last_whole_line(tmp_path):
    lines = [{**FIGURES, "epoch": i, "step": 4 * i} for i in (1, 2, 3)]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text[:-5])
    assert progress.read_metrics(tmp_path) == lines[:2]
    assert progress.read_metrics(tmp_path, 4) == lines[:1]
    assert progress.read_metrics(tmp_path / "absent") == []


def test_new_run_drops_the_files_of_one_that_left_no_checkpoint(tmp_path):
    for _ in range(2):
        metrics = progress.Metrics(tmp_path, start_step=0)
        metrics.set_model(keras.Model())
        metrics.on_epoch_end(0, FIGURES)
        metrics.on_train_end()
    assert len(progress.read_metrics(tmp_path)) == 1
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_duration_reads_as_people_say_it():
    assert progress.duration(7) == "7 s"
    assert progress.duration(59.6) == "1 min 0 s"
    assert progress.duration(3725) == "1 h 2 min"


@pytest.mark.parametrize("limit", [100, 700])
def test_full_disk_is_told_of_and_whole_lines_stay(tmp_path, limit):
    """Within a line of metrics.jsonl, and in TensorBoard's file."""
    metrics = progress.Metrics(tmp_path, 0)
    metrics.on_epoch_end(0, FIGURES)
    size = metrics.path.stat().st_size
    with (
        full_disk(size + limit),
        pytest.raises(folders.DiskError, match="File too large. Its check"),
    ):
        for _ in range(9):
            metrics.on_epoch_end(0, FIGURES)
    read = progress.read_metrics(tmp_path)
    assert read and all(figures == read[0] for figures in read)
    assert progress.Metrics(tmp_path, FIGURES["step"]).history == read


def test_waiting_for_slow_images_is_told_from_computing():
    """The wait is probed at two of the epoch's 32 steps."""
    waits = {}
    for pause in (0.0, 0.1):
        views = contract_run.views(batch_size=2)
        batches = views.batches

        def slow(*args, batches=batches, pause=pause, **knobs):
            def wait(index):
                time.sleep(pause)
                return index

            def one(batch):
                index = tf.numpy_function(
                    wait, [batch["index"]], tf.int64, stateful=True
                )
                return {**batch, "index": tf.ensure_shape(index, [2])}

            return batches(*args, **knobs).map(one)

        views.batches = slow
        history = contract_run.build("swav").fit(views, epochs=1).history
        waits[pause] = history["input_wait_milliseconds"][0]
    assert waits[0.1] > 40
    assert waits[0.1] > 4 * waits[0.0]
