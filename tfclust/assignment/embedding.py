"""Features alone, for tools of one's own."""

import numpy as np

from tfclust.assignment import model as models
from tfclust.assignment import passing, table
from tfclust.assignment.store import working_folder
from tfclust.runs import clusters_file
from tfclust.runtime import files, folders


def embed(config, output, say):
    """Writes the features of images.

    Args:
      config: `EmbedConfig`. output: `pathlib.Path`. say: called with sentences.
    """
    clusters_file.check_other(output)
    model = models.open_model(config)
    source = passing.open_images(config, model, say)
    with working_folder(output) as folder:
        store, present = passing.computed(
            folder, model, source, config.batch_size, "Embedding"
        )
        rows = np.flatnonzero(present)
        names = source.manifest().names
        _write(
            output,
            store.column("features"),
            rows,
            [names[i] for i in rows],
            None if source.labels is None else source.labels[rows],
        )
        left_out = passing.list_left_out(output, source, store.notes, say)
        store.remove()
    say(f"{len(rows):,} images, {model.width} features each. Written: {output}")
    passing.tell_left_out(left_out, output, say)


def _write(output, features, rows, names, labels):
    way_out = "An older file is unchanged. Make room, or give another output."
    whole = len(rows) == len(features)
    with (
        folders.writing(f"the features in {output}", way_out),
        files.replacing(output) as file,
    ):
        if output.suffix.lower() == ".npz":
            more = {} if labels is None else {"labels": labels}
            # A memory map is written in pieces; what is chosen from it is not.
            features = features if whole else features[rows]
            words = np.array(table.readable(names))
            np.savez(file, features=features, names=words, **more)
            return

        def columns(some):
            import pyarrow

            part = np.asarray(features[rows[some]])
            flat = pyarrow.array(part.ravel())
            found = {
                "name": table.readable(names[some]),
                "features": pyarrow.FixedSizeListArray.from_arrays(
                    flat, part.shape[1]
                ),
            }
            if labels is not None:
                found["label"] = labels[some]
            return found

        table.write_parquet(file, len(rows), columns)
