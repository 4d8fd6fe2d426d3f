"""Images in a folder for each cluster, copied or linked."""

import os
import pathlib
import re
import shutil

from tfclust.runtime import files, folders, progress

_WAY_OUT = "Make room, or give another folder."
_UNSAFE = re.compile(r"[^\w .,()&+-]+")


def check(argument, path, uri):
    """The folder to make, as a Path; refuses one that would mix with others.

    Args:
      argument: "copy_into" or "link_into". path: as the user gave it.
      uri: str, the images.

    Raises:
      ValueError: if the images are no files, or the folder is not empty or
        lies within the images' own.
    """
    target = folders.expanded(path)
    root = uri.removeprefix("folder:")
    if root == uri and ":" in uri.split("/")[0]:
        raise ValueError(
            f"{argument} needs images that are files of a folder. Received: "
            f"data={uri}. Leave {argument} out; output has a row for each."
        )
    inside = folders.expanded(root).resolve()
    if inside in (target.resolve(), *target.resolve().parents):
        raise ValueError(
            f"{argument} must lie outside data, or the copies would be images "
            f"of their own next time. Received: {argument}={path}, data={uri}."
        )
    if target.is_dir() and any(target.iterdir()) or target.is_file():
        raise ValueError(
            f"{argument} must be a new or an empty folder. Received: "
            f"{argument}={path}. Give another path."
        )
    folders.writable(argument, target.parent, given=path)
    return target


def sort(target, source, rows, table, *, link):
    """Makes the folder, as a whole or not at all.

    Args:
      target: `pathlib.Path`. source: a source with `path`.
      rows: int `[n]`, the images' indices. table: `Table` of `[n]`.
      link: whether to link.

    Raises:
      DiskError: if the disk is full. OSError: if an image is gone.
    """
    hidden = target.with_name(f".{target.name}.sorting")
    shutil.rmtree(hidden, ignore_errors=True)  # a killed one's
    what = f"the sorted images in {target}"
    try:
        with folders.writing(what, _WAY_OUT):
            _fill(hidden, source, rows, table, link)
            if target.is_dir():
                target.rmdir()
            os.replace(hidden, target)
    except BaseException:  # copies would fill the disk for good
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def _fill(folder, source, rows, table, link):
    """Makes the folder, with one for each cluster."""
    folder.mkdir()
    with progress.line("Sorting", len(rows)) as line:
        for row, cluster, name in zip(
            rows.tolist(), table.cluster, table.cluster_name, strict=True
        ):
            path = pathlib.Path(source.path(row)).absolute()
            place = folder / folder_name(int(cluster), name)
            place.mkdir(exist_ok=True)
            new = _free(place / path.name)
            if link:
                new.symlink_to(path)
            else:
                shutil.copy2(path, new)
            line.update(1)
    for place in folder.iterdir():
        files.flush(place)


def folder_name(cluster, name):
    """The folder of a cluster, such as "0012 cats"."""
    safe = _UNSAFE.sub("_", name).strip(" .")[:60]
    return f"{cluster:04} {safe}".strip()


def _free(path):
    """`path`, or with a number if it is taken: folders may share names."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return found
