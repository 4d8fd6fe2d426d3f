"""The page in a real browser: it works, and nothing breaks it."""

import numpy as np
import pytest

from tests.support.browser import CHROMIUM, acted
from tfclust.data import ArraySource
from tfclust.data.sources.base import Manifest
from tfclust.reporting import page
from tfclust.reporting.curves import draw
from tfclust.reporting.verdict import Verdict
from tfclust.runtime import pages

EVIL = "<script>document.title='hurt'</script>\n\udcff.png"
# Acts as a person would and writes down what came of it.
ACTS = """
  const clusters = () => all(".card").map((c) => Number(c.dataset.cluster));
  said.cards = clusters().length;
  said.bars = all("#sizes rect").length;
  said.dots = all("#plot circle").length;
  said.charts = all("#curves svg").length;
  const order = by("order");
  if (order) {
    order.value = "number";
    fire(order, "change");
    said.sorted = clusters().slice(0, 3);
    const find = by("find");
    find.value = "IMAGE-7.";
    fire(find, "input");
    said.found = clusters();
    find.value = "b>DOGS";
    fire(find, "input");
    said.named = all(".card h3").map((h) => h.textContent.split(" · ")[0]);
    find.value = "";
    fire(find, "input");
    by("more").click();
    said.more = clusters().length;
  }
  const dot = document.querySelector("#plot circle:nth-of-type(8)");
  if (dot) {
    dot.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
    said.shown = document.querySelector("#shown p").textContent;
    said.picture = Boolean(document.querySelector("#shown img"));
    const svg = document.querySelector("#plot svg");
    svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
    said.next = document.querySelector("#shown p").textContent;
  }
  const ground = () => getComputedStyle(document.body).backgroundColor;
  const before = ground();
  by("theme").click();
  said.themes = before !== ground();
  said.wide = document.documentElement.scrollWidth > innerWidth;
  said.title = document.title;
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def source(num_images):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (num_images, 12, 12, 3)).astype(np.uint8)
    names = [f"image-{i}.png" for i in range(num_images)]
    names[0] = EVIL
    labels = random.integers(0, 3, num_images)
    made = ArraySource(images, labels=labels, class_names=("x", "y", "z"))
    made._manifest = Manifest(names, *made.manifest()[1:])
    return made


def written(folder, num_clusters):
    """A page of 3,200 images, or of none."""
    values = dict(page.NO_IMAGES)
    if num_clusters:
        random = np.random.default_rng(1)
        clusters = np.arange(3_200, dtype=np.int32) % num_clusters
        assigned = page.Shown(
            source(3_200),
            3_200,
            random.normal(size=(3_200, 16)).astype(np.float32),
            clusters,
            random.normal(size=3_200).astype(np.float32),
            {0: "cats & <b>dogs</b>"},
        )
        values = page.of_images(assigned, (num_clusters,))
    history = [
        {"epoch": e, "step": e, "loss": 1 / e, "loss_over_log_k": 1 / e}
        for e in (1, 2, 3)
    ]
    pages.write(
        folder / "page.html",
        page.TEMPLATE,
        title=f"run {EVIL}",
        verdict=Verdict("healthy", "Well.", ["So far."]),
        charts=draw({"a": history}),
        command="train",
        figures=[("loss", "1")],
        settings=[("data", EVIL)],
        machine=[],
        **values,
    )
    return folder / "page.html"


@pytest.mark.parametrize("num_clusters", [1, 40, 3000])
def test_page_can_be_sorted_searched_and_pointed_at(tmp_path, num_clusters):
    path = written(tmp_path, num_clusters)
    assert path.stat().st_size < 10_000_000
    said, console = acted(path, ACTS)
    assert console == []
    assert said["cards"] == min(40, num_clusters)
    assert said["bars"] == num_clusters
    assert said["dots"] == page.MOST_POINTS
    assert said["charts"] == 2
    assert said["sorted"] == [0, 1, 2][:num_clusters]
    assert said["found"] == [7 % num_clusters]
    assert said["named"] == ["Cluster 0: cats & <b>dogs</b>"]
    assert said["more"] == min(80, num_clusters)
    assert said["shown"] != said["next"] and said["picture"]
    assert said["themes"]
    assert said["title"].startswith("run <script>")  # shown, not run


def test_page_without_images_has_curves_and_settings(tmp_path):
    said, console = acted(written(tmp_path, 0), ACTS)
    assert console == []
    assert said["charts"] == 2 and said["cards"] == 0
    assert "sorted" not in said and "shown" not in said


def test_page_fits_a_phone(tmp_path):
    said, _ = acted(written(tmp_path, 40), ACTS, width=500)
    assert not said["wide"]
