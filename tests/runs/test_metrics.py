"""What a run writes of its epochs."""

import json
import types

import keras
import pytest

from tests.support import contract_run
from tests.support.disk import full_disk
from tests.support.epoch_figures import FIGURES, ends
from tfclust.engine import figures as known
from tfclust.engine import loop
from tfclust.engine.figures import epoch_figures
from tfclust.runs import metrics
from tfclust.runtime import folders


def test_figures_are_ordered_and_of_json_types():
    logs = {name: FIGURES[name] for name in sorted(FIGURES)}
    figures = epoch_figures({**logs, "step": 600.0})
    assert list(figures) == list(FIGURES)
    assert isinstance(figures["step"], int)


def test_figure_that_no_table_knows_is_an_error_with_its_name():
    message = "engine/figures.py. Received: val, weird"
    with pytest.raises(LookupError, match=message):
        epoch_figures({**FIGURES, "weird": 1.0, "val": 3})


def test_every_figure_says_what_it_is_and_its_value():
    for name, figure in known.FIGURES.items():
        assert figure.title
        assert figure.better in ("", "lower", "higher")
        assert known.in_words(name, 3 if figure.whole else 0.25)


def test_figure_that_is_no_number_is_null():
    figures = epoch_figures({**FIGURES, "loss": float("nan")})
    assert json.loads(json.dumps(figures, allow_nan=False))["loss"] is None


def test_cut_off_metrics_are_read_to_the_last_whole_line(tmp_path):
    lines = [{**FIGURES, "epoch": i, "step": 4 * i} for i in (1, 2, 3)]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text[:-5])
    assert metrics.read_metrics(tmp_path) == lines[:2]
    assert metrics.read_metrics(tmp_path, 4) == lines[:1]
    assert metrics.read_metrics(tmp_path / "absent") == []


def test_new_run_drops_the_files_of_one_that_left_no_checkpoint(tmp_path):
    for _ in range(2):
        writer = metrics.Metrics(tmp_path, start_step=0)
        writer.set_model(keras.Model())
        ends(writer)
        writer.on_train_end()
    assert len(metrics.read_metrics(tmp_path)) == 1
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("limit", [100, 700])
def test_full_disk_is_reported_and_whole_lines_stay(tmp_path, limit):
    """Within a line of metrics.jsonl, and in TensorBoard's file."""
    writer = metrics.Metrics(tmp_path, 0)
    ends(writer)
    size = writer.path.stat().st_size
    with (
        full_disk(size + limit),
        pytest.raises(folders.DiskError, match="File too large. Its check"),
    ):
        for _ in range(9):
            ends(writer)
    read = metrics.read_metrics(tmp_path)
    assert read and all(figures == read[0] for figures in read)
    assert metrics.Metrics(tmp_path, FIGURES["step"]).history.epochs == read


def test_waiting_for_slow_images_is_told_from_computing(monkeypatch):
    """By a clock that images and steps move; 18 steps are probed twice."""
    now = types.SimpleNamespace(seconds=0.0)
    clock = types.SimpleNamespace(perf_counter=lambda: now.seconds)
    monkeypatch.setattr(loop, "time", clock)
    of_epoch = loop._epoch_batches

    def passes(seconds):
        now.seconds += seconds

    def slow(method, views, epoch, first):
        for batch in of_epoch(method, views, epoch, first):
            passes(epoch / 4)
            yield batch

    monkeypatch.setattr(loop, "_epoch_batches", slow)
    views = contract_run.views(num_images=36, batch_size=2)
    work = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: passes(0.5)
    )
    history = contract_run.build("swav").fit(views, epochs=2, callbacks=[work])
    figures = history.history
    assert figures["input_wait_milliseconds"] == [0.0, 250.0]
    assert figures["step_milliseconds"] == [500.0, 500.0]
    assert figures["images_per_second"] == [2 / 0.5, 2 / 0.75]
