import re

from tfclust.reporting.curves import Chart, draw

LOSS = Chart("Loss", "", (("loss", "loss"),), lowest=0.0)


def history(values):
    return [
        {"epoch": epoch, "step": 10 * epoch, "loss": value}
        for epoch, value in enumerate(values, 1)
    ]


def points(drawn):
    found = re.search(r'points="([^"]*)"', drawn.svg)[1]
    return [tuple(map(float, point.split(","))) for point in found.split()]


def test_curve_lies_where_its_values_are():
    (drawn,) = draw({"a": history([4.0, 1.0, 2.0])}, [LOSS])
    # From 56 to 468 in epochs 1 to 3, from 12 at 4.0 to 174 at 0.0.
    assert points(drawn) == [(56.0, 12.0), (262.0, 133.5), (468.0, 93.0)]


def test_unknown_values_are_left_out():
    rows = history([4.0, 1.0, 2.0])
    rows[1]["loss"] = None
    (drawn,) = draw({"a": rows}, [LOSS])
    assert len(points(drawn)) == 2


def test_figures_that_no_epoch_has_make_no_chart():
    assert (
        draw({"a": history([4.0, 1.0])}, [Chart("", "", (("nmi", ""),))]) == []
    )
    assert draw({"a": []}) == []


def test_thousands_of_epochs_stay_a_small_drawing():
    (drawn,) = draw({"a": history([1.0] * 5_000)}, [LOSS])
    assert len(points(drawn)) <= 400


def test_names_of_runs_are_escaped():
    rows = history([2.0, 1.0])
    (drawn,) = draw({"<b>": rows, "c": rows}, [LOSS])
    assert "<b>" not in drawn.svg and "&lt;b&gt;: loss" in drawn.svg
    assert drawn.legend == ["<b>: loss", "c: loss"]
