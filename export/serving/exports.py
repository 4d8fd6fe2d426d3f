"""Exported models as a server sees them: a name, versions, labels."""

import json
import pathlib
import re
from typing import NamedTuple

from tfclust.runtime import folders
from tfclust.saved_model import CARD_FILE, labels, newest_version

STABLE, CANARY = "stable", "canary"
# Part of a URL, and of a name in Kubernetes (RFC 1123).
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Export(NamedTuple):
    """A folder of versions, and which of them to serve."""

    name: str
    folder: pathlib.Path
    labels: dict[str, int]


def check_one(models):
    """Raises ValueError if the words of `--models` are not of one folder."""
    if len(models) != 1:
        raise ValueError(
            "models must be one folder here, such as --models=exports/mine. "
            f"Received: models={','.join(models) or 'none'}."
        )


def found(models):
    """`{name: folder}` of the words of `--models`.

    Args:
      models: list of `folder` or `name=folder`.

    Raises:
      FileNotFoundError: if a folder has no version.
      ValueError: if a name is unsuitable or given twice, or a path is that of a
        version.
    """
    named: dict[str, pathlib.Path] = {}
    if not models:
        raise ValueError(
            "models must be given: the folder of an export's versions, such as "
            "--models=exports/mine."
        )
    for words in models:
        name, _, path = words.rpartition("=")
        folder = folders.expanded(path)
        if (folder / "saved_model.pb").is_file():
            raise ValueError(
                "models must be folders of versions, since a server looks for "
                f"versions. Received: models={words}, one version. Give "
                f"{folder.parent}."
            )
        newest_version(folder)
        name = name or folder.resolve().name
        if not _NAME.fullmatch(name):
            raise ValueError(
                "the name of a model must be of at most 63 small letters, "
                f"digits and hyphens. Received: {name}. Write "
                "--models=name=folder."
            )
        if name in named:
            raise ValueError(
                f"two models are called {name}. Write --models=name=folder."
            )
        named[name] = folder
    return named


def labelled(name, folder, stable=None, canary=None):
    """The `Export` with its labels.

    A version that is stable stays so until another is named: what is exported
    next is the canary.

    Args:
      name: str. folder: of the versions.
      stable: int, a version; None for the one that models.config has, or the
        newest. canary: int; None for a newest one that is not stable.

    Raises:
      ValueError: if such a version is not there.
    """
    newest = int(newest_version(folder).name)
    if stable is None:  # a damaged file is no reason not to write a new one
        stable = labels.read(folder).labels.get(STABLE)
        if stable is None or not _is_there(folder, stable):
            stable = newest
    chosen = {STABLE: stable}
    if canary is not None:
        chosen[CANARY] = canary
    elif newest > chosen[STABLE]:
        chosen[CANARY] = newest
    for label, version in chosen.items():
        if not _is_there(folder, version):
            raise ValueError(
                f"{label} must be a version of {folder}. Received: {label}="
                f"{version}. The newest is {newest}."
            )
    return Export(name, folder, chosen)


def card(folder, version):
    """The model card of a version as a dict; empty if it has none."""
    try:
        words = (folder / str(version) / CARD_FILE).read_text("utf-8")
        found = json.loads(words)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_there(folder, version):
    return (folder / str(version) / "saved_model.pb").is_file()
