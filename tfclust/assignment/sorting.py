"""Images in a folder for each cluster, copied or linked."""

import os
import pathlib
import re
import shutil

from tfclust.data.sources.schemes import parted
from tfclust.runtime import files, folders, progress, terminal

_WAY_OUT = "Make room, or give another folder."
_LONGEST_NAME = 255  # bytes
_UNSAFE = re.compile(r"[^\w .,()&+-]+")


def check(argument, path, uri, outputs=None):
    """The folder to make, as a Path; refuses one that would mix with others.

    Args:
      argument: "copy_into" or "link_into". path: as the user gave it.
      uri: str, the images.
      outputs: dict of argument -> path, files that are written before; "" for
        none.

    Raises:
      ValueError: if the images are no files, or the folder is not empty, lies
        within the images' own or would have an output in it.
    """
    target = folders.expanded(path)
    if target.is_symlink():  # which a folder cannot replace
        target = target.resolve()
    scheme, root = parted(uri, "data")
    if scheme != "folder":
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
    for name, other in (outputs or {}).items():
        file = folders.expanded(other).resolve()
        if other and target.resolve() in file.parents:
            raise ValueError(
                f"{name} must lie outside {argument}, whose folder is made "
                f"new after it. Received: {name}={other}, {argument}={path}."
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
            hidden.mkdir()
        with progress.line("Sorting", len(rows)) as line:
            for row, cluster, name in zip(
                rows.tolist(), table.cluster, table.cluster_name, strict=True
            ):
                path = pathlib.Path(source.path(row)).absolute()
                _check_there(path)
                with folders.writing(what, _WAY_OUT):
                    _add(hidden / folder_name(int(cluster), name), path, link)
                line.update(1)
        with folders.writing(what, _WAY_OUT):
            for place in hidden.iterdir():
                files.flush(place)
            if target.is_dir():
                target.rmdir()
            os.replace(hidden, target)
    except BaseException:  # copies would fill the disk for good
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def _check_there(path):
    """A lost image is no lack of room for its copy."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise OSError(
            f"{terminal.one_line(path)} can no longer be read "
            f"({error.strerror}), so nothing was sorted. The table is written; "
            "the same command sorts the images that are there."
        ) from error


def _add(place, path, link):
    place.mkdir(exist_ok=True)
    new = _free(place / path.name)
    if link:
        new.symlink_to(path)
    else:
        shutil.copy2(path, new)


def folder_name(cluster, name):
    """The folder of a cluster, such as "0012 cats"."""
    safe = _UNSAFE.sub("_", name).strip(" .")[:60]
    return f"{cluster:04} {safe}".strip()


def _free(path):
    """`path`, or with a number if it is taken: folders may share names."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(_numbered(path.stem, number, path.suffix))
    return found


def _numbered(stem, number, suffix):
    """A name with a number, no longer than file systems take."""
    ending = f" ({number}){suffix}"
    while len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + ending
