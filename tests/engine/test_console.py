"""What a run says of its epochs."""

import pytest

from tests.support import contract_run
from tests.support.epoch_figures import FIGURES
from tfclust.engine import console
from tfclust.methods import SwAV

CONFIG = SwAV.Config(num_clusters=(60,))


def test_line_of_an_epoch_names_what_matters():
    line = console.epoch_line({**FIGURES, "knn_accuracy": 0.971}, CONFIG)
    assert line == (
        "epoch 6 · loss 2.000 (0.50 of chance) · 50.0 of 60 clusters · "
        "kNN 97.1% · 1,234 images/s"
    )


def test_remedy_is_reported_once_while_its_symptom_lasts(capsys):
    teller = console.Console(
        CONFIG, total_steps=900, start_step=0, batch_size=64
    )
    spoken = []
    for flat in (True, True, False, True):
        share = 1.0 if flat else 0.5
        teller.on_epoch_end(0, {**FIGURES, "loss_over_log_k": share})
        spoken.append("".join(capsys.readouterr().out.splitlines()[1:]))
    assert "uniform predictions. Lower --epsilon" in spoken[0]
    assert spoken[1].endswith("uniform predictions (as before).")
    assert spoken[2] == ""
    assert "Lower --epsilon" in spoken[3]


def test_duration_reads_as_people_say_it():
    assert console.duration(7) == "7 s"
    assert console.duration(59.6) == "1 min 0 s"
    assert console.duration(3725) == "1 h 2 min"


@pytest.mark.parametrize("verbose", [1, 0])
def test_fit_says_a_line_per_epoch_unless_silenced(verbose, eager, capsys):
    method = contract_run.build("swav")
    views = contract_run.views(num_images=16, augmentation="none")
    capsys.readouterr()
    method.fit(views, epochs=2, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2 * verbose
    assert all("of chance" in line for line in epochs)
    assert bool(lines) == bool(verbose)
