"""The page on which clusters are looked at and named."""

import json
import re

import numpy as np
import pytest

from tests.support.assigned import config, model, photos
from tests.support.browser import CHROMIUM, acted
from tfclust import data
from tfclust.assignment import assigning, table

EVIL = "<script>document.title='hurt'</script>,\"'\n\udcff.png"
ACTS = """
  const cards = () => all(".card").map((c) => Number(c.dataset.cluster));
  const saved = [];
  window.Blob = class { constructor(parts) { saved.push(parts.join("")); } };
  URL.createObjectURL = () => "data:,";
  URL.revokeObjectURL = () => {};
  HTMLAnchorElement.prototype.click = function() { said.file = this.download; };
  const order = (value) => { by("order").value = value;
    fire(by("order"), "change"); };
  const find = (value) => { by("find").value = value;
    fire(by("find"), "input"); };
  const input = (number) =>
    document.querySelector(`[data-cluster="${number}"] .name`);
  said.largest = cards();
  order("small");
  said.smallest = cards();
  order("outliers");
  said.outliers = cards();
  order("number");
  said.numbers = cards();
  const [first, second] = said.numbers;
  said.before = input(first).value;
  input(first).value = "";
  fire(input(first), "input");
  input(second).value = ' new "<b>name ';
  fire(input(second), "input");
  find("<B>NAME");
  said.named = cards();
  find("IMG-7.PNG");
  said.found = cards();
  find("");
  said.kept = input(second).value;
  by("save").click();
  said.saved = saved[0];
  said.pictures = all(".picture").length;
  said.broken = all("img").filter((i) => !i.complete || !i.naturalWidth)
    .map((i) => i.alt);
  said.title = document.title;
  said.wide = document.documentElement.scrollWidth > innerWidth;
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page, and the rows of its table."""
    folder = tmp_path_factory.mktemp("gallery")
    photos(folder / "digits", count=100)
    for i in range(100):
        path = folder / "digits" / f"{i}.png"
        name = f"img-{i}.png" if i else EVIL.replace("/", "")
        path.rename(path.with_name(name))
    source = data.open_source(f"folder:{folder / 'digits'}")
    names = folder / "names.json"
    names.write_text(json.dumps({str(k): f"old {k}" for k in range(5)}))
    page = folder / "gallery.html"
    assigning.assign_source(
        config(gallery=str(page), names=str(names)),
        model(),
        source,
        folder / "a.csv",
        lambda words: None,
    )
    return page, *table.read(folder / "a.csv")[:2]


def test_gallery_shows_each_cluster_and_escapes_names(written):
    page, _, clusters = written
    words = page.read_text("utf-8")
    found = json.loads(re.search(r'id="data">(.*?)</script>', words, re.S)[1])
    sizes = {c["number"]: c["size"] for c in found["clusters"]}
    assert sizes == {k: np.sum(clusters == k) for k in {*clusters.tolist()}}
    for cluster in found["clusters"]:
        assert cluster["name"] == f"old {cluster['number']}"
        for i in cluster["nearest"]:
            assert found["images"][i]["cluster"] == cluster["number"]
            assert found["images"][i]["picture"].startswith("data:image/jpeg")
    assert "<script>document" not in words
    assert not re.search(r"<(link|iframe|img|script)[^>]*\b(src|href)=", words)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_clusters_are_ordered_found_and_named_in_a_browser(written, tmp_path):
    page, names, clusters = written
    copy = tmp_path / "gallery.html"
    copy.write_bytes(page.read_bytes())
    said, console = acted(copy, ACTS, width=500)
    assert console == []
    numbers, counts = np.unique(clusters, return_counts=True)
    assert said["numbers"] == numbers.tolist()
    sizes = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    assert [sizes[k] for k in said["largest"]] == sorted(counts)[::-1]
    assert [sizes[k] for k in said["smallest"]] == sorted(counts)
    assert sorted(said["outliers"]) == said["numbers"]
    first, second, *others = said["numbers"]
    assert said["before"] == f"old {first}" and said["named"] == [second]
    assert said["found"] == [clusters[names.index("img-7.png")]]
    assert said["kept"] == ' new "<b>name '  # although the card is another
    assert said["file"] == "names.json"
    assert json.loads(said["saved"]) == {
        str(first): "",
        str(second): 'new "<b>name',
        **{str(k): f"old {k}" for k in others},
    }
    assert said["pictures"] and said["title"].startswith("Clusters of folder:")
    assert not said["wide"]


def test_a_name_taken_away_in_the_gallery_is_gone(written, tmp_path):
    page, *_ = written
    source = data.open_source(f"folder:{page.parent / 'digits'}")
    names = tmp_path / "names.json"
    names.write_text('\ufeff{"0": "", "1": "half \\ud83d"}', "utf-8")
    assigning.assign_source(
        config(names=str(names), keep_ids=str(page.with_name("a.csv"))),
        model(),
        source,
        tmp_path / "b.csv",
        lambda words: None,
    )
    named = table.read(tmp_path / "b.csv")[2]
    assert 0 not in named and named[2] == "old 2"
    assert named.get(1, "half \\ud83d") == "half \\ud83d"
