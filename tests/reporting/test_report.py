"""The page of a run that was really trained."""

import html
import json
import re
import shlex
import shutil

import pytest

from tests.support import small_runs
from tfclust.assignment.model import of_method
from tfclust.reporting import compared, page
from tfclust.reporting.config import ReportConfig
from tfclust.runs import clusters_file
from tfclust.runs.loading import load_run


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


@pytest.fixture(scope="module")
def moved(workdir, tmp_path_factory):
    """A copy of the run in a folder whose name a shell would split."""
    return shutil.copytree(workdir, tmp_path_factory.mktemp("a b'c") / "run")


@pytest.mark.slow
def test_page_has_the_numbers_and_names_of_the_runs_table(moved):
    run = load_run(str(moved))
    model = of_method(run.method, run.recipe.run)
    before = data_of(page.write(ReportConfig(workdir=str(moved))))
    numbers = [c["number"] for c in before["clusters"]]
    clusters = [
        {
            "id": 10 + k,
            "model_cluster": k,
            "name": f"<{k}>",
            "size": 1,
            "exemplars": [],
            "reach": 1.0,
        }
        for k in numbers
    ]
    about = {"model": model.digest, "clustering": "the model's own"}
    about |= {"images": "", "outliers": 0.0}
    path = moved / "clusters.json"
    clusters_file.write(path, clusters_file.ClustersFile(about, clusters))
    try:
        after = data_of(page.write(ReportConfig(workdir=str(moved))))
    finally:
        path.unlink()
    assert [c["number"] for c in after["clusters"]] == [10 + k for k in numbers]
    assert [c["name"] for c in after["clusters"]] == [f"<{k}>" for k in numbers]
    for old, new in zip(before["images"], after["images"], strict=True):
        assert new["cluster"] == 10 + old["cluster"]


def test_command_of_the_page_can_be_pasted_into_a_shell(moved):
    config = ReportConfig(workdir=str(moved), report_images=0)
    text = page.write(config).read_text("utf-8")
    shown = html.unescape(re.search("<pre>(.*?)</pre>", text)[1])
    assert shlex.split(shown)[3] == f"--flagfile={moved / 'config.flags'}"


def test_broken_network_has_a_page_all_the_same(moved, monkeypatch):
    def broken(method, run):
        model = of_method(method, run)

        def compute(images):
            found = model.compute(images)
            return {**found, "features": found["features"] / 0.0}

        return model._replace(compute=compute)

    monkeypatch.setattr(page, "of_method", broken)
    said = []
    path = page.write(ReportConfig(workdir=str(moved)), said.append)
    assert 'id="gallery"' not in path.read_text("utf-8")
    assert said[-1].startswith("The page has no images: features must be")


def test_page_that_cannot_be_written_is_refused_before_the_work(moved):
    output = moved / "report.html"
    output.unlink(missing_ok=True)
    output.mkdir()
    try:
        with pytest.raises(ValueError, match="must be a file.*Move it away"):
            page.write(ReportConfig(workdir=str(moved)))
    finally:
        output.rmdir()


def test_either_one_run_or_several_must_be_given():
    with pytest.raises(ValueError, match="give either workdir"):
        ReportConfig()
    with pytest.raises(ValueError, match="output must be given"):
        ReportConfig(workdirs=("a", "b"))


def test_run_named_twice_is_refused_however_it_is_written(tmp_path):
    (tmp_path / "b").symlink_to("a")
    for other in ("a/", "./a", "b"):
        with pytest.raises(ValueError, match="must name each run once"):
            ReportConfig(
                workdirs=(str(tmp_path / "a"), f"{tmp_path}/{other}"),
                output="both.html",
            )
