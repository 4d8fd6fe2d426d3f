"""The page of several networks' figures."""

import re

import numpy as np

from tests.evaluation.test_comparison import RESULTS
from tfclust.evaluation import compared
from tfclust.reporting import comparison


def test_page_is_one_file_with_a_plot_a_figure(tmp_path):
    path = comparison.write(RESULTS, tmp_path / "comparison.html")
    text = path.read_text("utf-8")
    assert text.count("<svg") == len(compared(RESULTS)) == 3
    assert "83.4 (82.0 to 84.5)" in text
    bare = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:", bare)
    assert not re.search(r"<(link|iframe|img|script)[^>]*\b(src|href)=", bare)


def test_dots_and_limits_lie_where_their_values_are():
    figure = compared(RESULTS)[0]
    svg = str(comparison.plot(figure, list(RESULTS)))
    # The axis goes from 0 at 150 to the upper limit, 0.845, at 464.
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', svg)]
    expected = [150 + 314 * value / 0.845 for value in (0.834, 0.25)]
    np.testing.assert_allclose(places, expected, atol=0.06)
    (limits,) = re.findall(r'c0" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert limits == (f"{150 + 314 * 0.82 / 0.845:.1f}", "464.0")
    assert f'x1="{150 + 314 * 0.1 / 0.845:.1f}"' in svg  # chance


def test_names_cannot_bring_in_html(tmp_path):
    results = {"<script>x</script>": RESULTS["pixels"]}
    path = comparison.write(results, tmp_path / "comparison.html")
    assert "<script>x" not in path.read_text("utf-8")
