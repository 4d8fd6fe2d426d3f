"""Images and features for TensorBoard's projector, in a run's event folder.

Its files: projector_config.pbtxt names the others; features.tsv, a line of
numbers for each image; metadata.tsv, a header and a line of words for each;
sprite.png, their pictures in rows of equal length.
"""

import io
import math

import numpy as np
from PIL import Image

from tfclust import data
from tfclust.assignment.cards import class_name
from tfclust.assignment.pictures import small_images
from tfclust.reporting.atlas import directions
from tfclust.runtime import files, terminal

MOST_IMAGES = 2_000  # the sprite stays below 4 megapixels
_SIDE = 40  # pixels
_CONFIG = f"""embeddings {{
  tensor_name: "features"
  tensor_path: "features.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {_SIDE}
    single_image_dim: {_SIDE}
  }}
}}
"""


@data.telling_lost_images()
def write(folder, shown):
    """Writes the projector's files of at most 2,000 images, evenly spaced.

    Features are at unit length, as their first 50 principal directions.

    Args:
      folder: `pathlib.Path` of the event files.
      shown: `assignment.assigning.Shown`.
    """
    count = min(MOST_IMAGES, shown.source.num_images)
    if not count:
        return
    rows = np.arange(count) * shown.source.num_images // count
    numbers = io.StringIO()
    features = directions(shown.features[rows])
    np.savetxt(numbers, features, fmt="%.4g", delimiter="\t")
    files.write_text(folder / "features.tsv", numbers.getvalue())
    files.write_text(folder / "metadata.tsv", _metadata(shown, rows))
    sprite = _sprite(shown.source, rows)
    with files.replacing(folder / "sprite.png") as file:
        sprite.save(file, "PNG")
    # Last: it names the others.
    files.write_text(folder / "projector_config.pbtxt", _CONFIG)


def _metadata(shown, rows):
    source, names = shown.source, shown.source.manifest().names
    lines = ["name\tcluster\tcluster_name\tlabel"]
    for i in rows:
        cluster, label = -1, ""
        if shown.clusters is not None:
            cluster = int(shown.clusters[i])
        if source.labels is not None and source.labels[i] >= 0:
            label = class_name(source.labels[i], source.class_names)
        words = (names[i], cluster, shown.named.get(cluster, ""), label)
        lines.append("\t".join(terminal.one_line(word) for word in words))
    return "\n".join(lines) + "\n"


def _sprite(source, rows):
    """A sheet with the pictures of rows, in order.

    The projector takes the number in a line to be ceil(sqrt(n)).
    """
    across = math.ceil(math.sqrt(len(rows)))
    down = math.ceil(len(rows) / across)
    sheet = np.zeros([_SIDE * down, _SIDE * across, 3], np.uint8)
    places = {int(row): place for place, row in enumerate(rows)}
    for i, image in small_images(source, rows, _SIDE):
        y, x = divmod(places[i], across)
        top, left = y * _SIDE, x * _SIDE
        sheet[top : top + _SIDE, left : left + _SIDE] = image
    return Image.fromarray(sheet)
