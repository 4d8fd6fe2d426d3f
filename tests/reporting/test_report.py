"""The page of a run that was really trained."""

import json
import re

import pytest

from tests.support import small_runs
from tfclust.reporting import compared, page
from tfclust.reporting.config import ReportConfig


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    small_runs.quietly(small_runs.recipe(folder, epochs=3))
    return folder


def data_of(path):
    text = path.read_text("utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_page_shows_every_image_of_a_small_run_in_its_cluster(workdir):
    path = page.write(ReportConfig(workdir=str(workdir)))
    assert path == workdir / "report.html"
    found = data_of(path)
    assert len(found["images"]) == 64
    assert sum(c["size"] for c in found["clusters"]) == 64
    for cluster in found["clusters"]:
        for index in cluster["nearest"]:
            assert found["images"][index]["cluster"] == cluster["number"]
    assert len(found["points"]) == 64
    assert all("picture" in found["images"][i] for i, _, _ in found["points"])


def test_page_needs_no_network(workdir):
    path = page.write(ReportConfig(workdir=str(workdir)))
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:", text)
    assert not re.search(r"<(link|iframe|img|script)[^>]*\b(src|href)=", text)


def test_page_without_images_is_quick_and_has_curves(workdir, tmp_path):
    config = ReportConfig(
        workdir=str(workdir),
        report_images=0,
        output=str(tmp_path / "a" / "page.html"),
    )
    text = page.write(config).read_text("utf-8")
    assert "<svg" in text and 'id="gallery"' not in text


@pytest.mark.slow
def test_runs_side_by_side_show_the_knobs_that_differ(workdir, tmp_path):
    other = tmp_path / "other"
    small_runs.quietly(small_runs.recipe(other, epochs=2, temperature=0.2))
    output = tmp_path / "both.html"
    compared.write(
        ReportConfig(workdirs=(str(workdir), str(other)), output=str(output))
    )
    text = output.read_text("utf-8")
    rows = re.findall(r'<th scope="row">(\w+)</th>\s*<td>([^<]*)</td>', text)
    assert ("temperature", "0.1") in rows and ("epochs", "3") in rows
    assert "batch_size" not in dict(rows)
    assert text.count("<polyline") >= 4


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        page.write(ReportConfig(workdir=str(tmp_path)))


def test_either_one_run_or_several_must_be_given():
    with pytest.raises(ValueError, match="give either workdir"):
        ReportConfig()
    with pytest.raises(ValueError, match="output must be given"):
        ReportConfig(workdirs=("a", "b"))
