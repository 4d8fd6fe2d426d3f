"""Pages of one file each: escaped by jinja2, pictures inside, no network."""

import base64
import io
import json
import pathlib
from typing import Any

import jinja2
from PIL import Image

from tfclust.runtime import files

_PACKAGE = pathlib.Path(__file__).parents[1]
_QUALITY = 80  # of a thumbnail's JPEG
# A letter of Japanese is 3 bytes as itself and 6 as an escape.
_JSON: dict[str, Any] = {"sort_keys": True, "ensure_ascii": False}


def write(path, template, **values):
    """Writes a page that replaces `path` as a whole, or not at all.

    Args:
      path: of the page; its folder must exist.
      template: `pathlib.Path` of a jinja2 template, which extends
        "runtime/pages.html", the look of every page, and may include files of
        its folder or, by folder and name, of the package. Whatever it shows is
        escaped.
      **values: what the template shows: title; data, for its script; others.
    """
    template = pathlib.Path(template)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _PACKAGE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = _JSON
    page = environment.get_template(template.name).render(**values)
    # A file's name may hold bytes that are not UTF-8, as surrogates.
    files.write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def num_bytes(data):
    """About how many bytes of a page its `data` takes."""
    return len(json.dumps(data, **_JSON).encode("utf-8", "replace"))


def thumbnail(image, side):
    """A picture as a `data:` URI.

    Args:
      image: a `PIL.Image`, or uint8 `[H, W, 3]`.
      side: int, pixels of the longer side at most.
    """
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    small = image.convert("RGB")
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(
        "ascii"
    )
