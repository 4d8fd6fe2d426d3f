"""The page of filters: what it shows, its size, and that names are text."""

import re

import numpy as np
import pytest

from tests.evaluation.test_filters import network_of
from tests.support.browser import CHROMIUM, acted
from tfclust import backbones, data, evaluation
from tfclust.data.sources.base import Manifest
from tfclust.reporting import filters

EVIL = "<script>document.title='hurt'</script>\n\udcff\".png"


def noise(count=12, side=8):
    """Pictures that JPEG cannot make small."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [count, side, side, 3], np.uint8)
    source = data.ArraySource(images)
    names = [EVIL, *(f"image-{i}.png" for i in range(1, count))]
    source._manifest = Manifest(names, *source.manifest()[1:])
    return source


def shown(source, model=None, **knobs):
    """The `Network` of a small model."""
    found = []
    evaluation.evaluate(
        {"net & work": evaluation.keras_network(model or network_of())},
        None,
        source,
        evaluation.EvaluationConfig(protocols=("filters",), **knobs),
        image_size=8,
        done=lambda name, _, *of: found.append(filters.network(name, *of)),
    )
    return found[0]


def test_page_shows_every_kernel_and_every_image_with_words(tmp_path):
    network = shown(noise(), filter_channels=3, filter_images=5)

    path = filters.write([network], tmp_path / "page.html")

    text = path.read_text("utf-8")
    alts = re.findall(
        r'<img src="data:image/\w+;base64,[^"]+" alt="(.*?)"', text
    )
    kernels = [alt for alt in alts if alt.startswith("filter ")]
    assert kernels == [f"filter {i}" for i in range(6)]
    assert len(alts) == 6 + 2 * 3 * 5
    assert "<script>document" not in text and "net &amp; work" in text
    assert re.search(r"image-\d+.png, \d", "\n".join(alts))
    assert "Among 12 images of" in text
    # The first layer's channel 1 is off.
    assert "3 of 6 channels. 1 are alike for all images" in text
    assert "http://" not in text and "https://" not in text


def test_pictures_are_what_the_network_has_seen_in_order(tmp_path):
    source = noise()
    network = shown(source, filter_channels=2)
    images = source.stored().numpy()[:, 1:-1, 1:-1]
    for row, image in network.images.items():
        np.testing.assert_array_equal(image, images[row])
    (first, *_) = filters._layers(network, dict.fromkeys(range(12), "uri"))
    values = [
        float(of["said"].rpartition(", ")[2])
        for of in first["channels"][0]["pictures"]
    ]
    assert values == sorted(values, reverse=True) and len(values) == 9


def test_kernels_go_from_black_to_white_each_by_itself():
    kernel = np.array([[[-1.0, 0, 3], [1, 1, 1]]])  # [1, 2, 3]
    levels = filters.kernel_picture(kernel, True)
    expected = [[[0, 64, 255], [128, 128, 128]]]
    np.testing.assert_array_equal(levels, expected)
    grey = filters.kernel_picture(kernel[..., :2], False)
    # -1 to 1: two channels of two pixels, and a grey line between.
    np.testing.assert_array_equal(grey, [[0, 255, 128, 128, 255]])
    assert not filters.kernel_picture(np.ones([2, 2, 3]), True).any()


def test_network_without_first_filters_has_its_layers(tmp_path):
    network = shown(noise())._replace(first=None)
    path = filters.write([network], tmp_path / "page.html")
    text = path.read_text("utf-8")
    assert "there are no\nfilters on the image itself" in text
    assert "Channel" in text


def test_many_kernels_are_cut_off_and_the_page_says_so(tmp_path):
    many = backbones.FirstFilters("conv", np.zeros([600, 3, 3, 3]), True)
    network = shown(noise())._replace(first=many)
    text = filters.write([network], tmp_path / "page.html").read_text("utf-8")
    assert "600 filters of 3 x 3 pixels" in text and "the first 512" in text
    assert text.count('alt="filter ') == 512


def test_pictures_shrink_until_the_page_has_room(tmp_path, monkeypatch):
    monkeypatch.setattr(filters, "MOST_BYTES", 300_000)
    random = np.random.default_rng(0)
    network = shown(noise(), filter_channels=2, filter_images=5)
    rows = list(range(100))
    figures = {
        "layers": ["conv1"],
        "conv1_alike": 0.0,
        "conv1_num_channels": 1,
        "conv1_channels": [
            {
                "channel": 0,
                "images": rows,
                "names": ["n.png"] * 100,
                "activations": [1.0] * 100,
            }
        ],
    }
    images = random.integers(0, 256, [100, 96, 96, 3], np.uint8)
    full = network._replace(
        figures=figures, images=dict(zip(rows, images, strict=True))
    )
    sizes = []
    for count in (1, 2):
        path = filters.write([full] * count, tmp_path / "page.html")
        text = path.read_text("utf-8")
        assert text.count('alt="n.png, 1"') == 100 * count
        # Besides the pictures there are styles, scripts and words.
        assert len(text) < 300_000 + 40_000
        sizes.append(len(text) / count)
    assert sizes[1] < sizes[0]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_page_loads_every_picture_in_a_browser_and_fits(tmp_path, width):
    path = filters.write([shown(noise())], tmp_path / "page.html")
    said, console = acted(
        path,
        """
        const pictures = all("img");
        said.pictures = pictures.length;
        said.broken = pictures.filter((i) => !i.naturalWidth).length;
        said.silent = pictures.filter((i) => !i.alt).length;
        said.wide = document.documentElement.scrollWidth > innerWidth;
        said.title = document.title;
        """,
        width=width,
    )
    assert console == []
    assert said["pictures"] > 50
    assert said["broken"] == said["silent"] == 0
    assert not said["wide"] and said["title"] == "What the filters see"
