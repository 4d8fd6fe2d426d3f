"""All images through a model, row by row onto the disk, once."""

import shutil
import time

import numpy as np

from tfclust import data
from tfclust.assignment.store import RowStore
from tfclust.evaluation.rows import num_bad
from tfclust.runs import folder, skipped
from tfclust.runtime import folders, progress
from tfclust.runtime.terminal import one_line

_COMMIT_EVERY = 10.0  # seconds
_COLUMNS = {"cluster": ("<i4", None), "cluster_score": ("<f4", None)}


def open_images(config, model, say, argument="data"):
    """The source that a `ModelImages` names, or the run's own.

    Raises:
      ValueError: if it is a stream, or too many images cannot be read.
    """
    uri, max_images = getattr(config, argument), config.max_images
    run, max_bad_share = model.run, config.max_bad_share
    if not uri:
        uri = run.data
    own = run is not None and uri == run.data
    if own and max_images is None:
        max_images = run.max_images
    if max_bad_share is None:
        max_bad_share = run.max_bad_share if own else data.MAX_BAD_SHARE
    source = data.open_source(
        uri,
        max_images=max_images if argument == "data" else None,
        class_shares=run.class_shares if own else (),
        imbalance=run.imbalance if own else "none",
        cache_dir=_cache_of(config, run),
        max_bad_share=max_bad_share,
        argument=argument,
    )
    if source.is_stream:
        raise ValueError(
            "images must be told apart by their names, which a stream does not "
            f"allow. Received: {argument}={uri}. Write tfrecord: instead of "
            "tfrecord_stream:."
        )
    for sentence in data.passed_over(source):
        say(sentence)
    return source


def _cache_of(config, run):
    """The folder that has the checks of a run's images already, or None."""
    if config.cache_dir:
        return config.cache_dir
    if not config.workdir:
        return None
    if run.cache_dir and folders.expanded(run.cache_dir).is_dir():
        return run.cache_dir  # not that of another machine
    return str(folders.expanded(config.workdir) / folder.CACHE)


def columns(model):
    """The columns of a `RowStore` for a model."""
    found = {"features": ("<f4", model.width)}
    return found | _COLUMNS if model.has_clusters else found


def key(model, source, batch_size):
    """What decides the rows; another batch size may round differently."""
    return {
        "images": source.manifest_hash,
        "model": model.digest,
        "sizes": [model.image_size, model.resize_size],
        "batch": batch_size,
    }


@data.telling_lost_images()
def fill(store, model, source, batch_size, words):
    """Adds the rows that the store still lacks.

    Images that can no longer be read are in the store's notes; their rows are
    those of other images.

    Args:
      store: `RowStore` of `columns` and `key`.
      model: `Model`. source: `data.Source`. batch_size: int.
      words: str, for the progress line.

    Raises:
      ValueError: if features are not finite, or the disk lacks the room.
      OSError: if images are gone, and their replacements too.
      DiskError: if the disk is full.
    """
    if store.done == source.num_images:
        return
    _check_room(store, source.num_images, model.width)
    images = data.ImagePass(
        model.compute,
        source,
        image_size=model.image_size,
        resize_size=model.resize_size,
        batch_size=batch_size,
        first=store.done,
    )
    notes, committed = dict(store.notes), time.monotonic()
    with progress.line(words, source.num_images, store.done) as line:
        for _, rows in images.batches():
            check_finite(rows["features"], source)
            store.add(rows)
            line.update(len(rows["features"]))
            if time.monotonic() - committed >= _COMMIT_EVERY:
                store.commit(notes | source.failures)
                committed = time.monotonic()
    store.commit(notes | source.failures)


def present(source, notes):
    """bool `[N]`: whether a row is that of its own image."""
    if not notes:
        return np.ones(source.num_images, bool)
    return np.array([name not in notes for name in source.manifest().names])


def _check_room(store, num_images, width):
    needed = (num_images - store.done) * width * 4
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise ValueError(
            f"{needed / 1e9:.1f} GB are needed for the features of "
            f"{num_images:,} images in {store.folder}. Received: "
            f"{free / 1e9:.1f} GB free. Make room, or give an output on "
            "another disk."
        )


def check_finite(features, source):
    """Refuses features that are not finite, as those of a diverged run."""
    bad = num_bad(features)
    if bad:
        raise ValueError(
            f"features must be finite. Received: NaN or infinity for {bad} of "
            f"{len(features)} images of {source.uri}. The training has "
            "diverged: lower learning_rate, or give an older checkpoint."
        )


def computed(folder, model, source, batch_size, words):
    """The filled `RowStore` of a source, and `present`.

    Args:
      folder: `pathlib.Path` for the rows.
      model: `Model`. source: `data.Source`. batch_size: int, at most.
      words: str, for the progress line.
    """
    batch_size = min(batch_size, source.num_images)
    store = RowStore(folder, key(model, source, batch_size), columns(model))
    try:
        fill(store, model, source, batch_size, words)
    except BaseException:
        store.close()
        raise
    return store, present(source, store.notes)


def list_left_out(output, source, notes, say):
    """Lists images that could not be read, beside the output.

    For a run's own clusters, its own list grows, which has more than these.

    Returns:
      list of (name, reason).
    """
    left_out = source.skipped + [*notes.items()]
    where, path = output.parent, _list_of(output)
    if path.name != folder.SKIPPED:
        skipped.write(where, left_out, say, path.name)
        return left_out
    listed = path.read_text("utf-8") if path.is_file() else ""
    known = {line.split("\t")[0] for line in listed.split("\n")}
    for name, reason in left_out:
        if one_line(name) not in known:
            skipped.add(where, name, reason)
    return left_out


def tell_left_out(left_out, output, say):
    """Says how many images are listed, and where."""
    if left_out:
        say(
            f"{len(left_out):,} images could not be read; they are listed in "
            f"{_list_of(output)}."
        )


def _list_of(output):
    """The path of the list: each output of a folder has its own."""
    if output.name == folder.CLUSTERS and folder.has_run(output.parent):
        return output.with_name(folder.SKIPPED)
    return output.with_name(f"{output.stem}.{folder.SKIPPED}")
