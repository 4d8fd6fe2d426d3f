"""Features alone, for tools of one's own."""

import zipfile

import numpy as np

from tfclust.assignment import model as models
from tfclust.assignment import passing, table
from tfclust.assignment.store import working_folder
from tfclust.runs import clusters_file
from tfclust.runtime import files, folders

_BLOCK = 1024  # rows in memory


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
    with (
        folders.writing(f"the features in {output}", way_out),
        files.replacing(output) as file,
    ):
        if output.suffix.lower() == ".npz":
            _write_npz(file, features, rows, table.readable(names), labels)
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


def _write_npz(file, features, rows, names, labels):
    """As `numpy.savez`, with a block of rows in memory at a time."""
    words = np.dtype(f"<U{max(1, *map(len, names))}")
    with zipfile.ZipFile(file, "w") as archive:

        def add(name, dtype, block, width=(), packing=zipfile.ZIP_STORED):
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = packing
            about = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (len(rows), *width),
            }
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, about)
                for start in range(0, len(rows), _BLOCK):
                    part = block(slice(start, start + _BLOCK))
                    member.write(np.asarray(part, dtype).tobytes())

        width = features.shape[1:]
        add("features", features.dtype, lambda s: features[rows[s]], width)
        # In an array all names are as long as the longest; packed, they are
        # not.
        add("names", words, lambda s: names[s], packing=zipfile.ZIP_DEFLATED)
        if labels is not None:
            add("labels", labels.dtype, lambda s: labels[s])
