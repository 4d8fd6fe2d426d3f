"""Brings an index up to date with a set of images, part by part."""

import collections
from typing import NamedTuple

import numpy as np

from export.retrieval import duplicates, model, nearest, store
from tfclust import data
from tfclust.data.sources import schemes
from tfclust.runtime import folders, progress, terminal

# Of a part. What a stopped build has to do again is at most one part.
_PART_ROWS = 4_096
_PART_BYTES = 32 << 20
_ON_DISK = ("folder", "tfrecord", "npz")  # their URIs name a path


class Changes(NamedTuple):
    """What a build did to the set of images."""

    added: int
    removed: int
    kept: int
    failed: list  # of (name, reason)


def build(config, say):
    """Builds an index, or brings it up to date.

    Args:
      config: `build_index.IndexConfig`.
      say: called with sentences.

    Returns:
      `pathlib.Path` of the folder.
    """
    if config.images:
        schemes.check_uri(config.images, "images")
    with store.locked(config.output) as folder:
        before = store.read_about(folder)
        current = model.load(config.saved_model)
        empty = before is not None and not before["count"]
        if before is None or (empty and not store.part_numbers(folder)):
            # Parts of a build that is stopped belong to this model.
            store.write_about(folder, _nothing_yet(current))
            before = store.read_about(folder)
        given = f"output={terminal.one_line(folder)}"
        model.refuse_other(given, before["identity"], current.identity)
        parts, changed = _parts(folder, before, current, config, say)
        _commit(folder, before, current, parts, changed, config, say)
        return folder


def place_of(uri):
    """A URI that means the same from every working folder."""
    scheme, _, rest = uri.partition(":")
    if scheme not in schemes.SCHEMES:  # a folder, which may be gone
        scheme, rest = "folder", uri
    if scheme not in _ON_DISK:
        return uri
    path, mark, words = rest, "", ""
    if schemes.SCHEMES[scheme].words and "?" in rest:
        path, mark, words = rest.rpartition("?")
    return f"{scheme}:{folders.expanded(path).absolute()}{mark}{words}"


def _nothing_yet(current):
    return {
        "identity": current.identity,
        "width": current.width,
        "count": 0,
        "sets": {},
        "parts": [],
        "nearest": {"kind": nearest.EXACT, "files": []},
        "duplicates": None,
    }


def _parts(folder, before, current, config, say):
    """The parts of the new state, and whether it differs from the last."""
    committed = [store.read_part(folder, n) for n in before["parts"]]
    forgotten = config.forget and place_of(config.forget)
    known = {part.uri for part in committed}
    if forgotten and forgotten not in known:
        raise ValueError(
            "forget must be images of the index. Received: "
            f"forget={terminal.one_line(config.forget)}; it holds "
            f"{terminal.one_line(', '.join(sorted(known)) or 'none')}."
        )
    parts = [part for part in committed if part.uri != forgotten]
    if config.images:
        uri = place_of(config.images)
        others = [part for part in parts if part.uri != uri]
        own, changes = _up_to_date(folder, uri, current, config, say)
        parts = sorted(others + own)
        _tell(uri, changes, say)
    numbers = [part.number for part in parts]
    return parts, numbers != before["parts"]


def _up_to_date(folder, uri, current, config, say):
    """The parts of one set of images as it is now, and `Changes`."""
    source = data.open_source(
        uri,
        max_images=config.max_images,
        cache_dir=config.cache_dir or None,
        max_bad_share=config.max_bad_share,
        argument="images",
    )
    if source.is_stream:
        raise ValueError(
            "images must be a set whose images can be named. Received: "
            f"images={terminal.one_line(uri)}, a stream. Write tfrecord: for "
            "the same files."
        )
    for name, reason in source.skipped[:3]:
        say(f"Left out: {name}: {reason}.")
    if source.skipped[3:]:
        say(f"Left out: {len(source.skipped) - 3:,} more.")
    names, num_bytes, _, _, digests = source.manifest()
    keys = list(map(store.Key, names, digests.tolist(), num_bytes.tolist()))
    parts, missing, removed = _still_there(folder, uri, keys)
    kept = sum(len(part.keys) for part in parts)
    new = _computed(folder, uri, current, source, keys, missing, config)
    failed = sorted(source.failures.items())
    added = sum(len(part.keys) for part in new)
    parts = store.merged(folder, uri, parts + new, _rows_a_part(current))
    return parts, Changes(added, removed, kept, failed)


def _still_there(folder, uri, keys):
    """What is known of a set, also from a build that was stopped.

    Returns:
      list of `store.Part` without images that are gone; the positions in `keys`
      of images that no part has; the number of images that are gone.
    """
    places: dict = collections.defaultdict(collections.deque)
    for place, key in enumerate(keys):
        places[key].append(place)
    parts, removed, found = [], 0, np.zeros(len(keys), bool)
    for number in store.part_numbers(folder):
        part = store.read_part(folder, number)
        if part.uri != uri:
            continue
        rows = []
        for row, key in enumerate(part.keys):
            if places.get(key):
                found[places[key].popleft()] = True
                rows.append(row)
        removed += len(part.keys) - len(rows)
        if len(rows) < len(part.keys):
            features = store.read_rows(folder, part)[rows]
            kept = [part.keys[row] for row in rows]
            part = store.write_part(folder, uri, kept, features)
        if rows:
            parts.append(part)
    return parts, np.flatnonzero(~found), removed


def _computed(folder, uri, current, source, keys, missing, config):
    """New parts of the images at positions `missing`."""
    at_once = _rows_a_part(current)
    parts: list[store.Part] = []
    waiting: list[tuple] = []

    def write():
        rows = np.concatenate([rows for rows, _ in waiting])
        features = np.concatenate([features for _, features in waiting])
        waiting.clear()
        # The row of an image that has gone since the check is another image's.
        good = [keys[row].name not in source.failures for row in rows]
        if any(good):
            kept = [keys[row] for row in rows[good]]
            part = store.write_part(folder, uri, kept, features[good])
            parts.append(part)

    words = f"Features of {terminal.one_line(uri)}"
    with progress.line(words, len(keys), len(keys) - len(missing)) as line:
        for rows, features in model.features_of(
            current, source, missing, batch_size=config.batch_size
        ):
            waiting.append((rows, features))
            line.update(len(rows))
            if sum(len(rows) for rows, _ in waiting) >= at_once:
                write()
        if waiting:
            write()
    return parts


def _rows_a_part(current):
    return max(1, min(_PART_ROWS, _PART_BYTES // (4 * current.width)))


def _tell(uri, changes, say):
    say(
        f"{terminal.one_line(uri)}: {changes.added:,} images added, "
        f"{changes.kept:,} kept, {changes.removed:,} removed."
    )
    for name, reason in changes.failed[:3]:
        say(f"Left out: {terminal.one_line(name)}: {reason}.")
    if changes.failed[3:]:
        say(f"Left out: {len(changes.failed) - 3:,} more.")


def _commit(folder, before, current, parts, changed, config, say):
    """Writes what readers see, once everything else is on the disk."""
    count = sum(len(part.keys) for part in parts)
    kind = nearest.choose(count, current.width, config.nearest)
    about, generation = before["nearest"], before.get("generation", 0)
    changed = changed or kind != about["kind"]
    if changed or before["duplicates"] != config.duplicates:
        generation += 1
        blocks = store.rows_of(folder, parts)
        if changed:
            name = f"nearest-{generation}"
            about = _lists(kind, blocks, folder, name)
        _list_duplicates(folder, parts, blocks, about, config, say)
    sets: collections.Counter = collections.Counter()
    for part in parts:
        sets[part.uri] += len(part.keys)
    state = {
        # The model's place is where it was found now: versions are pruned.
        "identity": {
            **before["identity"],
            "saved_model": current.identity["saved_model"],
        },
        "width": current.width,
        "count": count,
        "sets": dict(sets),
        "parts": [part.number for part in parts],
        "nearest": about,
        "duplicates": config.duplicates,
        "generation": generation,
    }
    store.write_about(folder, state)
    _tidy(folder, parts, about, config)
    _describe(state, config, say)


def _lists(kind, blocks, folder, name):
    """What is kept of the way to find neighbours."""
    if kind == nearest.EXACT or not blocks:
        return {"kind": nearest.EXACT, "files": []}
    return nearest.build(kind, blocks, folder, name)


def _describe(state, config, say):
    about, count = state["nearest"], state["count"]
    how = "every row is compared"
    if about["kind"] != nearest.EXACT:
        how = (
            f"{about['probes']} of {about['lists']} lists are looked through, "
            f"recall@10 {about['recall']:.3f} on its own images"
        )
        if "recall_drawn" in about:  # not in an index of an earlier build
            how += f", {about['recall_drawn']:.3f} on images unlike them"
    say(f"{count:,} images of width {state['width']}: {about['kind']}, {how}.")
    many = about["kind"] == nearest.EXACT and count > nearest.EXACT_UP_TO
    if many and config.nearest == "auto":
        say('For more speed: pip install "tfclust[retrieval]" (faiss).')


def _list_duplicates(folder, parts, blocks, about, config, say):
    path = folder / store.DUPLICATES_FILE
    if config.duplicates is None or not parts:
        path.unlink(missing_ok=True)
        return
    keys = [(part.uri, key) for part in parts for key in part.keys]
    if not duplicates.feasible(about["kind"], len(keys)):
        path.unlink(missing_ok=True)
        say(
            f"Near duplicates are not listed: comparing each of {len(keys):,} "
            "images with all would take hours. Install faiss."
        )
        return
    search = nearest.searcher(folder, blocks, about)
    found = duplicates.find(search, keys, blocks, config.duplicates)
    duplicates.write(path, found, keys)
    say(duplicates.sentence(found, config.duplicates, path))


def _tidy(folder, parts, about, config):
    """Removes what is replaced; parts of other stopped builds stay."""
    kept = {part.number for part in parts}
    uris = {part.uri for part in parts}
    uris |= {place_of(u) for u in (config.images, config.forget) if u}
    for number in store.part_numbers(folder):
        if store.read_part(folder, number).uri not in uris:
            kept.add(number)
    store.tidy(folder, kept, set(about["files"]))
