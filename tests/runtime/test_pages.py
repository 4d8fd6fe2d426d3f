import base64
import io
import json

import numpy as np
from PIL import Image

from tfclust.runtime import pages


def test_whatever_a_page_shows_is_escaped(tmp_path):
    template = tmp_path / "a.html"
    template.write_text("<p>{{ name }}</p>\n", "utf-8")
    name = "<script>alert(1)</script>\n\udcff"
    pages.write(tmp_path / "page.html", template, name=name)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_thumbnail_is_a_small_jpeg_inside_the_page():
    image = np.full([300, 600, 3], (200, 30, 30), np.uint8)
    kind, _, data = pages.thumbnail(image, 64).partition(",")
    assert kind == "data:image/jpeg;base64"
    small = Image.open(io.BytesIO(base64.b64decode(data)))
    assert small.size == (64, 32)
    np.testing.assert_allclose(np.asarray(small)[16, 32], image[0, 0], atol=4)


def test_data_of_a_page_takes_no_more_than_its_letters(tmp_path):
    template = tmp_path / "a.html"
    template.write_text("<script>{{ data | tojson }}</script>\n", "utf-8")
    name = "</script>\u2028東京" * 100 + "\udcff"
    pages.write(tmp_path / "page.html", template, data=name)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("</script>") == 1 and page.count("東京") == 100
    found = page.strip().removeprefix("<script>").removesuffix("</script>")
    assert json.loads(found) == name.replace("\udcff", "?")
