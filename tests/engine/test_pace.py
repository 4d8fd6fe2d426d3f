"""Time left counts what comes once per epoch, and no tracing."""

import types

import pytest

from tfclust.engine import pace
from tfclust.engine.facts import RunFacts


class Watched:
    """A run by a clock that its parts move; steps of an epoch are alike."""

    def __init__(
        self, monkeypatch, steps_per_epoch, epochs, start_step=0, **knobs
    ):
        self.now, self.step = 0.0, start_step
        clock = types.SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(pace, "time", clock)
        self.facts = RunFacts(0, 10, epochs * steps_per_epoch, steps_per_epoch)
        self.pace = pace.Pace(self.facts, start_step, **knobs)

    def train(self, steps, seconds=2.0, tracing=0.0):
        for number in range(steps):
            self.pace.step_begins()
            self.now += seconds + (0.0 if number else tracing)
            self.pace.step_ends()
            self.step += 1

    def wait(self, seconds):
        self.now += seconds

    def end_epoch(self, before=0.0, after=0.0):
        self.now += before
        self.pace.epoch_ends()
        self.now += after


def test_nothing_is_known_before_a_second_step(monkeypatch):
    run = Watched(monkeypatch, 5, epochs=4)
    assert run.pace.seconds_left() is None
    run.train(1, tracing=50.0)
    assert run.pace.seconds_left() is None
    assert run.pace.images_per_second() is None


def test_figures_neighbours_and_checkpoints_count_once_an_epoch(monkeypatch):
    run = Watched(monkeypatch, 5, epochs=4)
    run.train(5, tracing=50.0)
    run.end_epoch(before=30.0, after=7.0)  # figures, of which 20 are tracing
    run.train(5)
    run.end_epoch(before=10.0, after=7.0)
    # Two epochs of five steps, a checkpoint and figures.
    assert run.pace.seconds_left() == pytest.approx(2 * (10.0 + 7.0 + 10.0))
    run.train(2)
    assert run.pace.seconds_left() == pytest.approx(6.0 + 10.0 + 2 * 17.0)
    assert run.pace.images_per_second() == pytest.approx(10 / 2.0)


def test_tracing_after_a_resume_is_not_taken_for_a_step(monkeypatch):
    """One step of 50 s, another, then figures: 12 epochs of 5 are left."""
    run = Watched(monkeypatch, 5, epochs=13, start_step=3)
    run.train(2, tracing=50.0)
    run.end_epoch(before=4.0)
    assert run.pace.seconds_left() == pytest.approx(12 * (5 * 2.0 + 4.0))


@pytest.mark.parametrize("labels_again", [False, True])
def test_first_labels_count_for_later_epochs_that_label_so(
    monkeypatch, labels_again
):
    run = Watched(monkeypatch, 5, epochs=4, labels_again=labels_again)
    run.wait(60.0)  # a pass over all images
    run.train(5, tracing=50.0)
    run.end_epoch(before=4.0)
    labels = 60.0 if labels_again else 0.0
    assert run.pace.seconds_left() == pytest.approx(3 * (labels + 10.0 + 4.0))
    run.wait(5.0)  # what the second epoch takes for them replaces that
    run.train(5)
    run.end_epoch(before=4.0)
    assert run.pace.seconds_left() == pytest.approx(2 * (5.0 + 10.0 + 4.0))


def test_epochs_of_one_step_are_timed_whole(monkeypatch):
    run = Watched(monkeypatch, 1, epochs=10)
    for _ in range(4):
        run.train(1, tracing=50.0 if run.step == 0 else 0.0)
        run.end_epoch(before=3.0)
    assert run.pace.seconds_left() == pytest.approx(6 * (2.0 + 3.0))
