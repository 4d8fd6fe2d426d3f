"""An index and its model as one SavedModel: image bytes in, names out.

The unit rows are a variable and the search is exact: the product of a query
with a block of rows, and the best of those and of the blocks before. So any
server of SavedModels, in C++ as in Python, answers as `search` does.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from export.retrieval import model, store
from tfclust import saved_model
from tfclust.runtime import cores, folders, terminal
from tfclust.saved_model import versions

_BLOCK = 16_384  # rows in a product; 64 KB of scores a query
_OK = "ok"
# Of the memory that is free: the server needs some for itself.
_MOST = 0.8


class Needs(NamedTuple):
    """Bytes of memory that a search model takes."""

    served: int
    written: int  # while it is written


def write(config, say):
    """Writes the next version of a search model.

    Args:
      config: `serve.ServeConfig`.
      say: called with sentences.

    Returns:
      `pathlib.Path` of the version.
    """
    index = store.open_index(config.index)
    if config.top > index.count:
        raise ValueError(
            f"top must be at most the number of images, {index.count:,}. "
            f"Received: top={config.top}."
        )
    needs = memory(index)
    _refuse_too_large(config, index, needs)
    folders.writable("output", config.output)
    current = model.of_index(index, config.index, config.saved_model)
    written = versions.write_next(
        config.output, lambda folder: _fill(folder, index, current, config)
    )
    say(
        f"{index.count:,} images; a server needs {_shown(needs.served)} of "
        "memory for them, beside the model's own."
    )
    return written


def memory(index):
    """What an index `Needs`."""
    rows = index.count * index.about["width"] * 4
    names = sum(
        len(key.name) + len(part.uri) + 64
        for part in index.parts
        for key in part.keys
    )
    # A server reads the file's pages while it copies them to the variable.
    return Needs(rows + names, 2 * rows + 2 * names)


def _refuse_too_large(config, index, needs):
    free = _free_bytes()
    if needs.written > _MOST * free:
        raise ValueError(
            f"index={terminal.one_line(config.index)} does not fit into "
            f"memory as a model: {index.count:,} images of width "
            f"{index.about['width']} need {_shown(needs.written)} while it is "
            f"written and {_shown(needs.served)} in a server, and "
            f"{_shown(free)} are free. Use a machine with more, or "
            "export.retrieval.search, which leaves the rows on the disk."
        )


def _free_bytes():
    """Memory that can be had; the machine's where the system does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text("utf-8").splitlines()
        (line,) = [x for x in lines if x.startswith("MemAvailable:")]
        return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        return cores.memory_bytes()


def _shown(count):
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _fill(folder, index, current, config):
    import tensorflow as tf

    module, signature = _searcher(index, current, config.top)
    signatures = {"serving_default": signature}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    card = json.dumps(_card(index, current, config), indent=2)
    (folder / saved_model.CARD_FILE).write_text(card + "\n", "utf-8")
    _check_reload(folder, index, config.top)


def _searcher(index, current, top):
    """The module that is saved, and its function of image bytes."""
    import tensorflow as tf

    module = tf.Module(name="search")
    module.model = tf.saved_model.load(str(current.path))
    serve = module.model.signatures["serving_default"]
    blocks, count = index.features, index.count
    rows = np.empty([count, index.about["width"]], np.float32)
    np.concatenate(blocks, out=rows)
    with tf.device("CPU:0"):
        module.rows = tf.Variable(rows, trainable=False, name="rows")
        module.names = tf.Variable(
            tf.constant(_names(index)), trainable=False, name="names"
        )

    def search(image_bytes):
        found = serve(image_bytes=image_bytes)
        good = found["status"] == _OK
        features = found["features"]
        # NaN would come before every number.
        features = tf.where(good[:, None], features, 0.0)
        queries = tf.math.divide_no_nan(
            features, tf.norm(features, axis=1, keepdims=True)
        )
        scores, places = _nearest(queries, module.rows, count, top)
        names = tf.gather(module.names, places)
        return {
            "names": tf.where(good[:, None], names, ""),
            "scores": tf.where(good[:, None], scores, float("nan")),
            "status": found["status"],
        }

    encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
    function = tf.function(search, input_signature=[encoded], autograph=False)
    return module, function


def _nearest(queries, rows, count, top):
    """The best scores `[b, top]` and their rows, block by block; traceable."""
    import tensorflow as tf

    def step(start, scores, places):
        part = rows[start : start + _BLOCK]  # [m, F]
        found = tf.matmul(queries, part, transpose_b=True)  # [b, m]
        here = tf.range(start, start + tf.shape(part)[0])
        here = tf.broadcast_to(here, tf.shape(found))
        scores = tf.concat([scores, found], axis=1)
        places = tf.concat([places, here], axis=1)
        # Of equal scores, the lower position: the row of an earlier block.
        scores, kept = tf.math.top_k(scores, top)
        places = tf.gather(places, kept, batch_dims=1)
        return start + _BLOCK, scores, places

    batch = tf.shape(queries)[0]
    _, scores, places = tf.while_loop(
        lambda start, *_: start < count,
        step,
        [0, tf.zeros([batch, 0]), tf.zeros([batch, 0], tf.int32)],
        shape_invariants=[
            tf.TensorShape([]),
            tf.TensorShape([None, None]),
            tf.TensorShape([None, None]),
        ],
    )
    # A client fills rows without an answer by the signature's shape.
    scores = tf.ensure_shape(scores, [None, top])
    return scores, tf.ensure_shape(places, [None, top])


def _names(index):
    """A name for each row, as bytes; with its images if there are several."""
    several = len(index.about["sets"]) > 1
    return [
        (f"{uri}/{name}" if several else name).encode("utf-8", "replace")
        for uri, name in store.names_of(index.parts)
    ]


def _card(index, current, config):
    """What a person needs to know to use the model, as a JSON object."""
    return {
        "kind": "search",
        "index": str(folders.expanded(config.index).absolute()),
        "count": index.count,
        "sets": index.about["sets"],
        "saved_model": current.identity["saved_model"],
        "preprocessing": index.about["identity"]["preprocessing"],
        "signatures": ["serving_default"],
        "inputs": {"image_bytes": "string [B], files of any size, B >= 1"},
        "outputs": {
            "names": [None, config.top],
            "scores": [None, config.top],
            "status": [None],
        },
        "status": {
            "values": saved_model.STATUSES,
            "unless_ok": "names are empty and scores are NaN",
        },
        "memory_bytes": memory(index).served,
    }


def _check_reload(folder, index, top):
    """Loads it again, and tries an answer: before a server can see it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    answer = loaded.signatures["serving_default"](
        image_bytes=tf.constant([b"no image"])
    )
    shape = tuple(answer["names"].shape)
    if shape != (1, top) or answer["status"].numpy()[0] == _OK.encode():
        raise RuntimeError(
            f"the written model answers wrongly: names {shape} for one image "
            f"that is none, of {index.count} images. This is a bug."
        )
