"""What a run says of its epochs."""

import keras
import pytest

from tests.support import contract_run
from tests.support.epoch_figures import FIGURES, ends
from tfclust.engine import console
from tfclust.engine.facts import RunFacts
from tfclust.engine.history import EpochHistory
from tfclust.methods import SwAV

CONFIG = SwAV.Config(num_clusters=(60,))
FACTS = RunFacts(6400, 64, total_steps=900, steps_per_epoch=100)


def test_line_of_an_epoch_is_read_without_the_papers():
    """Each figure that has one stands beside its chance level."""
    figures = {
        "changed_share": 0.3,
        "knn_accuracy": 0.971,
        "knn_chance": 0.1,
        "ami_labels": 0.724,
        "nmi_labels": 0.8,
    }
    line = console.epoch_line({**FIGURES, **figures}, CONFIG)
    assert line == (
        "epoch 6 · loss 2.000 (0.50 of blind guessing) · 50.0 of 60 clusters "
        "in use · 30% of images changed cluster · kNN 97.1% (chance 10%) · "
        "clusters match labels by 0.72 (AMI; chance 0) · 1,234 images/s"
    )


def test_remedy_is_reported_once_while_its_symptom_lasts(capsys):
    teller = console.Console(EpochHistory(), CONFIG, FACTS, start_step=0)
    spoken = []
    for flat in (True, True, False, True):
        ends(teller, {**FIGURES, "loss_over_log_k": 1.0 if flat else 0.5})
        spoken.append("".join(capsys.readouterr().out.splitlines()[1:]))
    assert "blind guessing. Let codes be as hard" in spoken[0]
    assert spoken[1].endswith("of blind guessing (as before).")
    assert "guessing" not in spoken[2]
    assert "Let codes be as hard" in spoken[3]


def test_remedy_of_another_size_is_the_same_remedy(capsys):
    teller = console.Console(EpochHistory(), CONFIG, FACTS, start_step=0)
    spoken = []
    for empty in (40.0, 38.0):
        ends(teller, {**FIGURES, "empty_clusters": empty})
        spoken.append("".join(capsys.readouterr().out.splitlines()[1:]))
    assert "40 of 60" in spoken[0] and "(--num_clusters=20)" in spoken[0]
    assert "38 of 60" in spoken[1] and spoken[1].endswith("(as before).")


def test_heads_of_several_sizes_have_a_whole_number_of_clusters():
    heads = SwAV.Config(num_clusters=(200, 266, 333))
    assert " of 266 clusters in use" in console.epoch_line(FIGURES, heads)


def test_duration_reads_as_people_say_it():
    assert console.duration(7) == "7 s"
    assert console.duration(59.6) == "1 min 0 s"
    assert console.duration(3725) == "1 h 2 min"


def test_fit_says_what_is_missing_and_takes_callbacks_as_keras_does(
    eager, capsys
):
    method = contract_run.build("swav")
    views = contract_run.views(num_images=16)
    views.source.skipped = [(f"{i}.jpg", "it is empty") for i in range(12)]
    views.source.passed_over = "8 .heic"
    ended: list = []
    one = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ended.append(epoch)
    )
    for callbacks in (None, one, [one]):
        method.fit(views, epochs=1, callbacks=callbacks)
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "Left out: 0.jpg: it is empty"
        assert said[10] == "Left out: 2 more images."
        assert said[11] == "Passed over by their ending: 8 .heic."
    assert len(ended) == 2
    method.fit(views, epochs=1, verbose=0)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("verbose", [1, 0])
def test_fit_says_a_line_per_epoch_unless_silenced(verbose, eager, capsys):
    method = contract_run.build("swav")
    views = contract_run.views(num_images=16, augmentation="none")
    capsys.readouterr()
    method.fit(views, epochs=2, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2 * verbose
    assert all("of blind guessing" in line for line in epochs)
    assert bool(lines) == bool(verbose)
